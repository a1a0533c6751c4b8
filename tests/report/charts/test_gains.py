import math

import pytest

from mixopt import Estimate
from mixopt.report.charts.gains import (
    MAX_ROWS,
    describe_gain,
    gains_picture,
    robust_range,
    verdict_of,
)


def picture(gains, **changes):
    fields = {"name": "gains", "label": "Gains", "title": "gain"} | changes
    return gains_picture(gains, **fields)


def rows_of(shown):
    datasets = shown.spec()["datasets"].values()
    return next(rows for rows in datasets if "gain" in rows[0])


def test_rows_have_the_ends_of_their_95_percent_interval_and_a_verdict():
    gains = [("a", Estimate(1.0, 0.2)), ("b", Estimate(-1.0, 0.2)), ("c", Estimate(0.1, 0.2))]
    rows = rows_of(picture(gains))
    assert [row["verdict"] for row in rows] == ["better", "worse", "unclear"]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(Estimate(1.0, 0.2).interval)
    assert picture(gains).rows[0] == ("a", "+1.000", "+0.608 to +1.392", "> 99%")


@pytest.mark.parametrize(
    ("mean", "std", "verdict"), [(1, 0.5, "better"), (1, 0.6, "unclear"), (-1, 0.5, "worse")]
)
def test_a_verdict_needs_an_interval_without_zero(mean, std, verdict):
    assert verdict_of(Estimate(mean, std)) == verdict


def test_one_wide_interval_does_not_press_the_others_together():
    narrow = [Estimate(0.1, 0.05), Estimate(0.3, 0.05), Estimate(0.2, 0.05)]
    low, high = robust_range([*narrow, Estimate(0.0, 100.0)])
    assert -1 < low < 0 < 0.3 < high < 1
    rows = rows_of(picture([(str(i), g) for i, g in enumerate([*narrow, Estimate(0.0, 100.0)])]))
    assert rows[3]["low"] == pytest.approx(low)  # cut off at the frame
    assert rows[3]["text"] == "+0.000, 95% interval -195.996 to +195.996"  # and said in full
    # both ends have an arrow, and no other row has one
    assert (rows[3]["left"], rows[3]["right"]) == pytest.approx((low, high))
    assert {(row["left"], row["right"]) for row in rows[:3]} == {(None, None)}
    wide = picture([(str(i), g) for i, g in enumerate([*narrow, Estimate(0.0, 100.0)])])
    shapes = [layer["mark"].get("shape") for layer in wide.spec()["layer"]]
    assert {"triangle-left", "triangle-right"} <= set(shapes)
    alone = [layer["mark"].get("shape") for layer in picture([("a", narrow[0])]).spec()["layer"]]
    assert not {"triangle-left", "triangle-right"} & set(alone)


def test_a_dot_without_an_interval_and_what_is_unknown():
    shown = picture([("run", Estimate(0.5, math.nan)), ("lost", Estimate(math.nan, 1.0))])
    (row,) = rows_of(shown)
    assert (row["low"], row["text"]) == (None, "+0.500")
    assert shown.rows == [("run", "+0.500", "–", "–"), ("lost", "–", "–", "unknown")]


def test_percent_is_written_with_its_sign():
    assert describe_gain(Estimate(-2.5, 0.5), percent=True) == ("-2.5%", "-3.5% to -1.5%")


def test_of_many_rows_the_first_are_drawn_and_the_table_has_all():
    gains = [(f"m{i}", Estimate(float(i), 1.0)) for i in range(64)]
    shown = picture(gains)
    assert [row["name"] for row in rows_of(shown)] == [f"m{i}" for i in range(MAX_ROWS)]
    assert len(shown.rows) == 64
    assert (shown.drawn, shown.left_out) == (MAX_ROWS, 64 - MAX_ROWS)
    several = picture([(name, gain) for name, gain in gains[:3] for _ in range(20)])
    assert (several.drawn, several.left_out) == (3, 0)
