"""Learning curve of a surrogate: the error that more runs are expected to leave.

Subsets of the runs are fitted and tested on the rest. Squared error and 1 − Spearman's ρ are
extrapolated as powers of the number of runs. With several fidelities, runs of the highest are
subsampled and all cheaper ones enter every fit. See docs/methods.md, chapter 8.

Shapes: `n` runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ArgumentTypeError, TrialsError, require_number, require_type
from mixopt.mixture import Array, Seed, require_seed
from mixopt.surrogates.fit import fit
from mixopt.surrogates.multi_fidelity import order_fidelities
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.repeats import group_repeats
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trial import Trial
from mixopt.trials import Trials

FEWEST_RUNS = 16  # fewest runs for a curve
FEWEST_MIXTURES = 9  # fewest different mixtures among them
FEWEST_FITTED = 5  # fewest mixtures that a subset is fitted to
FEWEST_TRAINED = 8  # fewest runs that a subset is fitted to
FEWEST_TESTED = 3  # fewest mixtures that it is tested on: of fewer there is no rank correlation
SHARES = (0.5, 0.65, 0.8)  # sizes of the subsets, as shares of the runs
REPEATS = 4
BOOTSTRAPS = 500
LARGEST_POWER = 2.0
MORE = (8, 16, 32)

Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Expectation:
    """Expected quality of a fit to a number of runs, with 80% intervals over resampled subsets.

    Attributes:
        runs: Number of runs of the highest fidelity.
        error: Root mean square error of the predicted utility, in standard deviations over runs.
        error_interval: Interval of `error`.
        rank: Spearman's correlation of predicted with measured utility.
        rank_interval: Interval of `rank`.
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
    seed: Seed = None,
) -> list[Expectation]:
    """Estimate how well a surrogate of these runs, and of more runs, predicts.

    Args:
        trials: The runs so far (`n` of the highest fidelity, and any of cheaper ones).
        more: Numbers of further runs.
        target: As in `fit`.
        capability_weights: As in `fit`.
        surrogates: As in `fit`.
        fidelities: As in `fit`.
        seed: Seed or generator of the subsets and fits; fresh randomness if None.

    Returns:
        The expectation for the runs so far, then for each number of `more`.

    Raises:
        TrialsError: Fewer than 16 runs of the highest fidelity, or fewer than 8 mixtures, or
            metrics that do not differ between runs.
        UserError: `seed` is negative.
        ArgumentTypeError: `trials` is no `Trials`, or `more` is no list of numbers.
    """
    require_type("trials", trials, Trials, "read a table with mixopt.read_trials")
    seed = require_seed(seed)
    given: Any = more
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ArgumentTypeError(f"more is {given!r}; give a list of numbers, such as [{given}].")
    more = tuple(more)
    for count in more:
        require_number("A number of more", count)
    surrogates = surrogates if isinstance(surrogates, str) else tuple(surrogates)
    levels = order_fidelities(trials, fidelities)
    highest = trials.at(levels[-1]) if levels else trials
    cheaper = [trial for trial in trials if trial.level in levels[:-1]]
    if len(highest) < FEWEST_RUNS:
        which = f"{len(highest)} {levels[-1]} runs" if cheaper else f"{len(highest)} runs"
        raise TrialsError(f"{which} are too few for a learning curve; it needs {FEWEST_RUNS}.")
    different = len(np.unique(highest.ratios().round(6), axis=0))
    if different < FEWEST_MIXTURES:
        raise TrialsError(
            f"The {len(highest)} runs have {different} different mixtures, too few for a learning "
            f"curve; at least {FEWEST_MIXTURES} are needed."
        )

    def test(train: Places, rest: Places, seed: int) -> tuple[float, float]:
        table = _pick(highest, train, cheaper)
        surrogate = fit(table, target=target, capability_weights=capability_weights,
                        surrogates=surrogates, fidelities=levels, seed=seed)  # fmt: skip
        return _compare(surrogate, highest, _pick(highest, rest))

    sizes, errors, misses = [], [], []
    rng = np.random.default_rng(seed)
    _, first, groups = np.unique(
        group_repeats(highest.ratios()), return_index=True, return_inverse=True
    )
    groups = np.argsort(np.argsort(first))[groups]  # numbered in the order of the runs
    own_seed = seed if isinstance(seed, int) else int(rng.integers(2**31))
    for share in SHARES:
        for repeat in range(REPEATS):
            train, rest = _split_mixtures(groups, share, rng)
            if len(train) < FEWEST_TRAINED:
                continue
            error, rank = test(train, rest, own_seed + repeat)
            if np.isfinite(error) and np.isfinite(rank):
                sizes.append(len(train))
                errors.append(max(error, 1e-3) ** 2)
                misses.append(max(1 - rank, 1e-4))
    if len(set(sizes)) < 2:
        raise TrialsError(
            "The utility is the same, or not known, in nearly all runs, so there is no learning "
            "curve; give metrics that differ and that most runs have."
        )
    counts = len(highest) + np.array([0, *more])
    squares = _extrapolate(np.array(sizes), np.array(errors), counts, rng)
    complements = _extrapolate(np.array(sizes), np.array(misses), counts, rng)
    roots, ranks = np.sqrt(np.stack(squares)).T.tolist(), (1 - np.stack(complements)).T.tolist()
    return [
        Expectation(int(n), error, (low, high), rank, (rank_low, rank_high))
        for n, (error, low, high), (rank, rank_high, rank_low)
        in zip(counts, roots, ranks, strict=True)
    ]  # fmt: skip


