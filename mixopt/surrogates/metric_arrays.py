"""Arrays over metrics: their directions, shares and reductions, and how errors reach a utility.

Shapes: `n` mixtures, `m` metrics, `t` trials.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.trial import Metric

Metrics = Sequence[Metric]

ROUNDING = 1e-12  # deviation ÷ largest value up to which values are the same


def signs(metrics: Metrics) -> Array:
    """Return +1 where higher is better, −1 where lower is (`m`).

    Args:
        metrics: `m` metrics.
    """
    return np.array([1.0 if metric.better == "higher" else -1.0 for metric in metrics])


def reduce_columns(reduce: Callable[[Array], float], values: Array) -> Array:
    """Return a reduction by column (`m`), NaN without a warning where a column is empty.

    Args:
        reduce: Of the finite values of a column, to a number.
        values: Scores (`t x m`); NaN where missing.
    """
    return np.array([
        reduce(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan
        for column in values.T
    ])  # fmt: skip


def deviations(values: Array) -> Array:
    """Return the standard deviation by column (`m`), NaN where a column is empty.

    It is 0 where values differ in their last digits only: that is rounding, not a difference.

    Args:
        values: Scores (`t x m`); NaN where missing.
    """
    largest = reduce_columns(lambda column: float(np.abs(column).max()), values)
    spreads = reduce_columns(lambda column: float(column.std()), values)
    return np.where(spreads <= ROUNDING * np.maximum(largest, 1e-300), 0.0, spreads)


def metric_shares(
    metrics: Metrics, weights: Mapping[str, float], varying: np.ndarray, trust: Mapping[str, float]
) -> Array:
    """Return each metric's share of the utility (`m`).

    Metrics divide their capability's share by trust. A capability has the trust of its most trusted
    metric, so one of noisy metrics alone has little weight.

    Args:
        metrics: `m` metrics.
        weights: By capability; 1 where none is given.
        varying: Whether each metric differs between trials (`m`); one that does not has no share.
        trust: By metric, its weight inside its capability; 1 where none is given.

    Raises:
        TrialsError: No capability with a weight above zero has a metric that varies and is trusted.
    """
    pairs = zip(metrics, varying, strict=True)
    each = [trust.get(metric.name, 1.0) * float(varies) for metric, varies in pairs]
    totals: dict[str, float] = {}
    best: dict[str, float] = {}
    for metric, own in zip(metrics, each, strict=True):
        totals[metric.capability] = totals.get(metric.capability, 0.0) + own
        best[metric.capability] = max(best.get(metric.capability, 0.0), own)
    capabilities = {name: weights.get(name, 1.0) * best[name] for name in totals}
    total = sum(capabilities.values())
    if total <= 0:
        raise TrialsError(
            "No capability has a weight above zero and scores that differ between trials; "
            "correct capability_weights, or score benchmarks that separate mixtures."
        )
    return np.array([
        capabilities[metric.capability] / total * own / totals[metric.capability] if own else 0.0
        for metric, own in zip(metrics, each, strict=True)
    ])  # fmt: skip


def propagate_errors(std_errors: Array, gradient: Array, correlation: Array | None = None) -> Array:
    """Return standard deviations of a function of scores (`n`), to first order.

    Args:
        std_errors: Of the scores (`n x m`).
        gradient: Derivative of the function by each score (`n x m`); a score of derivative 0 may be
            missing.
        correlation: Of the scores' errors (`m x m`); they are independent without.
    """
    parts = np.where(gradient == 0, 0.0, std_errors * gradient)
    if correlation is None:
        return np.asarray(np.sqrt(np.square(parts).sum(axis=1)))
    # pairs are estimated one by one, so the matrix may miss being positive by rounding
    return np.asarray(np.sqrt(np.maximum(((parts @ correlation) * parts).sum(axis=1), 0.0)))
