import numpy as np
import pytest
import toy
from evaluation.test_evaluator import fresh

from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation import item_sampling
from mixopt.evaluation.sampled_items import SampledItems
from mixopt.pipeline.evaluators import open_evaluator

FITTED_ON = [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [1 / 3] * 3, [0.1, 0.8, 0.1]]
ROWS = [[0.5, 0.4, 0.1], [0.15, 0.25, 0.6]]


@pytest.fixture(scope="module")
def evaluator(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("sampled"))
    context = toy.load(folder, trained_toy / "toy.yaml").prepare()
    return open_evaluator(context, tuple(toy.WORDS))


@pytest.fixture
def sampled(evaluator, monkeypatch):
    monkeypatch.setattr(item_sampling, "FEWEST", 3)
    return SampledItems(evaluator, FITTED_ON, 0.5, seed=0)


def test_estimates_are_near_the_scores_on_all_items_and_know_how_near(evaluator, sampled):
    for row, found in zip(ROWS, evaluator.evaluate(ROWS, sampled), strict=True):
        whole = evaluator.score(row)
        for name, result in found["merged"].items():
            assert result.sizes == pytest.approx(whole["merged"][name].sizes)
            off, error = result.minus(whole["merged"][name])
            assert abs(off) <= 4 * error + 1e-9
        for name, result in found["ensembled"].items():
            assert result.values == pytest.approx(whole["ensembled"][name].values)


def test_only_some_items_are_scored(evaluator, sampled, monkeypatch):
    calls = []
    original = evaluator.engine.logprobs
    monkeypatch.setattr(
        evaluator.engine, "logprobs",
        lambda scorer, rows: calls.append((scorer.n_targets, len(rows))) or original(scorer, rows),
    )  # fmt: skip
    list(evaluator.evaluate([[0.3, 0.3, 0.4]], sampled))
    ((targets, rows),) = [call for call in calls if call[0] != evaluator.scorer.n_targets]
    assert rows == 1
    assert targets < 0.8 * evaluator.scorer.n_targets
    assert sampled.flops_per_score < 0.9 * evaluator.flops_per_score


def test_estimates_are_read_again_and_another_seed_draws_other_items(
    evaluator, sampled, monkeypatch
):
    (first,) = evaluator.evaluate(ROWS[:1], sampled)
    (other,) = evaluator.evaluate(ROWS[:1], SampledItems(evaluator, FITTED_ON, 0.5, seed=1))
    values = [r["merged"]["birds_heldout"].values for r in (first, other)]
    assert not np.array_equal(*values)
    monkeypatch.setattr(evaluator.scorer, "read", lambda *_: pytest.fail("scored again"))
    (again,) = evaluator.evaluate(ROWS[:1], SampledItems(evaluator, FITTED_ON, 0.5, seed=0))
    assert (again["merged"]["birds_heldout"].values == values[0]).all()


def test_the_same_candidate_twice_leaves_the_others_their_own_scores(evaluator, sampled, tmp_path):
    rows = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]
    together = list(evaluator.evaluate(rows, sampled))
    alone = fresh(evaluator, ArtifactStore(tmp_path))
    items = SampledItems(alone, FITTED_ON, 0.5, seed=0)
    for row, found in zip(rows, together, strict=True):
        (single,) = alone.evaluate([row], items)
        for name, result in single["merged"].items():
            assert found["merged"][name].values == pytest.approx(result.values)