def _split_mixtures(
    groups: Places, share: float, rng: np.random.Generator
) -> tuple[Places, Places]:
    """Return the runs to fit and those to test, of whole mixtures: a repeat would tell of its own.

    Args:
        groups: Number of each run's mixture (`n`).
        share: Least share of the runs to fit, if enough mixtures are left to test.
        rng: Draws the order of the mixtures.
    """
    order = rng.permutation(int(groups.max()) + 1)
    fitted = np.cumsum(np.bincount(groups)[order])
    size = max(FEWEST_TRAINED, round(share * len(groups)))
    # a mixture with many repeats alone would be many runs that tell of no effect
    count = max(int(np.searchsorted(fitted, size)) + 1, FEWEST_FITTED)
    count = min(count, len(order) - FEWEST_TESTED)
    shuffled = np.argsort(np.argsort(order)[groups], kind="stable")
    return shuffled[: fitted[count - 1]], shuffled[fitted[count - 1] :]


def _pick(trials: Trials, places: Places, others: Sequence[Trial] = ()) -> Trials:
    chosen = [trials[int(place)] for place in places]
    return Trials([*others, *chosen], trials.metrics, trials.domains)


def _compare(surrogate: Surrogate, everywhere: Trials, rest: Trials) -> tuple[float, float]:
    truth = surrogate.observed_utilities(rest)
    usual = surrogate.observed_utilities(everywhere)
    known = np.isfinite(truth)
    if known.sum() < 2 or not np.nanstd(usual) > 0:
        return float("nan"), float("nan")
    guess = surrogate.expected_utility(rest.ratios())
    error = np.sqrt(np.square(truth - guess)[known].mean())
    return float(error / np.nanstd(usual)), spearman(guess, truth)


def _extrapolate(
    sizes: Array, values: Array, counts: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return c·n^−b fitted to `values`, at `counts`, with 10% and 90% quantiles over resamples."""

    def power(rows: Places) -> Array:
        x, y = np.log(sizes[rows]), np.log(values[rows])
        spread = x - x.mean()
        slope = float(spread @ y / (spread @ spread)) if spread.any() else 0.0
        # more runs never predict worse
        slope = float(np.clip(slope, -LARGEST_POWER, 0.0))
        return np.asarray(np.exp(y.mean() + slope * (np.log(counts) - x.mean())))

    n = len(sizes)
    resampled = np.stack([power(rng.integers(n, size=n)) for _ in range(BOOTSTRAPS)])
    low, high = np.quantile(resampled, (0.1, 0.9), axis=0)
    return power(np.arange(n)), low, high
