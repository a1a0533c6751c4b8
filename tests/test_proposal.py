import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mixopt import Budget, Estimate, Mixture, Proposal
from mixopt.comparison import Comparison, Support, Ties
from mixopt.decision import Decision
from mixopt.errors import ArgumentTypeError, ExportError, OutputError

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
    assert proposal().write(path) == path
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


def test_chance_is_the_normal_one_and_intervals_have_their_own_tails():
    assert Estimate(0.0, 0.1).chance == pytest.approx(0.5)
    assert Estimate(0.196, 0.1).chance == pytest.approx(0.975, abs=1e-4)
    assert (Estimate(0.1, 0.0).chance, Estimate(-0.1, 0.0).chance) == (1.0, 0.0)
    assert math.isnan(Estimate(math.nan, 0.0).chance)
    assert Estimate(1.0, 0.5, half80=1.0).interval80 == (0.5, 1.5)


def test_ties_support_and_errors_come_back(tmp_path):
    full = replace(
        proposal(),
        ties=Ties(0.25, {"a": (0.5, 0.8), "b": (0.2, 0.5)}, (Mixture({"a": 0.5, "b": 0.5}),)),
        support=Support("t7", 0.1, 0.3),
        errors={"loss": Estimate(0.4, 0.01)},
    )
    path = tmp_path / "proposal.json"
    path.write_text(full.to_json())
    again = Proposal.read(path)
    assert (again.ties, again.support, again.errors) == (full.ties, full.support, full.errors)
    assert json.loads(path.read_text())["comparisons"][0]["chance"] > 0.99
    assert not full.support.extrapolates


def test_written_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        proposal().write(tmp_path / "file" / "proposal.json")


def test_ratios_may_be_a_dict_but_not_an_array():
    made = Proposal({"a": 0.7, "b": 0.3}, GAIN, {})
    assert made.ratios == Mixture({"a": 0.7, "b": 0.3})
    with pytest.raises(ArgumentTypeError, match="A list is no mixture here"):
        Proposal([0.7, 0.3], GAIN, {})


def test_a_proposal_alone_was_not_compared():
    alone = replace(proposal(), comparisons=())
    assert alone.verdict == "not compared with another mixture"


def test_reprs_hold_ratios_and_verdict():
    told = repr(proposal())
    assert told.startswith("Proposal(a: 0.7, b: 0.3; better than the natural mixture (predicted")
    html = replace(proposal(), notes=("a <note>",))._repr_html_()
    assert "better than the natural mixture" in html
    assert "a &lt;note&gt;" in html
    assert "<th>natural</th>" in html


@pytest.mark.parametrize(("measured", "said"), [(None, "<li>against natural: predicted"),
                                                (GAIN, "<li>merges, against natural: ")])  # fmt: skip
def test_only_what_merges_measured_is_called_theirs(measured, said):
    natural = Mixture.uniform(["a", "b"])
    decision = Decision(True, Mixture({"a": 0.7, "b": 0.3}), natural, GAIN, None, 24)
    html = replace(proposal(measured=measured), decision=decision)._repr_html_()
    assert said in html


def test_a_proposal_that_was_edited_says_so(tmp_path, caplog):
    path = proposal().write(tmp_path / "proposal.json")
    Proposal.read(path)
    assert "was changed" not in caplog.text
    plain = json.loads(path.read_text())
    plain["ratios"] = dict(zip(plain["ratios"], reversed(plain["ratios"].values()), strict=True))
    path.write_text(json.dumps(plain))
    Proposal.read(path)
    assert "proposal.json was changed after mixopt wrote it" in caplog.text
    caplog.clear()
    del plain["digest"]  # of an earlier version
    path.write_text(json.dumps(plain))
    Proposal.read(path)
    assert caplog.text == ""


def test_a_candidate_that_the_decision_sets_aside_is_called_so_and_the_only_one_is_not():
    natural, other = Mixture({"a": 0.5, "b": 0.5}), Mixture({"a": 0.9, "b": 0.1})
    stays = Decision(False, other, natural, Estimate(0.1, 1), 1000, 0)
    alone = replace(stays, candidate=natural)
    for ratios, decision, advised in (
        (natural, stays, True), (other, stays, False), (natural, alone, True),
        (other, replace(stays, moves=True), True), (other, None, True),
    ):  # fmt: skip
        proposal = Proposal(ratios, Estimate(0, 1), {}, decision=decision)
        assert proposal.is_advised == advised
        assert proposal.verdict.startswith("this is the best other mixture, not") != advised


def test_a_file_that_notepad_saved_is_read(tmp_path):
    path = proposal().write(tmp_path / "proposal.json")
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert Proposal.read(path).ratios == proposal().ratios


def test_numbers_of_numpy_are_written(tmp_path, caplog):
    plain = replace(
        proposal(),
        budget=Budget(np.int64(1000), {"a": np.float32(500)}),
        tokens_per_document={"a": np.float32(3), "b": np.int64(4)},
        weights={"a": np.float32(0.75), "b": np.float32("nan")},
    )
    again = Proposal.read(plain.write(tmp_path / "p.json"))
    assert caplog.text == ""  # the digest is that of what was written
    assert again.budget == Budget(1000, {"a": 500.0})
    assert again.tokens_per_document == {"a": 3.0, "b": 4.0}
    assert again.weights == {"a": 0.75, "b": None}


def test_estimates_of_a_newer_version_are_read(tmp_path):
    plain = json.loads(proposal().to_json())
    plain["utility"]["skew"] = {"of": "tomorrow"}
    plain.pop("digest")
    (tmp_path / "p.json").write_text(json.dumps(plain))
    assert Proposal.read(tmp_path / "p.json").utility == proposal().utility


def test_a_folder_is_no_proposal(tmp_path):
    with pytest.raises(ExportError, match="is a folder; give the proposal.json"):
        Proposal.read(tmp_path)
