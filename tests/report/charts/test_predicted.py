import numpy as np
import pytest

from mixopt.report.charts.predicted import (
    MAX_PANELS,
    MAX_POINTS,
    one_panel,
    points,
    predicted_picture,
    rank_table,
    ranks_picture,
)
from mixopt.report.charts.theme import LIGHT
from mixopt.report.data import PredictedScores


def scores_of(measured, predicted, rank=0.5):
    return PredictedScores(np.array(measured, float), np.array(predicted, float), rank, "trees")


def test_predicted_puts_prediction_across_and_measurement_up():
    picture = predicted_picture({"m": scores_of([1.0, 2.0], [5.0, 6.0])})
    (rows,) = picture.spec()["datasets"].values()
    assert rows == [
        {"metric": "m", "predicted": 5.0, "measured": 1.0},
        {"metric": "m", "predicted": 6.0, "measured": 2.0},
    ]
    dots = picture.spec()["spec"]["layer"][1]["encoding"]
    assert (dots["x"]["field"], dots["y"]["field"]) == ("predicted", "measured")


def test_unknown_points_are_left_out_not_drawn_at_zero():
    known = points(scores_of([1.0, np.nan, 3.0], [1.0, 2.0, 3.0]))
    assert [row["predicted"] for row in known] == [1.0, 3.0]
    assert len(points(scores_of(range(1000), range(1000)))) == MAX_POINTS


def test_of_many_metrics_some_are_drawn_and_the_table_has_all():
    scores = {f"m{i}": scores_of([1, 2], [1, 2]) for i in range(40)}
    picture = predicted_picture(scores)
    (rows,) = picture.spec()["datasets"].values()
    assert len({row["metric"] for row in rows}) == MAX_PANELS
    assert len(picture.rows) == 40
    assert picture.label.endswith(f", by metric: the first {MAX_PANELS} of 40")
    long = predicted_picture({"m": scores_of(range(1000), range(1000))})
    assert long.label.endswith(f", by metric; the first {MAX_POINTS} of 1,000 trials")


def test_the_metric_that_is_ranked_worst_is_first():
    scores = {"a": scores_of([1], [1], 0.9), "b": scores_of([1], [1], -0.2),
              "c": scores_of([1], [1], float("nan"))}  # fmt: skip
    (rows,) = ranks_picture(scores).spec()["datasets"].values()
    assert [row["name"] for row in rows] == ["b", "a"]
    assert rank_table(scores)[1][2] == ("c", "–", "trees")


def test_the_page_fills_the_panel_of_one_metric():
    spec = one_panel(LIGHT).to_dict()
    assert spec["data"]["name"] == "points"
    assert spec["layer"][1]["encoding"]["x"]["field"] == "predicted"


@pytest.mark.parametrize("count", [1, 5])
def test_a_page_s_panels_have_at_most_four_columns(count):
    scores = {f"m{i}": scores_of([1, 2], [1, 2]) for i in range(count)}
    assert predicted_picture(scores).spec()["columns"] == min(4, count)
