import numpy as np
import pytest
from evaluation.test_evaluator import anew
from pipeline.test_laboratory import laboratory

from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation import item_sampling
from mixopt.evaluation.estimator import SampledEvaluator

SEEN = [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [1 / 3] * 3, [0.1, 0.8, 0.1]]
ROWS = [[0.5, 0.4, 0.1], [0.15, 0.25, 0.6]]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory):
    lab = laboratory(tmp_path_factory.mktemp("estimating"))
    return lab.open_swarm([lab.train_expert(name).folder for name in lab.compositions])


@pytest.fixture
def estimator(swarm, monkeypatch):
    monkeypatch.setattr(item_sampling, "FEWEST", 3)
    return SampledEvaluator(swarm, SEEN, 0.5, seed=0)


def test_estimates_are_near_what_all_items_say_and_know_how_near(swarm, estimator):
    for row, found in zip(ROWS, estimator.score_all(ROWS), strict=True):
        whole = swarm.score(row)
        for name, result in found["merged"].items():
            assert result.sizes == pytest.approx(whole["merged"][name].sizes)
            off, error = result.minus(whole["merged"][name])
            assert abs(off) <= 4 * error + 1e-9
        for name, result in found["ensembled"].items():
            assert result.values == pytest.approx(whole["ensembled"][name].values)


def test_only_some_items_are_scored(swarm, estimator, monkeypatch):
    seen = []
    original = swarm.engine.logprobs
    monkeypatch.setattr(
        swarm.engine, "logprobs",
        lambda scorer, rows: seen.append((scorer.n_targets, len(rows))) or original(scorer, rows),
    )  # fmt: skip
    list(estimator.score_all([[0.3, 0.3, 0.4]]))
    ((targets, rows),) = [call for call in seen if call[0] != swarm.scorer.n_targets]
    assert rows == 1
    assert targets < 0.8 * swarm.scorer.n_targets
    assert estimator.flops_per_score < 0.9 * swarm.flops_per_score


def test_estimates_are_found_again_and_others_draw_other_items(swarm, estimator, monkeypatch):
    first = next(estimator.score_all([ROWS[0]]))
    other = next(SampledEvaluator(swarm, SEEN, 0.5, seed=1).score_all([ROWS[0]]))
    values = [r["merged"]["birds_heldout"].values for r in (first, other)]
    assert not np.array_equal(*values)
    monkeypatch.setattr(swarm.scorer, "read", lambda *_: pytest.fail("scored again"))
    again = next(SampledEvaluator(swarm, SEEN, 0.5, seed=0).score_all([ROWS[0]]))
    assert (again["merged"]["birds_heldout"].values == values[0]).all()


def test_the_same_candidate_twice_leaves_the_others_their_own_scores(swarm, estimator, tmp_path):
    rows = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]
    together = list(estimator.score_all(rows))
    fresh = anew(swarm, ArtifactStore(tmp_path))
    for row, found in zip(rows, together, strict=True):
        (alone,) = SampledEvaluator(fresh, SEEN, 0.5, seed=0).score_all([row])
        for name, result in alone["merged"].items():
            assert found["merged"][name].values == pytest.approx(result.values)
