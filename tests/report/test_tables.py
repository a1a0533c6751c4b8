import math
from dataclasses import replace

from pages import NATURAL, RATIOS, report

from mixopt.callbacks.base import StudyWarning
from mixopt.comparison import Ties
from mixopt.decision import Decision
from mixopt.estimate import Estimate
from mixopt.mixture import Mixture
from mixopt.report import tables
from mixopt.report.data import TrainedRun


def test_scores_are_predicted_and_measured():
    columns, rows = tables.scores(report())
    assert columns[-2:] == ("measured", "difference from natural")
    assert rows == [
        ("birds_heldout", "all", "search", "lower", "2.000 ± 0.100", "2.100 ± 0.050",
         "-0.020 ± 0.010"),
        ("choice", "all", "holdout", "higher", "–", "0.500 ± 0.100", "–"),
    ]  # fmt: skip
    unmeasured = replace(report().best, measured=None)
    columns, rows = tables.scores(report(proposals=(unmeasured,)))
    assert columns[-1] == "predicted"
    assert rows == [("birds_heldout", "all", "search", "lower", "2.000 ± 0.100")]


def test_the_widest_tie_is_first():
    best = replace(report().best, ties=Ties(0.5, {"birds": (0.1, 0.2), "ships": (0.0, 0.5)}))
    assert tables.ties(report(proposals=(best,))) == [
        ("ships", "0.0%", "50.0%"), ("birds", "10.0%", "20.0%")
    ]  # fmt: skip
    assert tables.ties(report()) == []


def test_trained_runs_say_what_failed_and_what_no_choice_has_seen():
    runs = (TrainedRun(NATURAL, 0, 9000, math.nan), TrainedRun(RATIOS, 1, 9000, math.nan, True),
            TrainedRun(RATIOS, 1000, 9000, 0.25, unseen=True))  # fmt: skip
    assert tables.trained(report(trained=runs)) == [
        ("natural", "9,000", "0", "–", ""),
        ("recommended", "9,000", "1", "–", "failed"),
        ("recommended", "9,000", "1000", "+0.250", "unused seed"),
    ]


def test_warnings_are_by_what_they_change_and_only_what_changes_nothing_is_folded():
    given = (StudyWarning("a", "nothing"), StudyWarning("b"), StudyWarning("c", "ratios"))
    groups = tables.warnings(report(warnings=given))
    assert [(texts, folded) for _, texts, folded in groups] == [
        (["Expert <x> was set aside", "c"], False), (["b"], False), (["a"], True)
    ]  # fmt: skip


def test_domains_have_their_available_tokens():
    assert tables.domains(report())[0] == ("birds", "1,000", "")


def test_groups_have_their_sum_and_their_parts():
    assert tables.groups(report()) == []
    best = report().best
    renamed = replace(best, ratios=Mixture({"web:q1": 0.1, "web:q2": 0.3, "code": 0.6}))
    assert tables.groups(report(proposals=(renamed,))) == [
        ("web", "0.0%", "40.0%", "q1 25.0%; q2 75.0%")
    ]
    # where the reference is kept, they are those of the best other mixture, as the arrows are
    kept = Mixture({"web:q1": 0.2, "web:q2": 0.2, "code": 0.6})
    other = Mixture({"web:q1": 0.6, "web:q2": 0.2, "code": 0.2})
    stays = Decision(False, other, kept, Estimate(0.1, 0.2), None, 4)
    best = replace(renamed, ratios=kept, decision=stays, comparisons=())
    assert tables.groups(report(proposals=(best,))) == [
        ("web", "40.0%", "80.0%", "q1 75.0%; q2 25.0%")
    ]
