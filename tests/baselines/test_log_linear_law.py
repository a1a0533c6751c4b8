import numpy as np
import pytest

from mixopt import SearchSpace
from mixopt.baselines.log_linear_law import LogLinearLaw, fit_log_linear_law
from mixopt.errors import TrialsError
from mixopt.optimization.weight_space import WeightSpace

DOMAINS = ("a", "b", "c")
TRUE = LogLinearLaw(np.array([1.2, 0.8]), np.array([[-0.9, 0.1, 0.3], [0.2, -1.2, 0.1]]))


def draw(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), n)


def fit(ratios, losses, own=(0, 1)):
    return fit_log_linear_law(ratios, losses, own, np.random.default_rng(0), restarts=10)


def test_the_fit_predicts_a_law_without_noise():
    ratios = draw(24)
    law = fit(ratios, TRUE.losses(ratios))
    other = draw(50, seed=1)
    assert np.abs(law.losses(other) - TRUE.losses(other)).max() < 0.01


def test_one_run_far_off_moves_the_fit_little():
    ratios = draw(24)
    losses = TRUE.losses(ratios)
    losses[5] += 1.0
    other = draw(50, seed=1)
    assert np.abs(fit(ratios, losses).losses(other) - TRUE.losses(other)).mean() < 0.05


def test_the_exact_mixture_is_the_best_of_a_fine_grid():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS, prior=[0.6, 0.3, 0.1], upper={"b": 0.5}))
    weights = np.array([0.5, 0.5])
    found = TRUE.best_weights(space, weights, 0.1)
    steps = np.linspace(0, 1, 201)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 and b <= 0.5])
    logs = np.log(np.maximum(grid, 1e-12) / np.array([0.6, 0.3, 0.1]))
    values = np.exp(grid @ TRUE.slopes.T) @ weights + 0.1 * (grid * logs).sum(axis=1)
    assert found == pytest.approx(grid[values.argmin()], abs=0.006)


def test_a_large_penalty_stays_at_natural_and_none_goes_to_the_best():
    prior = np.array([0.6, 0.3, 0.1])
    space = WeightSpace.of_domains(SearchSpace(DOMAINS, prior=prior))
    weights = np.array([1.0, 0.0])
    assert TRUE.best_weights(space, weights, 1e4) == pytest.approx(prior, abs=1e-3)
    assert TRUE.best_weights(space, weights, 0.0) == pytest.approx([1, 0, 0], abs=1e-6)


def test_too_few_runs_and_losses_without_a_logarithm_end_in_one_sentence():
    ratios = draw(3)
    with pytest.raises(
        TrialsError, match="has 4 parameters for 3 domains and 3 mixtures.*search.method_runs"
    ):
        fit(ratios, TRUE.losses(ratios))
    ratios = draw(9)
    with pytest.raises(TrialsError, match="has no negative losses and one is -"):
        fit(ratios, TRUE.losses(ratios) - 5)


def test_a_perfect_accuracy_is_a_loss_like_any_other():
    ratios = draw(24)
    losses = TRUE.losses(ratios)
    losses[:, 1] = np.maximum(0.0, 0.3 - ratios[:, 1])
    assert (losses[:, 1] == 0).any()
    other = draw(50, seed=1)
    found = fit(ratios, losses).losses(other)
    assert np.abs(found[:, 0] - TRUE.losses(other)[:, 0]).max() < 0.01
    assert np.abs(found[:, 1] - np.maximum(0.0, 0.3 - other[:, 1])).mean() < 0.05
    losses[:, 1] = 0.0  # every answer of every run is right
    assert np.abs(fit(ratios, losses).losses(other)[:, 1]).max() < 0.02
