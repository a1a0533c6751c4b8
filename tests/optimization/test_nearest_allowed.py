import numpy as np
import pytest

from mixopt import SearchSpace
from mixopt.optimization.nearest_allowed import nearest_allowed
from mixopt.optimization.weight_space import WeightSpace


@pytest.mark.parametrize(
    "limits",
    [{"lower": {"f": 0.3}}, {"upper": {"a": 0.3}}, {"upper": {"a": 0.3, "b": 0.2}}],
)
def test_the_nearest_allowed_mixture_keeps_the_proportions_of_what_is_free(limits):
    """By Hellinger's distance; least squares would give c, d and e nothing."""
    natural = np.array([0.60, 0.25, 0.10, 0.03, 0.015, 0.005])
    space = SearchSpace(tuple("abcdef"), **limits)
    found = nearest_allowed(WeightSpace.of_domains(space), natural)
    assert space.contains(found)[0]
    bound = {**limits.get("lower", {}), **limits.get("upper", {})}
    free = np.array([name not in bound for name in space.domains])
    assert found[~free] == pytest.approx(list(bound.values()), abs=1e-6)
    expected = natural[free] / natural[free].sum() * (1 - sum(bound.values()))
    assert found[free] == pytest.approx(expected, abs=2e-4)


def test_the_nearest_to_what_is_allowed_is_itself():
    natural = np.array([0.5, 0.3, 0.2])
    space = WeightSpace.of_domains(SearchSpace(tuple("abc"), upper={"a": 0.6}))
    assert nearest_allowed(space, natural).tolist() == natural.tolist()
