"""Fidelities: cheap runs first, each dearer level a correction of what they predict.

Trials that were merged, ensembled, trained small and trained large enter one fit; predictions are
about the dearest level. Each level has a bias against the next and a cost, which are told.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Array
from mixopt.surrogates.fidelity_correction import Corrected
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.registry import FEWEST_TRIALS, SurrogateModel
from mixopt.surrogates.stacking import Beside, StackedModel, fit_portfolio
from mixopt.surrogates.surrogate import Fidelity, Scales
from mixopt.trials import KINDS, Metric, Trials

log = logging.getLogger(__name__)

CORRECTED = "corrected"

STEP = 0.02
"""Share of the way towards another mixture at which a slope is put to a law: further out the
scores bend away from it, nearer by it drowns in what laws take for noise (docs/LOG.md)."""

FEWEST_FOR_OWN_LAWS = 20
"""Runs from which a dearer level has laws of its own beside the correction of the cheaper one: with
fewer, cross-validation cannot tell which is better, and they make it worse (`studies/rank-fidelity`)."""

MakeLaws = Callable[[Trials], dict[str, SurrogateModel]]
"""Unfitted laws, by name, for a table of trials."""


def order_levels(trials: Trials, given: Sequence[str] | None) -> list[str]:
    """Fidelities from the cheapest to the dearest."""
    levels = trials.levels
    if given is not None:
        repeated = [name for name in given if list(given).count(name) > 1]
        if repeated or not given:
            raise TrialsError(
                f"fidelities names {repeated[0]!r} twice; name each level once."
                if repeated
                else "fidelities is empty; name the levels from the cheapest to the one to predict."
            )
        for name in given:
            if name not in levels:
                raise TrialsError(f"No trial has fidelity {name!r}. {did_you_mean(name, levels)}")
        for name in levels:
            if name not in given:
                log.warning("%d trials of fidelity %r are left out: fidelities does not name it.",
                            len(trials.at(name)), name)  # fmt: skip
        return list(given)
    if len(levels) < 2:
        return list(levels)
    costs = {level: _mean_cost(trials.at(level)) for level in levels}
    if all(np.isfinite(cost) for cost in costs.values()) and len(set(costs.values())) == len(costs):
        return sorted(levels, key=lambda level: costs[level])
    if set(levels) <= set(KINDS):
        return sorted(levels, key=[str(kind) for kind in KINDS].index)
    raise TrialsError(
        f"The trials have fidelities {', '.join(levels)} and nothing says which is dearer; give "
        "their costs, or fidelities= from the cheapest to the one to predict."
    )


def is_poor(trials: Trials) -> bool:
    """Whether trials are too few, or their mixtures too much alike, to learn from alone."""
    return len(trials) < FEWEST_TRIALS or len(np.unique(trials.ratios().round(6), axis=0)) < 2


def _mean_cost(trials: Trials) -> float:
    costs = np.array([trial.cost or trial.flops for trial in trials])
    return float(costs.mean()) if (costs > 0).all() else float("nan")


def fit_levels(
    tables: Sequence[Trials],
    metrics: Sequence[Metric],
    make_laws: MakeLaws,
    *,
    use_std_errors: bool,
    seed: int,
) -> list[tuple[Scales, StackedModel]]:
    """Scales and portfolio of each level, the dearer one a correction of the cheaper."""
    stages: list[tuple[Scales, StackedModel]] = []
    for table in tables:
        cheaper = stages[-1] if stages else None
        scales = _scales_of(table, metrics, cheaper)
        z = scales.standardise(table.values(metrics))
        noise = scales.standardise_variances(table.std_errors(metrics))
        noises = [np.zeros(z.shape)] + ([noise] if use_std_errors and noise.any() else [])
        portfolios = [
            fit_portfolio(
                _laws(table, make_laws, cheaper, scales),
                table.ratios(),
                z,
                known,
                seed=seed,
                beside=_around(table, metrics, scales, z),
            )
            for known in noises
        ]
        stages.append((scales, min(portfolios, key=lambda p: _cv_error(p, z))))
    return stages


def _around(table: Trials, metrics: Sequence[Metric], scales: Scales, z: Array) -> Beside | None:
    """What the slopes of trials say of mixtures `STEP` of the way towards others.

    A score there is the trial's and `STEP` of the slope; laws of every kind learn from it as from
    a trial. None where no trial has slopes.
    """
    ratios, scores, parents = [], [], []
    keep = scales.varying
    for place, trial in enumerate(table):
        here = trial.ratios.vector(table.domains)
        for slope in trial.slopes:
            there = slope.towards.vector(table.domains)
            change = np.array([slope.changes.get(metric.name, np.nan) for metric in metrics])
            ratios.append(here + STEP * (there - here))
            scores.append(z[place] + STEP * change[keep] / scales.slopes[keep])
            parents.append(place)
    if not parents:
        return None
    return Beside(np.stack(ratios), np.stack(scores), np.array(parents, dtype=np.intp))


def _laws(
    table: Trials,
    make_laws: MakeLaws,
    cheaper: tuple[Scales, StackedModel] | None,
    scales: Scales,
) -> Mapping[str, SurrogateModel]:
    if cheaper is None:
        return make_laws(table)
    laws: dict[str, SurrogateModel] = {CORRECTED: Corrected(_Aligned(*cheaper, scales))}
    return laws | (make_laws(table) if len(table) >= FEWEST_FOR_OWN_LAWS else {})


class _Aligned:
    """A cheaper level's portfolio over the metrics that vary at a dearer level, in that one's scale.

    Both levels measure a metric in the same unit, so a proxy that is right up to a constant has a
    slope of one there. In scales of their own it would have the ratio of two spreads, of which one
    may be a handful's.
    """

    def __init__(self, own: Scales, portfolio: StackedModel, dearer: Scales) -> None:
        self._portfolio = portfolio
        asked = np.flatnonzero(dearer.varying)
        places = np.cumsum(own.varying) - 1
        known = own.varying[asked]
        self._places = np.where(known, places[asked], -1)
        turned = own.slopes[asked] / dearer.slopes[asked]
        self._stretch = np.where(known, turned, 1.0)
        apart = (own.centres[asked] - dearer.centres[asked]) / dearer.slopes[asked]
        self._shift = np.where(known, apart, 0.0)

    def _pick(self, columns: Array, missing: float) -> Array:
        padded = np.hstack([columns, np.full((len(columns), 1), missing)])
        return np.asarray(padded[:, self._places])

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation; 0 ± 1 for a metric that does not vary there."""
        mean, std = self._portfolio.predict(ratios)
        return self._align(mean), self._widths(std)

    def mean(self, ratios: Array) -> Array:
        """The mean by what has slopes."""
        return self._align(self._portfolio.mean(ratios))

    def _align(self, mean: Array) -> Array:
        return np.asarray(self._pick(mean, 0.0) * self._stretch + self._shift)

    def _widths(self, std: Array) -> Array:
        return np.asarray(self._pick(std * self._portfolio.tails.factor, 1.0) * self._stretch)

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Differences from a reference mixture: mean and standard deviation."""
        mean, std = self._portfolio.differences(ratios, reference)
        return self._pick(mean, 0.0) * self._stretch, self._widths(std)

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient by the ratios of the weighted sum of means."""
        own = np.zeros((len(ratios), self._portfolio.weights.shape[1] + 1))
        own[:, self._places] = weights * self._stretch
        return self._portfolio.slopes(ratios, own[:, :-1])


