import math
from dataclasses import replace

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, RATIOS, columns_at, report

from mixopt import Estimate, Mixture
from mixopt.decision import Decision, LearningStep, MergeCheck, NextRun
from mixopt.report.charts.theme import LIGHT, PAGE
from mixopt.report.data import TrainedRun
from mixopt.report.findings import (
    benchmark_changes,
    find,
    name_run,
    predicted_gains,
    probably_worse,
)

SCORE = columns_at(NATURAL.vector(DOMAINS)[None])[0, 6]  # of birds_heldout at natural


def decided(**changes):
    fields = {"capabilities": {"birds": Estimate(0.4, 0.2)},
              "differences": {"birds_heldout": Estimate(0.3, 0.1)}} | changes  # fmt: skip
    decision = Decision(True, RATIOS, NATURAL, Estimate(0.4, 0.1), 9000, 4, **fields)
    return replace(report(), proposals=(replace(report().best, decision=decision),))


def test_changes_are_in_percent_of_the_score_and_positive_where_better():
    changes = benchmark_changes(decided())  # a loss that rises
    assert changes["birds_heldout"].mean == pytest.approx(-30 / SCORE)
    assert changes["birds_heldout"].std_error == pytest.approx(10 / SCORE)
    measured = benchmark_changes(report())  # of merges, without a decision
    assert measured["birds_heldout"].mean == pytest.approx(2 / SCORE, rel=1e-3)


def test_the_worst_is_first_and_what_cannot_be_said_in_percent_is_left_out():
    unknown = Estimate(math.nan, 0.1)
    differences = {"birds_heldout": Estimate(0.3, 0.1), "choice": unknown, "other": Estimate(1, 1)}
    assert list(benchmark_changes(decided(differences=differences))) == ["birds_heldout"]


def test_benchmarks_get_worse_by_the_decision_where_there_is_one():
    assert probably_worse(report()) == {"choice": 0.9}
    worse = probably_worse(decided())
    assert worse == {"birds_heldout": pytest.approx(1 - Estimate(-0.3, 0.1).chance)}
    assert probably_worse(decided(differences={"birds_heldout": Estimate(-0.3, 0.1)})) == {}


def test_changes_in_percent_are_of_the_score_at_the_decision_s_reference():
    """They were of the score at natural, whatever the decision compares with."""
    allowed = Mixture({"birds": 0.3, "ships": 0.3, "sums": 0.4})
    there = columns_at(allowed.vector(DOMAINS)[None])[0, 6]
    best = decided().best
    for reference in ("nearest allowed", "given"):
        moved = replace(best.decision, kept=allowed, reference=reference)
        changes = benchmark_changes(report(proposals=(replace(best, decision=moved),)))
        assert changes["birds_heldout"].mean == pytest.approx(-30 / there, rel=1e-3)
    assert abs(there / SCORE - 1) > 0.01


def test_without_another_candidate_nothing_is_compared_with_itself():
    itself = replace(decided().best.decision, moves=False, candidate=NATURAL,
                     confirmation=Estimate(0.1, 0.1))  # fmt: skip
    best = replace(report().best, ratios=NATURAL, decision=itself)
    found = find(report(proposals=(best,)))
    assert found.gains is found.benchmarks is found.trained is None
    runs = (TrainedRun(RATIOS, 0, 9000, 0.5),)
    known = find(report(proposals=(best,), trained=runs))
    assert [row[0][:4] for row in known.trained.rows] == ["run:"]


def test_gains_by_capability_are_those_of_the_emulator():
    gains = predicted_gains(report())
    assert gains["birds"].mean == pytest.approx(np.sqrt(0.5) - np.sqrt(0.2), abs=1e-3)
    square = np.square(np.sqrt(list(RATIOS.values())) - np.sqrt(list(NATURAL.values()))).sum()
    assert gains["birds"].std_error == pytest.approx(np.sqrt(np.exp(-3) * square), rel=1e-3)


@pytest.mark.parametrize("data", [report(), decided()])
@pytest.mark.parametrize("palette", [LIGHT, PAGE])
def test_pictures_follow_the_schema_of_vega_lite(data, palette):
    for name, picture in find(data).pictures.items():
        chart = picture.chart(palette)
        assert chart.to_dict() == chart.to_dict(validate=False), name


def test_real_training_and_merges_have_pictures_of_their_own():
    found = find(decided())
    assert [row[0] for row in found.gains.rows] == ["all capabilities", "birds"]
    assert found.gains.rows[0][1] == "+0.400"  # the decision
    assert found.merges.rows[0][1] == "+0.100"  # measured on merges
    alone = find(report())
    assert alone.merges is None
    assert alone.gains.rows[0][1] == "+0.100"


def test_trained_runs_are_dots_beside_the_expectation():
    other = Mixture({"birds": 0.1, "ships": 0.1, "sums": 0.8})
    runs = (TrainedRun(NATURAL, 0, 9000, math.nan), TrainedRun(RATIOS, 0, 9000, 0.5),
            TrainedRun(other, 0, 9000, -0.2),
            TrainedRun(Mixture({"birds": 1.0, "ships": 0.0, "sums": 0.0}), 0, 9000, -9.0))  # fmt: skip
    check = MergeCheck(Estimate(0.3, 0.1), 0, 4)
    found = find(replace(decided(merges=check), trained=runs))
    assert [(row[0], row[1]) for row in found.trained.rows] == [
        ("expected of training 9,000 tokens", "+0.400"),
        ("merges of the experts", "+0.300"),
        ("run: recommended", "+0.500"),
        ("run: 80.0% sums, 10.0% birds and 10.0% ships", "-0.200"),
    ]
    assert find(decided()).trained is None
    assert name_run(decided(), NATURAL) == "natural"


def test_a_study_has_a_learning_curve_and_a_table_has_none():
    known = LearningStep(100, 0, Estimate(0.4, 0.2), True)
    found = find(decided(learning=(known,), next_runs=(NextRun(RATIOS, 50, 100, 0.1),)))
    assert [row[0] for row in found.learning.rows] == ["100", "200"]
    assert find(decided()).learning is find(report()).learning is None


def test_what_there_is_no_data_for_has_no_picture():
    bare = report(expert_scores={}, rounds=(), validation=None, predictions={})
    assert list(find(bare).pictures) == ["ratios", "gains", "benchmarks"]
