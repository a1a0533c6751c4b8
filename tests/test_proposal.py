import math

import pytest

from mixopt import Estimate, Mixture, Proposal
from mixopt.errors import ExportError
from mixopt.proposal import Comparison

GAIN = Estimate(0.5, 0.1)


def proposal(gain=GAIN, measured=None):
    natural = Comparison("natural", Mixture.uniform(["a", "b"]), gain, measured)
    return Proposal(
        Mixture({"a": 0.7, "b": 0.3}),
        Estimate(1.0, 0.2),
        {"loss": Estimate(2.0, math.nan)},
        (natural,),
        weights={"a": 0.7, "b": 0.3},
    )


def test_interval_is_the_normal_one():
    low, high = Estimate(1.0, 0.5).interval
    assert (low, high) == pytest.approx((1 - 0.97998, 1 + 0.97998), abs=1e-4)


def test_verdict_says_better_worse_or_not_distinguishable():
    assert proposal().verdict.startswith("better than the natural mixture")
    assert proposal(Estimate(-0.5, 0.1)).verdict.startswith("worse than the natural mixture")
    noise = proposal(Estimate(0.1, 0.1)).verdict
    assert noise.startswith("not distinguishable from the natural mixture")


def test_measured_gain_overrules_the_predicted_one():
    made = proposal(Estimate(0.5, 0.1), measured=Estimate(0.0, 0.1))
    assert "measured" in made.verdict
    assert made.verdict.startswith("not distinguishable")
    assert made.interval == Estimate(0.0, 0.1).interval


def test_json_round_trip(tmp_path):
    path = tmp_path / "proposal.json"
    path.write_text(proposal().to_json())
    again = Proposal.read(path)
    assert again.ratios == proposal().ratios
    assert again.comparisons == proposal().comparisons
    assert math.isnan(again.predicted["loss"].std_error)
    assert "NaN" not in path.read_text()


def test_reading_what_is_no_proposal(tmp_path):
    with pytest.raises(ExportError, match="does not exist"):
        Proposal.read(tmp_path / "none.json")
    (tmp_path / "x.json").write_text('{"ratios": {"a": 2}}')
    with pytest.raises(ExportError, match="not a proposal"):
        Proposal.read(tmp_path / "x.json")