def _scales_of(
    table: Trials, metrics: Sequence[Metric], cheaper: tuple[Scales, StackedModel] | None
) -> Scales:
    """Means and standard deviations over the runs; a handful borrows a cheaper level's."""
    values = table.values(metrics)
    turns = np.array([1.0 if metric.better == "lower" else -1.0 for metric in metrics])
    if cheaper is not None and is_poor(table):
        own, portfolio = cheaper
        proxy = np.zeros(values.shape)
        proxy[:, own.varying], _ = portfolio.predict(table.ratios())
        left = np.where(np.isfinite(values), values - proxy * own.slopes, 0.0)
        counts = np.isfinite(values).sum(axis=0)
        unknown = [m.name for m, count in zip(metrics, counts, strict=True) if not count]
        if unknown:
            log.warning("No %s run has %s; its bias against cheaper runs is not known and taken as 0.",
                        table.levels[0], ", ".join(unknown))  # fmt: skip
        centres = left.sum(axis=0) / np.maximum(counts, 1)
        return Scales(np.where(counts > 0, centres, own.centres), own.slopes)
    centres, deviations = np.zeros(len(metrics)), np.zeros(len(metrics))
    for index, (metric, column) in enumerate(zip(metrics, values.T, strict=True)):
        known = column[np.isfinite(column)]
        if len(known) < FEWEST_TRIALS:
            raise TrialsError(
                f"Metric {metric.name!r} has {len(known)} scores in {table.levels[0]} runs and "
                f"at least {FEWEST_TRIALS} are needed to fit it; add runs, or leave it out of "
                "what is chosen by (holdout=, --holdout on the shell)."
            )
        centres[index] = known.mean()
        spread = known.std()
        # what differs in the last digits alone does not differ
        deviations[index] = spread if spread > 1e-12 * max(abs(known).max(), 1e-300) else 0.0
    if not deviations.any():
        raise TrialsError(
            "Every metric is the same in all trials, so no mixture can be told from another; give "
            "metrics that differ."
        )
    return Scales(centres, turns * deviations)


def _cv_error(portfolio: StackedModel, z: Array) -> float:
    errors = np.square(portfolio.cv_means - z)
    known = np.isfinite(errors)
    return float(errors[known].mean()) if known.any() else np.inf


def describe_levels(
    levels: Sequence[str],
    tables: Sequence[Trials],
    metrics: Sequence[Metric],
    stages: Sequence[tuple[Scales, StackedModel]],
) -> tuple[Fidelity, ...]:
    """Each level with its cost, and its bias and ranks against the next dearer one."""
    told = []
    for index, (level, table) in enumerate(zip(levels, tables, strict=True)):
        biases, ranks = {}, {}
        if index + 1 < len(tables):
            scales, portfolio = stages[index]
            dearer = tables[index + 1]
            truth = dearer.values(metrics)
            guess = np.tile(scales.centres, (len(dearer), 1))
            keep = scales.varying
            guess[:, keep] += portfolio.predict(dearer.ratios())[0] * scales.slopes[keep]
            for metric, here, there in zip(metrics, guess.T, truth.T, strict=True):
                known = np.isfinite(there)
                if known.any():
                    biases[metric.name] = float((there - here)[known].mean())
                ranks[metric.name] = spearman(here, there)
        told.append(Fidelity(level, len(table), _mean_cost(table), biases, ranks))
    return tuple(told)
