from dataclasses import replace

from pages import NATURAL, report

from mixopt import Estimate, Mixture, Proposal
from mixopt.report.sentences import tell_meeting, tell_ratios


def with_gain(mean, std, **changes):
    data = report(**changes)
    first = replace(data.best.comparisons[0], measured_gain=Estimate(mean, std))
    return replace(data, proposals=(replace(data.best, comparisons=(first,)),))


def test_what_moves_what_it_gains_and_whether_anyone_checked():
    told = tell_meeting(with_gain(0.5, 0.1))
    assert told == (
        "More birds, less sums and ships: better than the natural mixture (measured by the merged "
        "proxy: +0.50 sd of utility, 95% interval +0.30 to +0.70); it, really trained, gained by seed "
        "+0.10, -0.10."
    )
    assert "no real run has checked it." in tell_meeting(with_gain(0.5, 0.1, validation=None))
    assert "worse than the natural" in tell_meeting(with_gain(-0.5, 0.1))


def test_real_runs_that_changed_the_proposal_were_of_the_one_before():
    data = with_gain(0.5, 0.1)
    note = "corrected by 6 mixtures; the validation is of the proposal before."
    data = replace(data, proposals=(replace(data.best, notes=(note,)),))
    assert "the proposal before those runs, really trained, gained" in tell_meeting(data)


def test_no_difference_is_said_as_such():
    assert "makes no difference that we can tell" in tell_meeting(with_gain(0.1, 0.1))


def test_the_same_mixture_is_to_be_kept():
    assert tell_meeting(with_gain(0.0, 0.0)).startswith("Keep the natural mixture")


def test_a_proposal_that_was_compared_with_nothing():
    alone = Proposal(NATURAL, Estimate(0, 1), {})
    told = tell_meeting(report(proposals=(alone,)))
    assert told == "Train on 50.0% sums, 30.0% ships and 20.0% birds; it was compared with nothing."


def test_domains_without_a_share_are_not_named():
    assert tell_ratios(Proposal(Mixture({"a": 1.0, "b": 0.0}), Estimate(0, 1), {})) == "100.0% a"
