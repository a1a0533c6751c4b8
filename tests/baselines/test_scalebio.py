import numpy as np
import pytest

from mixopt.baselines.scalebio import SourceWeights, take_step


class Quadratic:
    """ℓ_i(w) = ½‖w − c_i‖², c_i with noise; the validation loss is ½‖w − target‖²."""

    def __init__(self, centres, target, noise=0.0, rate=0.05):
        self.centres, self.target, self.rate = centres, target, rate
        self.w = self.u = np.zeros(centres.shape[1])
        self.noise, self.rng = noise, np.random.default_rng(0)

    def losses(self, point):
        return 0.5 * np.square(point - self.centres).sum(axis=1)

    def step(self, p, penalty, rate):
        centres = self.centres + self.noise * self.rng.standard_normal(self.centres.shape)
        of_w, of_u = (0.5 * np.square(x - centres).sum(axis=1) for x in (self.w, self.u))
        self.u = self.u - rate * self.rate * (self.u - p @ centres)
        pull = (self.w - self.target) + penalty * (self.w - p @ centres)
        self.w = self.w - rate * self.rate / (1 + penalty) * pull
        return of_w, of_u


STEPS = 400
"""Adam on the noise of batches walks at random, the farther the longer: in 1,500 steps up to .17."""


def train(models, steps=STEPS):
    weights = SourceWeights(np.zeros(len(models.centres)), 1e-2, 10.0)
    for step in range(steps):
        take_step(models, weights, step, steps)
    return weights.weights


def test_the_source_that_is_the_validation_text_gets_the_weight():
    centres = np.array([[1.0, 1.0], [-1.0, 0.5]])
    p = train(Quadratic(centres, centres[0], noise=0.1))
    assert p[0] > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_equal_sources_stay_near_uniform(seed):
    centres = np.tile([1.0, -1.0], (3, 1))
    models = Quadratic(centres, centres[0], noise=0.1)
    models.rng = np.random.default_rng(seed)
    p = train(models)
    assert p == pytest.approx(np.full(3, 1 / 3), abs=0.1)


def test_equal_sources_without_noise_stay_uniform():
    centres = np.tile([1.0, -1.0], (3, 1))
    assert train(Quadratic(centres, centres[0])) == pytest.approx(np.full(3, 1 / 3), abs=1e-9)


def test_where_both_models_agree_the_gradient_is_zero():
    weights = SourceWeights(np.array([0.3, -1.0, 0.2]), 1e-2, 10.0)
    losses = np.array([1.0, 2.0, 0.5])
    assert weights.gradient(losses, losses).tolist() == [0, 0, 0]


def test_a_large_penalty_gives_the_gradient_of_the_bilevel_problem():
    """w*(λ) = Σ p_i c_i is known, so ∇_λ L1(w*(λ)) is too; the penalty's tends to it as α grows."""
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    target, logits = np.array([0.7, 0.2]), np.array([0.1, -0.2, 0.3])

    def upper(values):
        p = np.exp(values) / np.exp(values).sum()
        return 0.5 * np.square(p @ centres - target).sum()

    exact = [
        (upper(logits + 1e-6 * unit) - upper(logits - 1e-6 * unit)) / 2e-6 for unit in np.eye(3)
    ]
    errors = []
    for penalty in (10.0, 1000.0):
        weights = SourceWeights(logits, 1e-2, penalty)
        u = weights.weights @ centres
        w = (target + penalty * u) / (1 + penalty)  # argmin of L1 + α L2
        of_w, of_u = (0.5 * np.square(x - centres).sum(axis=1) for x in (w, u))
        errors.append(np.abs(weights.gradient(of_w, of_u) - exact).max())
    assert errors[1] < 0.01 * np.abs(exact).max()
    assert errors[1] < errors[0] / 50


def test_a_state_is_restored():
    first, second = (SourceWeights(np.zeros(2), 1e-2, 10.0) for _ in range(2))
    first.descend(np.array([1.0, 2.0]), np.array([2.0, 1.0]), 1.0)
    second.restore(first.state())
    for each in (first, second):
        each.descend(np.array([1.5, 1.0]), np.array([1.0, 1.0]), 0.5)
    assert first.weights.tolist() == second.weights.tolist()
