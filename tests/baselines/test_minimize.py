import numpy as np
import pytest

from mixopt import SearchSpace
from mixopt.baselines.minimize import divergence, minimize_over
from mixopt.optimization.weight_space import WeightSpace

DOMAINS = ("a", "b", "c")
PRIOR = np.array([0.5, 0.3, 0.2])


def quadratic(aim):
    def loss(x):
        return float(np.square(x - aim).sum()), 2 * (x - aim)

    return loss


def test_the_minimum_inside_and_at_a_bound():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS, upper={"a": 0.4}))
    found = minimize_over(space, quadratic(np.array([0.2, 0.3, 0.5])), PRIOR[None])
    assert found == pytest.approx([0.2, 0.3, 0.5], abs=1e-5)
    found = minimize_over(space, quadratic(np.array([0.8, 0.1, 0.1])), PRIOR[None])
    assert found == pytest.approx([0.4, 0.3, 0.3], abs=1e-5)


def test_the_divergence_is_a_limit_too():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS, prior=PRIOR, max_kl=0.1))
    found = minimize_over(space, quadratic(np.array([0.0, 0.0, 1.0])), PRIOR[None])
    apart = float(found @ np.log(found / PRIOR))
    assert apart == pytest.approx(0.1, abs=1e-4)


def test_the_gradient_of_the_divergence_is_that_of_differences():
    ratios = np.array([0.2, 0.3, 0.5])
    value, gradient = divergence(ratios, PRIOR)
    assert value == pytest.approx(float(ratios @ np.log(ratios / PRIOR)))
    for index in range(3):
        moved = ratios + 1e-6 * np.eye(3)[index]
        assert (divergence(moved, PRIOR)[0] - value) / 1e-6 == pytest.approx(
            gradient[index], abs=1e-4
        )
