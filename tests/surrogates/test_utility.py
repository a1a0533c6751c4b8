import numpy as np
import pytest

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.errors import TrialsError
from mixopt.surrogates.utility import (
    Utility,
    WorstCapability,
    make_utility,
    measure_gain,
    utilities_by_capability,
)

METRICS = [Metric("l1", "lower", "x"), Metric("l2", "lower", "x"), Metric("acc", "higher", "y")]


def table(rows):
    return Trials(
        [
            Trial(
                str(i),
                Mixture({"a": 1.0}),
                {m.name: Score(v) for m, v in zip(METRICS, row, strict=True)},
            )
            for i, row in enumerate(rows)
        ],
        METRICS,
        ("a",),
    )


ROWS = np.array([[1.0, 5.0, 0.1], [2.0, 3.0, 0.5], [4.0, 1.0, 0.3]])


def test_standardized_utility_by_hand():
    trials = table(ROWS)
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    by_hand = ((-z[:, 0] - z[:, 1]) / 2 + z[:, 2]) / 2
    assert Utility.standardized(trials, METRICS).of(ROWS) == pytest.approx(by_hand)


def test_capability_weights_by_hand():
    trials = table(ROWS)
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    by_hand = 0.75 * (-z[:, 0] - z[:, 1]) / 2 + 0.25 * z[:, 2]
    weighted = Utility.standardized(trials, METRICS, {"x": 3.0, "y": 1.0})
    assert weighted.of(ROWS) == pytest.approx(by_hand)


def test_errors_carry_through_linearly():
    utility = Utility.standardized(table(ROWS), METRICS)
    errors = np.array([[0.1, 0.2, 0.05]])
    by_hand = np.sqrt(((errors[0] * utility.coefficients) ** 2).sum())
    assert utility.std(errors, ROWS[:1])[0] == pytest.approx(by_hand)
    gain, error = measure_gain(utility, ROWS[0], ROWS[0] + [1.0, 0, 0], errors[0])
    assert gain == pytest.approx(-utility.coefficients[0])
    assert gain > 0
    assert error == pytest.approx(by_hand)


def test_trust_divides_a_capability_among_its_metrics():
    trials = table(ROWS)
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    by_hand = ((-z[:, 0] - 0.25 * z[:, 1]) / 1.25 + z[:, 2]) / 2
    assert Utility.standardized(trials, METRICS, trust={"l2": 0.25}).of(ROWS) == pytest.approx(
        by_hand
    )
    without = ((-z[:, 0]) + z[:, 2]) / 2
    assert Utility.standardized(trials, METRICS, trust={"l2": 0.0}).of(ROWS) == pytest.approx(
        without
    )


def test_a_capability_that_is_not_trusted_at_all_leaves_the_mean():
    trials = table(ROWS)
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    by_hand = (-z[:, 0] - z[:, 1]) / 2
    assert Utility.standardized(trials, METRICS, trust={"acc": 0.0}).of(ROWS) == pytest.approx(
        by_hand
    )


@pytest.mark.parametrize("normalise", ["z", "rank"])
@pytest.mark.parametrize("aggregate", ["mean", "weighted", "worst"])
def test_every_way_of_aggregating_prefers_what_is_better_and_has_its_slopes(normalise, aggregate):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 3))
    utility = make_utility(table(rows), METRICS, aggregate=aggregate, normalise=normalise,
                           weights={"x": 3.0})  # fmt: skip
    at = np.array([[-1.0, -1.2, -0.8]])
    better = at + [[-1.0, -1.0, 1.0]]
    assert utility.of(better)[0] > utility.of(at)[0]
    slopes = utility.gradient(at)
    moved = np.array([
        utility.of(at + step)[0] - utility.of(at - step)[0] for step in 1e-5 * np.eye(3)
    ]) / 2e-5  # fmt: skip
    assert slopes[0] == pytest.approx(moved, rel=0.02, abs=1e-3)


def test_only_the_weighted_mean_weighs():
    weights = {"x": 3.0, "y": 1.0}
    trials = table(ROWS)
    mean = make_utility(trials, METRICS, aggregate="mean", weights=weights)
    assert mean.of(ROWS) == pytest.approx(Utility.standardized(trials, METRICS).of(ROWS))
    weighted = make_utility(trials, METRICS, aggregate="weighted", weights=weights)
    assert weighted.of(ROWS) == pytest.approx(
        Utility.standardized(trials, METRICS, weights).of(ROWS)
    )


def test_raw_scores_keep_units_and_need_one_direction():
    raw = make_utility(table(ROWS), METRICS[:2], normalise="raw")
    assert raw.of(ROWS[:, :2]) == pytest.approx(-ROWS[:, :2].mean(axis=1))
    with pytest.raises(TrialsError, match="some are better lower"):
        make_utility(table(ROWS), METRICS, normalise="raw")


