import pytest

from mixopt import Estimate, Mixture
from mixopt.decision import Decision, LearningStep, NextRun
from mixopt.report.charts.learning_curve import learning_picture

A, B = Mixture({"a": 0.7, "b": 0.3}), Mixture({"a": 0.5, "b": 0.5})
STEPS = (
    LearningStep(3000, 0, Estimate(0.2, 0.3), False),
    LearningStep(5000, 1, Estimate(0.3, 0.1), True),
)


def decision(gain=0.3, **changes):
    return Decision(True, A, B, Estimate(gain, 0.1), 9000, 1, **changes)


def test_the_curve_ends_in_what_the_next_run_of_each_length_is_worth():
    next_runs = NextRun(A, 1000, 1000, 0.02), NextRun(A, 4000, 8000, 0.05)
    picture = learning_picture(decision(learning=STEPS, next_runs=next_runs))
    assert picture.rows == [
        ("3,000", "experts alone", "+0.200", "-0.388 to +0.788", "stay with natural"),
        ("5,000", "1 run", "+0.300", "+0.104 to +0.496", "train on it"),
        ("6,000", "next run, 1,000 tokens", "+0.320", "–",
         "70.0% a and 30.0% b: +0.020 for 1,000 tokens"),
        ("13,000", "next run, 4,000 tokens", "+0.350", "–",
         "70.0% a and 30.0% b: +0.050 for 8,000 tokens"),
    ]  # fmt: skip
    drawn = [rows for rows in picture.spec()["datasets"].values() if "after" in rows[0]]
    assert [[row["gain"] for row in rows] for rows in drawn] == [pytest.approx([0.32, 0.35])]


def test_after_a_loss_natural_may_be_chosen_so_the_next_run_starts_from_no_gain():
    steps = (LearningStep(3000, 2, Estimate(-0.4, 0.1), False),)
    picture = learning_picture(decision(-0.4, learning=steps,
                                        next_runs=(NextRun(A, 1000, 2000, 0.01),)))  # fmt: skip
    assert picture.rows[-1][:3] == ("5,000", "next run, 1,000 tokens", "+0.010")
    # the dashed line rises by what the run adds, not by what natural gains over a worse mixture
    (lines,) = [rows for rows in picture.spec()["datasets"].values() if "line" in rows[0]]
    assert [row["gain"] for row in lines] == pytest.approx([0.0, 0.01])


@pytest.mark.parametrize("known", [{}, {"learning": STEPS[:1]}])
def test_what_is_not_known_is_no_picture(known):
    assert learning_picture(decision(**known)) is None
