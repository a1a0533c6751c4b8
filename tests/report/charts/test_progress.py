import math

from mixopt.optimization.validation import Purchase
from mixopt.report.charts.progress import progress_picture, purchases_picture
from mixopt.report.data import RoundSummary


def test_progress_leaves_out_rounds_without_a_rank_correlation():
    picture = progress_picture([RoundSummary(1, 8, 0.5, math.nan), RoundSummary(2, 12, 0.6, 0.7)])
    (rows,) = picture.spec()["datasets"].values()
    assert [(row["n"], row["rank"]) for row in rows] == [(12, 0.7)]
    assert picture.rows == [("1", "8", "–", "+0.500"), ("2", "12", "+0.700", "+0.600")]


def test_purchases_say_what_they_cost():
    picture = purchases_picture([Purchase("runs", 8, 0.05, 1000.0, True)])
    assert picture.rows == [("8 more real runs", "at most +0.050", "1,000")]
    (rows,) = picture.spec()["datasets"].values()
    assert rows[0]["text"] == "+0.050 for 1,000 tokens"
