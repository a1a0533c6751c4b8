import math
from dataclasses import asdict

import pytest

from mixopt import Estimate
from mixopt.estimate import DrawnEstimate, format_chance, read_estimates


def test_intervals_are_the_normal_ones():
    estimate = Estimate(1.0, 0.5)
    assert estimate.interval == pytest.approx((1 - 0.97998, 1 + 0.97998), abs=1e-4)
    assert estimate.interval80 == pytest.approx((1 - 0.64078, 1 + 0.64078), abs=1e-4)


def test_chance_is_the_normal_one():
    assert Estimate(0.5, 0.5).chance == pytest.approx(0.841345, abs=1e-6)
    assert Estimate(0.0, 0.0).chance == 0.5
    assert math.isnan(Estimate(math.nan, 0.0).chance)


@pytest.mark.parametrize(
    ("chance", "said"),
    [(0.0, "< 1%"), (0.004, "< 1%"), (0.006, "1%"), (0.5, "50%"), (0.994, "99%"), (0.996, "> 99%"),
     (1.0, "> 99%"), (math.nan, "unknown")],
)  # fmt: skip
def test_no_chance_is_said_to_be_none_or_certain(chance, said):
    assert format_chance(chance) == said


def test_estimates_are_read_from_plain_values():
    read = read_estimates({"a": {"mean": 1.0, "std_error": None, "half80": 2.0}})
    assert (read["a"].mean, read["a"].half80) == (1.0, 2.0)
    assert math.isnan(read["a"].std_error)


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="its mean is 'x'"):
        Estimate.from_dict({"mean": "x", "std_error": 1.0})
    with pytest.raises(ValueError, match="its std_error is true|its std_error is True"):
        Estimate.from_dict({"mean": 1.0, "std_error": True})


def test_an_estimate_from_draws_has_their_chance_and_interval():
    drawn = DrawnEstimate(1.0, 2.0, above=0.84, low=-0.5, high=3.0)
    assert drawn.chance == 0.84
    assert drawn.interval == (-0.5, 3.0)
    assert not drawn.distinguishable
    assert Estimate.from_dict(asdict(drawn)) == drawn