def test_the_gain_of_a_worst_capability_is_that_of_the_worse_one():
    utility = make_utility(table(ROWS), METRICS, aggregate="worst")
    gain, error = measure_gain(utility, ROWS[0], ROWS[2], np.array([0.1, 0.1, 0.1]))
    assert gain == pytest.approx(float(np.diff(utility.of(ROWS[[2, 0]]))[0]))
    assert error > 0


def test_raw_mean_keeps_units():
    utility = Utility.raw_mean(METRICS[:2])
    assert utility.of(ROWS[:, :2]) == pytest.approx(-ROWS[:, :2].mean(axis=1))


def test_missing_score_makes_the_utility_unknown():
    rows = ROWS.copy()
    rows[0, 1] = np.nan
    utilities = Utility.standardized(table(ROWS), METRICS).of(rows)
    assert np.isnan(utilities[0])
    assert np.isfinite(utilities[1:]).all()


def test_no_capability_left_is_an_error():
    with pytest.raises(TrialsError, match="No capability has a weight above zero"):
        Utility.standardized(table(ROWS), METRICS, {"x": 0.0, "y": 0.0})


def test_weights_by_metric():
    trials = table(ROWS)
    utility = Utility.weighted(trials, METRICS, {"l1": 3.0, "acc": 1.0})
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    assert utility.of(ROWS) == pytest.approx((-3 * z[:, 0] + z[:, 2]) / 4)
    with pytest.raises(TrialsError, match="not negative"):
        Utility.weighted(trials, METRICS, {"l1": -1.0})
    with pytest.raises(TrialsError, match="No metric with a weight"):
        Utility.weighted(trials, METRICS, {"l1": 0.0})


def test_the_worst_capability_counts():
    worst = WorstCapability.of_capabilities(table(ROWS), METRICS)
    each = [Utility.standardized(table(ROWS), METRICS, {"x": float(c == "x"), "y": float(c == "y")})
            for c in ("x", "y")]  # fmt: skip
    assert worst.of(ROWS) == pytest.approx(np.minimum(each[0].of(ROWS), each[1].of(ROWS)))
    slopes = worst.gradient(ROWS)
    far = np.argmax(np.abs(each[0].of(ROWS) - each[1].of(ROWS)))
    lower = each[int(each[1].of(ROWS)[far] < each[0].of(ROWS)[far])]
    assert slopes[far] == pytest.approx(lower.coefficients, abs=1e-3)
    assert (worst.std(np.ones((3, 3)), ROWS) > 0).all()


def test_a_capability_of_little_trust_is_told_and_is_not_the_worst_one():
    trust = {"l1": 1.0, "l2": 1.0, "acc": 0.3}
    assert set(WorstCapability.of_capabilities(table(ROWS), METRICS, trust).parts) == {"x"}
    parts = utilities_by_capability(table(ROWS), METRICS, trust)
    assert set(parts) == {"x", "y"}
    alone = Utility.standardized(table(ROWS), METRICS, {"x": 0.0, "y": 1.0})
    assert parts["y"].of(ROWS) == pytest.approx(alone.of(ROWS))
    # without any trust, and where nothing varies, there is nothing to tell
    assert set(utilities_by_capability(table(ROWS), METRICS, trust | {"acc": 0.0})) == {"x"}
    still = ROWS * [1, 1, 0]
    assert set(utilities_by_capability(table(still), METRICS)) == {"x"}


def test_a_utility_knows_how_its_metrics_were_made_comparable():
    for aggregate in ("mean", "worst"):
        for normalise in ("z", "rank", "raw"):
            made = make_utility(table(ROWS), METRICS[:2], aggregate=aggregate, normalise=normalise)
            assert made.normalise == normalise
    assert Utility.raw_mean(METRICS[:2]).normalise == "raw"
    assert Utility.weighted(table(ROWS), METRICS, {METRICS[0].name: 1.0}).normalise == "z"


@pytest.mark.parametrize("aggregate", ["weighted", "worst"])
@pytest.mark.parametrize("normalise", ["z", "rank"])
def test_a_capability_whose_scores_are_all_the_same_does_not_count(aggregate, normalise):
    rows = np.column_stack([np.linspace(1, 2, 24), np.linspace(3, 1, 24), np.full(24, 0.1)])
    rows[:, 1] = rows[:, 0]
    with_constant = make_utility(table(rows), METRICS, aggregate=aggregate, normalise=normalise)
    alone = make_utility(
        Trials.from_arrays(np.ones((24, 1)), rows[:, :2], domains=["a"], metrics=METRICS[:2]),
        METRICS[:2], aggregate=aggregate, normalise=normalise,
    )  # fmt: skip
    assert with_constant.of(rows) == pytest.approx(alone.of(rows[:, :2]))
    by_metric = Utility.weighted(table(rows), METRICS, {"l1": 1.0, "acc": 1.0})
    assert by_metric.coefficients[2] == 0
