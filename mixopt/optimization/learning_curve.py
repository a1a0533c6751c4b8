"""What more runs would buy, from the learning curve of the runs there are.

Subsets of the runs are fitted and tested on the rest; squared error and what ranks miss (1 − ρ)
fall about as powers of the number of runs, and the powers are carried on. Of runs of several
fidelities those of the dearest are divided so, and the cheaper ones stand behind every fit.

Shapes: `n` runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.surrogates.fit import fit
from mixopt.surrogates.multi_fidelity import order_levels
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trial, Trials

FEWEST_RUNS = 16
"""Runs without which a curve has no ends."""
FEWEST_MIXTURES = 8
SHARES = (0.5, 0.65, 0.8)
"""Sizes of the subsets, as shares of the runs."""
REPEATS = 4
BOOTSTRAPS = 500
LARGEST_POWER = 2.0
MORE = (8, 16, 32)

Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Expectation:
    """What a number of runs is expected to give, with its 80% interval over resampled subsets.

    Attributes:
        runs: How many, of the dearest fidelity.
        error: Root mean square error of predicted utility, in its standard deviations over runs.
        error_interval: Of `error`.
        rank: Spearman of predicted with measured utility.
        rank_interval: Of `rank`.
    """

    runs: int
    error: float
    error_interval: tuple[float, float]
    rank: float
    rank_interval: tuple[float, float]


def advise(
    trials: Trials,
    *,
    more: Sequence[int] = MORE,
    target: str | Mapping[str, float] = "utility",
    capability_weights: Mapping[str, float] | None = None,
    surrogates: str | Sequence[str] = "auto",
    fidelities: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Expectation]:
    """What these runs, and each of `more` on top, are expected to give; the first row is now.

    Args:
        trials: The runs so far (`n` of the dearest fidelity, and any of cheaper ones).
        more: Numbers of further runs.
        target: As in `fit`.
        capability_weights: As in `fit`.
        surrogates: As in `fit`.
        fidelities: As in `fit`.
        seed: Of the subsets.

    Raises:
        TrialsError: Fewer than 16 runs of the dearest fidelity.
    """
    levels = order_levels(trials, fidelities)
    dearest = trials.at(levels[-1]) if levels else trials
    cheaper = [trial for trial in trials if trial.level in levels[:-1]]
    if len(dearest) < FEWEST_RUNS:
        which = f"{len(dearest)} {levels[-1]} runs" if cheaper else f"{len(dearest)} runs"
        raise TrialsError(
            f"{which} are too few for a learning curve; at least {FEWEST_RUNS} are needed."
        )
    different = len(np.unique(dearest.ratios().round(6), axis=0))
    if different < FEWEST_MIXTURES:
        raise TrialsError(
            f"The {len(dearest)} runs have {different} different mixtures, too few for a learning "
            f"curve; at least {FEWEST_MIXTURES} are needed."
        )

    def test(learn: Places, rest: Places, seed: int) -> tuple[float, float]:
        """Error (in standard deviations) and rank of the utility of runs that were left out."""
        table = _pick(dearest, learn, cheaper)
        surrogate = fit(table, target=target, capability_weights=capability_weights,
                        surrogates=surrogates, fidelities=levels, seed=seed)  # fmt: skip
        return _compare(surrogate, dearest, _pick(dearest, rest))

    sizes, errors, misses = [], [], []
    rng = np.random.default_rng(seed)
    for share in SHARES:
        for repeat in range(REPEATS):
            order = rng.permutation(len(dearest))
            size = max(8, round(share * len(dearest)))
            error, rank = test(order[:size], order[size:], seed + repeat)
            if np.isfinite(error) and np.isfinite(rank):
                sizes.append(size)
                errors.append(max(error, 1e-3) ** 2)
                misses.append(max(1 - rank, 1e-4))
    if len(set(sizes)) < 2:
        raise TrialsError(
            "The utility is the same, or not known, in nearly all runs, so there is no learning "
            "curve; give metrics that differ and that most runs have."
        )
    counts = len(dearest) + np.array([0, *more])
    square, square_low, square_high = _carry_on(np.array(sizes), np.array(errors), counts, rng)
    miss, miss_low, miss_high = _carry_on(np.array(sizes), np.array(misses), counts, rng)
    return [
        Expectation(
            int(n),
            float(np.sqrt(square[i])),
            (float(np.sqrt(square_low[i])), float(np.sqrt(square_high[i]))),
            float(1 - miss[i]),
            (float(1 - miss_high[i]), float(1 - miss_low[i])),
        )
        for i, n in enumerate(counts)
    ]


def _pick(trials: Trials, places: Places, others: Sequence[Trial] = ()) -> Trials:
    chosen = [trials[int(place)] for place in places]
    return Trials([*others, *chosen], trials.metrics, trials.domains)


def _compare(surrogate: Surrogate, everywhere: Trials, rest: Trials) -> tuple[float, float]:
    """Error of the utility of `rest`, in standard deviations of `everywhere`, and the rank."""
    truth = surrogate.seen_utilities(rest)
    usual = surrogate.seen_utilities(everywhere)
    known = np.isfinite(truth)
    if known.sum() < 2 or not np.nanstd(usual) > 0:
        return float("nan"), float("nan")
    guess = surrogate.expected_utility(rest.ratios())
    error = np.sqrt(np.square(truth - guess)[known].mean())
    return float(error / np.nanstd(usual)), spearman(guess, truth)


def _carry_on(
    sizes: Array, values: Array, counts: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """c·n^−b through `values`, at `counts`, with the 10% and 90% quantiles over resamples."""

    def power(rows: Places) -> Array:
        x, y = np.log(sizes[rows]), np.log(values[rows])
        spread = x - x.mean()
        slope = float(spread @ y / (spread @ spread)) if spread.any() else 0.0
        slope = float(np.clip(slope, -LARGEST_POWER, 0.0))  # more runs never tell less
        return np.asarray(np.exp(y.mean() + slope * (np.log(counts) - x.mean())))

    middle = power(np.arange(len(sizes)))
    resampled = np.stack(
        [power(rng.integers(len(sizes), size=len(sizes))) for _ in range(BOOTSTRAPS)]
    )
    low, high = np.quantile(resampled, (0.1, 0.9), axis=0)
    return middle, low, high
