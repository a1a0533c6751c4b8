import pytest
import toy
from models_for_tests import model, save_base

from mixopt import Mixture
from mixopt.artifacts.store import MissingArtifactError
from mixopt.errors import DataError, ModelError
from mixopt.pipeline.training_runs import (
    base_run,
    build_run,
    continued_base_run,
    count_built_parameters,
    expert_run,
    mix_seed,
    read_run,
    read_scores,
    validation_run,
)
from mixopt.training.model_loading import count_parameters

HALF = Mixture({"birds": 0.5, "ships": 0.5, "sums": 0.0})


@pytest.fixture
def context(toy_folder):
    return toy.load(toy_folder).prepare()


def test_every_run_is_named_before_it_is_trained(context):
    assert context.store.state(base_run(context).artifact) == "done"
    runs = [expert_run(context, "birds"), expert_run(context, "ships"),
            continued_base_run(context, "later", HALF, 2000, 0),
            validation_run(context, "x", HALF, 0), validation_run(context, "x", HALF, 1)]  # fmt: skip
    assert len({run.artifact.reference for run in runs}) == len(runs)
    assert [context.store.state(run.artifact) for run in runs] == ["done"] * 2 + ["missing"] * 3
    with pytest.raises(MissingArtifactError):
        read_run(context, runs[2])
    assert runs[2].domains == ["birds", "ships"]  # shares of zero are not read


def test_each_later_phase_reads_text_in_an_order_of_its_own(context):
    runs = [continued_base_run(context, "later", HALF, 2000, index) for index in range(3)]
    assert len({run.seed for run in runs}) == 3
    # studies of two phases find the base that they have
    assert runs[0].seed == mix_seed(context.config.seed, "phase", 0)


def test_the_base_is_counted_once_for_each_architecture(context, monkeypatch):
    run = base_run(context)
    total, counted = count_parameters(run.open_model())
    assert context.base_parameters == context.base_model.parameters == counted
    assert context.all_base_parameters == context.base_model.all_parameters == total > counted
    base, tokenizer = context.config.base, context.corpora.tokenizer
    wider = base.model_copy(update={"config": base.config | {"intermediate_size": 64}})
    assert count_built_parameters(wider, tokenizer) == counted + 3 * 32 * 16  # gate, up and down
    monkeypatch.setattr("mixopt.pipeline.training_runs.build_model", lambda *_: 1 / 0)
    assert count_built_parameters(base, tokenizer) == counted


def test_experts_need_the_base(tmp_path):
    toy.write_study(tmp_path)
    with pytest.raises(MissingArtifactError, match="base/base-"):
        expert_run(toy.load(tmp_path).prepare(), "birds")


def test_another_text_is_another_expert(toy_folder):
    before = expert_run(toy.load(toy_folder).prepare(), "birds").artifact
    path = toy_folder / "data" / "birds.jsonl"
    path.write_text(path.read_text() + '{"text": "one more bird sings", "page": "z"}\n')
    study = toy.load(toy_folder)
    with pytest.raises(MissingArtifactError):  # the tokenizer, and so the base, are others too
        expert_run(study.prepare(), "birds")
    assert study.context.store.find(before) is not None


def test_how_often_a_text_may_be_read_changes_no_run(toy_folder):
    context = toy.load(toy_folder).prepare()
    before = [base_run(context).artifact.key, expert_run(context, "birds").artifact.key]
    plain = toy.study_plain()
    base = plain["base"] | {"training": plain["base"]["training"] | {"max_epochs": 8}}
    path = toy.write_study(toy_folder, training=plain["training"] | {"max_epochs": 7}, base=base)
    context = toy.load(toy_folder, path).prepare()
    assert [base_run(context).artifact.key, expert_run(context, "birds").artifact.key] == before


def test_too_little_text_ends_before_training(toy_folder):
    training = toy.study_plain()["training"] | {"tokens": 4_000_000}
    target = {"tokens": 4_000_000, "max_repetition": 999}
    path = toy.write_study(toy_folder, training=training, target=target)
    context = toy.load(toy_folder, path).prepare()
    with pytest.raises(
        DataError, match=r"'birds' has .* tokens, so the 4,000,000 tokens of 'birds'"
    ):
        expert_run(context, "birds")


def test_a_domain_without_text_trains_nothing(context):
    with pytest.raises(DataError, match="'x' is to be trained on 'law', which has no text"):
        validation_run(context, "x", Mixture({"birds": 0.5, "law": 0.5}), 0)


def test_a_validation_run_is_scored_and_its_weights_are_not_kept(context):
    result = build_run(context, validation_run(context, "x", HALF, 0))
    assert read_scores(result)["birds_heldout"].score > 0
    names = {"items.json", "items.npy", "outcome.json", "artifact.json"}
    assert {file.name for file in result.folder.iterdir()} == names
    again = build_run(context, validation_run(context, "x", HALF, 0))
    assert again.folder == result.folder
    assert read_scores(again)["choice"].score == read_scores(result)["choice"].score


def test_the_tokenizer_of_another_model_is_refused(tmp_path):
    folder = save_base(tmp_path / "base")
    model(vocabulary=100).save_pretrained(folder)
    base = {"kind": "pretrained", "path": str(folder), "context": 32}
    context = toy.load(tmp_path, toy.write_study(tmp_path, base=base)).prepare()
    with pytest.raises(ModelError, match="belong to different models"):
        build_run(context, expert_run(context, "birds"))
