import numpy as np
import pytest
from categorical_world import World, make_problem

from mixopt.baselines.doremi import DoReMi, DoReMiWeights
from mixopt.errors import RunError

EVEN = np.full(3, 1 / 3)


def test_the_mean_of_the_weights_is_recommended_after_a_run_on_natural():
    world = World()
    problem = make_problem(world)
    found = DoReMi().recommend(problem)
    assert world.trained[0] == pytest.approx(problem.natural)
    path = np.array(found.path)
    assert list(found.ratios.values()) == pytest.approx(path.mean(axis=0))
    assert found.ratios["code"] == max(found.ratios.values())  # the domain with the largest excess
    assert found.predicted == {}


def test_a_reference_that_failed_ends_in_one_sentence():
    world = World()
    world.fail = {1}
    with pytest.raises(
        RunError, match="reference of doremi, a run on natural, could not be trained"
    ):
        DoReMi().recommend(make_problem(world))


def test_one_step_is_the_published_one():
    weights = DoReMiWeights(3, 1.0, 0.3)
    weights.update(np.array([0.0, np.log(2.0), np.log(5.0)]), EVEN)
    assert weights.weights == pytest.approx(0.7 * np.array([1, 2, 5]) / 8 + 0.1)
    assert weights.loss_weights is weights.weights
    assert weights.shares == pytest.approx(np.full(3, 1 / 3))


def test_a_domain_that_was_not_read_has_its_last_excess():
    weights = DoReMiWeights(3, 1.0, 0.0)
    weights.update(np.array([0.5, np.nan, 0.0]), EVEN)
    assert weights.weights[1] / weights.weights[2] == pytest.approx(1.0)  # none is known yet
    weights.update(np.array([0.0, 0.7, 0.0]), EVEN)
    assert weights.weights[1] / weights.weights[2] == pytest.approx(np.exp(0.7))
    kept = DoReMiWeights(3, 1.0, 0.0)
    kept.restore(weights.state())
    for each in (weights, kept):
        each.update(np.array([0.0, np.nan, 0.0]), EVEN)
        assert each.weights[1] / each.weights[2] == pytest.approx(np.exp(1.4))


def test_the_worst_domain_gets_the_weight_and_smoothing_keeps_the_others():
    weights = DoReMiWeights(3, 1.0, 0.03)
    for _ in range(200):
        weights.update(np.array([0.0, 0.0, 0.5]), EVEN)
    assert weights.weights[2] > 0.9
    assert weights.weights.min() >= 0.01


def test_the_loss_of_a_batch_is_weighed_with_what_was_learnt_from_it():
    assert DoReMiWeights(3, 1.0, 1e-4).learn_first


def test_a_state_is_restored():
    first, second = (DoReMiWeights(3, 1.0, 1e-4) for _ in range(2))
    first.update(np.array([0.1, 0.2, 0.3]), EVEN)
    second.restore(first.state())
    for each in (first, second):
        each.update(np.array([0.3, 0.0, 0.1]), EVEN)
    assert first.weights.tolist() == second.weights.tolist()
