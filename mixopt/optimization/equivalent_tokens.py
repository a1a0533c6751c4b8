"""Equivalent tokens: how long natural would have to be trained to be as good as a mixture.

Natural's utility is linear in the logarithm of its tokens between the lengths at which it was scored.
Beyond its longest run the slope may grow or shrink by a share per doubling that no short run tells, so
the interval widens with the distance. See docs/methods.md, section 11.6.

Shapes: `s` runs of natural, `c` combinations of metrics (several where the worst capability counts), `n`
draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.decision import EquivalentTokens
from mixopt.mixture import Array

WINDOW = 4.0
"""Lengths from the longest run's divided by this on tell its slope; before them training only begins. Of
a run with one length there the one before it counts too."""
WHOLE_STEPS = 0.05
"""Share by which a length may miss the window: lengths are whole optimizer steps, so a run of four times
another's tokens may be a little longer than four of it."""
DRIFT_SD = 0.3
"""Standard deviation of κ: beyond the longest run the slope changes by the factor 2^κ a doubling. It was
measured in `studies/arena`, with slopes over `WINDOW`."""
PRIOR_RUNS = 2.0
"""Runs that the usual noise of seeds counts as, beside the spread of slopes over natural's own runs."""
NOISE_FORGETTING = 0.5
"""Decay of the correlation of one run's noise, by doubling of its tokens, as in the gain model."""
FARTHEST = 4.0
"""Tokens are named up to this many times natural's longest run: as far as it was tested
(`studies/arena/equivalent.py`)."""
TAIL = 0.025


@dataclass(frozen=True, eq=False)
class NaturalCurve:
    """How natural's utility grows with its tokens.

    Attributes:
        longest: Tokens of its longest run.
        slope: Growth of the utility by factor e of tokens, up to the longest run (`c`).
        std_error: Standard error of the slope (`c`).
        freedom: Degrees of freedom of the standard error.
    """

    longest: float
    slope: Array
    std_error: Array
    freedom: float

    @classmethod
    def measure(
        cls, tokens: Sequence[Array], utilities: Sequence[Array], noise_sd: Array
    ) -> "NaturalCurve | str":
        """Return the curve through natural's runs, or why there is none.

        Each run with two lengths or more has a slope by least squares, so that what a seed changes at
        all lengths cancels. The variance of a slope is that over runs, pooled with what the noise of
        seeds makes of it, which is all that is known of a single run. A slope over more than `WINDOW`
        is that of earlier training: from its middle to that of the window it drifts as it does beyond
        the longest run.

        Args:
            tokens: Lengths at which each run was scored, increasing (`s` of any number).
            utilities: Utilities there (`s` of that number `x c`), in the unit of gains, up to a
                constant of each run.
            noise_sd: Standard deviation of a paired difference between two runs by their seed (`c`).
        """
        if not tokens:
            return "no run of the natural mixture enters this decision"
        longest = max(float(each.max()) for each in tokens)
        slopes, variances, early = [], [], []
        for lengths, values in zip(tokens, utilities, strict=True):
            n_late = int((lengths >= longest / WINDOW * (1 - WHOLE_STEPS)).sum())
            if n_late == 0 or len(lengths) < 2:
                continue
            late = slice(-max(2, n_late), None)
            x = np.log(lengths[late])
            weights = (x - x.mean()) / np.square(x - x.mean()).sum()
            slopes.append(weights @ values[late])
            # doublings from the middle of these lengths to that of the window
            middle = (x[0] + x[-1]) / 2
            early.append(max(0.0, (np.log(longest) - np.log(WINDOW) / 2 - middle) / np.log(2)))
            apart = np.abs(np.subtract.outer(x, x)) / np.log(2)
            shared = float(weights @ np.exp(-NOISE_FORGETTING * apart) @ weights)
            variances.append(shared * np.square(noise_sd) / 2)
        if not slopes and max(map(len, tokens)) > 1:
            return "no run of the natural mixture near its longest was scored at two lengths"
        if not slopes:
            return "the natural mixture was scored at one length only"
        runs, rows = len(slopes), np.stack(slopes)
        freedom = PRIOR_RUNS + runs - 1
        squares = np.square(rows - rows.mean(axis=0)).sum(axis=0)
        pooled = (PRIOR_RUNS * np.mean(variances, axis=0) + squares) / freedom
        slope = rows.mean(axis=0)
        # the drift is the same for all runs
        drift = np.log(2) * DRIFT_SD * np.mean(early) * slope
        return cls(longest, slope, np.sqrt(pooled / runs + np.square(drift)), freedom)


def find_equivalent_tokens(
    curve: NaturalCurve, gains: Array, tokens: float, rng: np.random.Generator
) -> EquivalentTokens | str:
    """Return for how many tokens natural would have to be trained, or why that cannot be said.

    T_eq solves u_nat(T_eq) = u_nat(T) + gain for each draw of gain and slope.

    Args:
        curve: Of natural.
        gains: Draws of the gain over natural by combination (`n x c`).
        tokens: T, tokens of training on the mixture at which it has these gains; at most `longest`.
        rng: Draws slopes.
    """
    n, combinations = gains.shape
    drift = np.asarray(rng.normal(0.0, DRIFT_SD, n))
    slope = curve.slope + curve.std_error * rng.standard_t(curve.freedom, size=(n, combinations))
    gain = gains.min(axis=1)
    # with more tokens the utility is that of the combination that grows least, with fewer the other way
    slope = np.where(gain > 0, slope.min(axis=1), slope.max(axis=1))
    if np.quantile(slope, TAIL) <= 0:
        return "the natural mixture's utility does not visibly grow with its tokens"
    rises = slope > 0
    # logarithm of T_eq ÷ longest on the straight line
    line = gain / np.where(rises, slope, 1.0) + np.log(tokens / curve.longest)
    factor = np.where(rises, _beyond(line, drift), np.inf)
    low, median, high = np.quantile(factor, [TAIL, 0.5, 1 - TAIL], method="nearest")
    if high > FARTHEST:
        return (
            f"its upper end is beyond {FARTHEST:g} times the longest run of the natural mixture, "
            f"{curve.longest:,.0f} tokens"
        )
    low, median, high = (float(curve.longest * each) for each in (low, median, high))
    return EquivalentTokens(round(tokens), median, low, high)


def _beyond(line: Array, drift: Array) -> Array:
    """Return T ÷ longest (`n`) from its logarithm on the straight line, with drifting slopes beyond 1.

    With a slope that changes by the factor 2^κ a doubling, T ÷ longest = r is reached where the straight
    line has (r^κ − 1) ÷ κ; for κ < 0 that never reaches −1 ÷ κ.

    Args:
        line: Logarithm on the straight line (`n`).
        drift: κ (`n`).
    """
    kappa = np.where(np.abs(drift) < 1e-9, 1e-9, drift)
    inside = 1 + kappa * np.maximum(line, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        curved = np.where(inside > 0, np.power(np.maximum(inside, 1e-300), 1 / kappa), np.inf)
    return np.where(line > 0, curved, np.exp(np.minimum(line, 0.0)))
