from mixopt.optimization.learning_curve import Expectation
from mixopt.report.charts.more_runs import more_runs_picture

ROWS = [
    Expectation(24, 0.4, (0.3, 0.5), 0.8, (0.7, 0.9)),
    Expectation(32, 0.35, (0.25, 0.45), 0.85, (0.75, 0.92)),
]


def test_the_runs_so_far_are_told_apart_from_what_is_expected():
    picture = more_runs_picture(ROWS)
    assert picture.rows[0] == ("24", "+0.800", "+0.700 to +0.900", "0.400", "0.300 to 0.500")
    (rows,) = picture.spec()["datasets"].values()
    assert [(row["runs"], row["known"]) for row in rows] == [(24, "so far"), (32, "expected")]
    assert [(row["low"], row["high"]) for row in rows] == [(0.7, 0.9), (0.75, 0.92)]
