from dataclasses import asdict

import pytest

from mixopt import Estimate, Mixture
from mixopt.comparison import Comparison, Support, Ties

HALVES = Mixture({"a": 0.5, "b": 0.5})


def comparison(predicted, measured=None):
    return Comparison("natural", HALVES, predicted, measured)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (Estimate(0.5, 0.1), "better than the natural mixture"),
        (Estimate(-0.5, 0.1), "worse than the natural mixture"),
        (Estimate(0.1, 0.1), "not distinguishable from the natural mixture"),
        (Estimate(0.0, 0.0), "the same as the natural mixture"),
    ],
)
def test_verdict_follows_the_interval(gain, verdict):
    assert comparison(gain).verdict.startswith(verdict)
    assert comparison(Estimate(9.0, 0.1), gain).verdict.startswith(verdict)


def test_the_difference_names_where_it_is_from():
    predicted = comparison(Estimate(0.5, 0.1)).difference
    assert predicted == "predicted utility difference +0.500, 95% interval [+0.304, +0.696]"
    assert comparison(Estimate(0.5, 0.1), Estimate(0.2, 0.1)).difference.startswith("measured")


@pytest.mark.parametrize("measured", [None, Estimate(0.2, 0.1)])
def test_a_comparison_comes_back(measured):
    whole = Comparison(
        "given", HALVES, Estimate(0.5, 0.1), measured, {"loss": Estimate(0.1, 0.2)}, {"loss": 0.7},
        {"mean": Estimate(0.3, 0.1)}, {"code": Estimate(0.4, 0.1)},
    )  # fmt: skip
    plain = asdict(whole) | {"ratios": dict(whole.ratios)}
    assert Comparison.from_dict(plain) == whole


def test_ties_and_support_come_back():
    ties = Ties(0.25, {"a": (0.5, 0.8), "b": (0.2, 0.5)}, (HALVES,))
    plain = asdict(ties) | {"examples": [dict(HALVES)]}
    assert Ties.from_dict(plain) == ties
    support = Support("t7", 0.1, 0.3, ("a",))
    assert Support.from_dict(asdict(support)) == support


def test_a_mixture_extrapolates_by_distance_or_by_a_domain():
    assert not Support("t7", 0.1, 0.3).extrapolates
    assert Support("t7", 0.4, 0.3).extrapolates
    assert Support("t7", 0.1, 0.3, ("a",)).extrapolates
