import pytest
import toy
from models_for_tests import model, save_base

from mixopt import Mixture
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.errors import DataError, ModelError
from mixopt.pipeline.laboratory import Laboratory


def laboratory(folder, **changes):
    recipe = load_study(toy.write_study(folder, **changes))
    return Laboratory(
        recipe,
        ArtifactStore(folder / "journal"),
        cache=ArtifactStore(folder / "cache"),
        device="cpu",
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    lab = laboratory(tmp_path_factory.mktemp("lab"))
    folders = [lab.train_expert(name).folder for name in lab.compositions]
    return lab, lab.open_swarm(folders)


def test_natural_mixture_is_that_of_the_available_tokens(trained):
    lab, _ = trained
    tokens = {name: corpus.tokens for name, corpus in lab.corpora.items()}
    assert lab.natural["birds"] == pytest.approx(tokens["birds"] / sum(tokens.values()))


def test_compositions_are_corners_without_an_anchor(trained):
    lab, _ = trained
    assert lab.compositions["ships"]["ships"] == 1


def test_anchored_compositions_hold_the_natural_mixture(tmp_path):
    training = toy.study_plain()["training"] | {"anchor_share": 0.5}
    lab = laboratory(tmp_path, training=training)
    row = lab.compositions["ships"]
    assert row["ships"] == pytest.approx(0.5 + 0.5 * lab.natural["ships"])
    assert row["birds"] == pytest.approx(0.5 * lab.natural["birds"])


def test_another_text_is_another_expert(tmp_path):
    lab = laboratory(tmp_path)
    before = lab.train_expert("birds").folder
    path = tmp_path / "data" / "birds.jsonl"
    path.write_text(path.read_text() + '{"text": "one more bird sings", "page": "z"}\n')
    again = Laboratory(lab.recipe, lab.store, cache=lab.texts._cache, device="cpu")
    assert again.train_expert("birds").folder != before


def test_too_little_text_ends_before_training(tmp_path):
    training = toy.study_plain()["training"] | {"tokens": 4_000_000}
    lab = laboratory(tmp_path, training=training)
    with pytest.raises(
        DataError, match=r"'birds' has .* tokens, so the 4,000,000 tokens of 'birds'"
    ):
        lab.train_expert("birds")


def test_proxy_run_is_scored_and_its_weights_are_not_kept(trained):
    lab, _ = trained
    run, results = lab.train_proxy_run("x", Mixture({"birds": 0.5, "ships": 0.5, "sums": 0.0}), 0)
    assert results["birds_heldout"].score > 0
    assert {file.name for file in run.folder.iterdir()} == {
        "items.json",
        "items.npy",
        "outcome.json",
        "artifact.json",
    }
    again, same = lab.train_proxy_run("x", Mixture({"birds": 0.5, "ships": 0.5, "sums": 0.0}), 0)
    assert again.folder == run.folder
    assert same["choice"].score == results["choice"].score


def test_tokenizer_of_another_model_is_refused(tmp_path):
    folder = save_base(tmp_path / "base")
    model(vocabulary=100).save_pretrained(folder)
    base = {"kind": "pretrained", "path": str(folder), "context": 32}
    with pytest.raises(ModelError, match="belong to different models"):
        laboratory(tmp_path, base=base).train_expert("birds")
