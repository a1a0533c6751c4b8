import pytest
import toy

from mixopt.artifacts.store import MissingArtifactError
from mixopt.evaluation.engine import hash_expert
from mixopt.pipeline.evaluators import open_evaluator

NAMES = tuple(toy.WORDS)


def test_experts_are_named_by_their_artifacts_and_given_ones_by_their_content(
    toy_folder, trained_toy, tmp_path
):
    own = open_evaluator(toy.load(toy_folder).prepare(), NAMES)
    store = trained_toy / "out" / "artifacts"
    folders = {name: next((store / "experts").glob(f"{name}-*")) for name in NAMES}
    assert own.items.cache.shared_key["experts"] == [folders[name].name for name in NAMES]
    (base,) = (store / "base").glob("base-*")
    plain = {"kind": "pretrained", "path": str(base), "context": 32}
    path = toy.write_study(tmp_path / "given", base=plain)
    study = toy.load(tmp_path / "given", path, experts=folders)
    given = open_evaluator(study.prepare(), NAMES)
    hashes = [hash_expert(folders[name]) for name in NAMES]
    assert given.items.cache.shared_key["experts"] == hashes
    row = [0.2, 0.5, 0.3]
    assert given.score(row)["merged"]["choice"].score == pytest.approx(
        own.score(row)["merged"]["choice"].score
    )


def test_nothing_is_opened_without_its_experts(tmp_path):
    toy.write_study(tmp_path)
    with pytest.raises(MissingArtifactError):
        open_evaluator(toy.load(tmp_path).prepare(), NAMES)
