"""Fitting: from trials to a surrogate, chosen and calibrated by cross-validation on the trials.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Array
from mixopt.surrogates.calibration import Tails, calibrate, scale_to_whole
from mixopt.surrogates.multi_fidelity import describe_levels, fit_levels, is_poor, order_levels
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.registry import AUTO, FEWEST_TRIALS, SURROGATES, SurrogateModel, make_model
from mixopt.surrogates.stacking import StackedModel, describe_weights
from mixopt.surrogates.surrogate import Fidelity, FittedMetric, Scales, Surrogate
from mixopt.surrogates.threads import single_threaded
from mixopt.surrogates.utility import AnyUtility, Utility, make_utility
from mixopt.trials import Aggregation, Metric, Normalisation, Trials

log = logging.getLogger(__name__)

WHOLE_TARGETS = ("utility", "average", "worst")


@single_threaded
def fit(
    trials: Trials,
    *,
    target: str | Mapping[str, float] = "utility",
    capability_weights: Mapping[str, float] | None = None,
    trust: Mapping[str, float] | None = None,
    normalise: Normalisation = "z",
    surrogates: str | Sequence[str] = "auto",
    fidelities: Sequence[str] | None = None,
    use_std_errors: bool = True,
    seed: int = 0,
) -> Surrogate:
    """The surrogate of `trials` for all metrics.

    Args:
        trials: `n` mixtures over `d` domains with their scores.
        target: What is maximised: `utility` (mean over capabilities of normalised metrics),
            `average` (plain mean of metrics in their own units), `worst` (the worst capability),
            the name of one metric, or weights by metric (of standardised scores).
        capability_weights: Weight of each capability in `utility`; 1 where none is given.
        trust: Weight of metrics inside their capability, for `utility` and `worst`; 1 where none is
            given.
        normalise: How metrics become comparable in `utility` and `worst`: `z` over the trials,
            percentile `rank` among them, or `raw`.
        surrogates: `auto`, the name of one surrogate, or several to weigh.
        fidelities: Levels of the trials from the cheapest to the one predicted. By mean cost, or
            ensembled, merged, trained, if left out.
        use_std_errors: Take the scores' standard errors as noise where that predicts better. They
            are not noise where all trials share their items.
        seed: Of everything random here.

    Raises:
        TrialsError: Too few trials or all of one mixture, or no such metric, capability,
            surrogate or fidelity.
        HoldoutError: The target is a benchmark with role holdout.
    """
    asked = _metrics_asked(trials, target)
    _check_weights(trials, target, capability_weights or {})
    levels = order_levels(trials, fidelities)
    tables = [trials.at(level) for level in levels]
    metrics = _metrics_fitted(trials, asked, tables)
    if all(len(table) < FEWEST_TRIALS for table in tables):
        raise TrialsError(
            f"{len(trials)} trials are too few to fit; at least {FEWEST_TRIALS} are needed."
        )
    if all(is_poor(table) for table in tables):
        raise TrialsError(
            f"All {len(tables[-1])} {levels[-1]} trials have one mixture, so nothing can be learnt "
            "about others; add runs of other mixtures."
        )
    while is_poor(tables[0]):  # nothing can stand on so few, or on one mixture
        log.info("%d %s trials are too few, or too much alike, to start from.",
                 len(tables[0]), levels[0])  # fmt: skip
        tables, levels = tables[1:], levels[1:]

    def make_laws(table: Trials) -> dict[str, SurrogateModel]:
        names = _choose_laws(surrogates, len(table), len(table.domains))
        return {name: make_model(name, seed) for name in names}

    stages = fit_levels(tables, metrics, make_laws, use_std_errors=use_std_errors, seed=seed)
    # standard deviations of a handful of runs are no scale to weigh metrics by
    scaled_by = next(table for table in reversed(tables) if not is_poor(table))
    utility = _utility_of(scaled_by, metrics, target, capability_weights, trust, normalise)
    fidelities_told = describe_levels(levels, tables, metrics, stages)
    return _assemble(tables[-1], metrics, utility, *stages[-1], fidelities_told)


def _metrics_asked(trials: Trials, target: str | Mapping[str, float]) -> tuple[Metric, ...]:
    """The metrics that the target stands on."""
    if not isinstance(target, str):
        return trials.require_search(list(target))
    if target not in WHOLE_TARGETS:
        return trials.require_search([target])
    if not trials.search_metrics:
        raise TrialsError("No metric of these trials has role search; name some to search by.")
    return trials.search_metrics


def _check_weights(
    trials: Trials, target: str | Mapping[str, float], weights: Mapping[str, float]
) -> None:
    if weights and target != "utility":
        raise TrialsError(
            f"capability_weights are given and the target is {target!r}; they count for 'utility' "
            "alone: make it the target, or leave them out."
        )
    known = {metric.capability for metric in trials.metrics}
    for name in weights:
        if name not in known:
            raise TrialsError(
                f"capability_weights names {name!r}, which is no capability of these trials. "
                f"{did_you_mean(name, known)}"
            )


def _metrics_fitted(
    trials: Trials, asked: Sequence[Metric], tables: Sequence[Trials]
) -> tuple[Metric, ...]:
    """All search metrics with scores enough: those that are not asked for inform those that are."""
    kept: list[Metric] = []
    dropped: list[Metric] = []
    for metric in trials.search_metrics:
        counts = [np.isfinite(t.values([metric])).sum() for t in tables if len(t) >= FEWEST_TRIALS]
        enough = all(count >= FEWEST_TRIALS for count in counts)
        (kept if enough or metric in asked else dropped).append(metric)
    if dropped:
        log.info("%d metrics with fewer than %d scores are left out (%s, ...).",
                 len(dropped), FEWEST_TRIALS, dropped[0].name)  # fmt: skip
    return tuple(kept)


def _utility_of(
    trials: Trials,
    metrics: tuple[Metric, ...],
    target: str | Mapping[str, float],
    capability_weights: Mapping[str, float] | None,
    trust: Mapping[str, float] | None,
    normalise: Normalisation,
) -> AnyUtility:
    if not isinstance(target, str):
        return Utility.weighted(trials, metrics, target)
    if target not in WHOLE_TARGETS:
        return Utility.weighted(trials, metrics, {target: 1.0})
    if target == "average":
        return Utility.raw_mean(metrics)
    aggregate: Aggregation = "worst" if target == "worst" else "weighted"
    return make_utility(trials, metrics, aggregate=aggregate, normalise=normalise,
                        weights=capability_weights, trust=trust)  # fmt: skip


def _choose_laws(asked: str | Sequence[str], n: int, d: int) -> tuple[str, ...]:
    """The names to fit: what was asked for, as far as `n` runs of `d` domains allow."""
    if asked == "auto":
        return AUTO
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    usable = []
    for name in names:
        if name not in SURROGATES:
            known = [*SURROGATES, "auto"]
            raise TrialsError(f"No surrogate is called {name!r}. {did_you_mean(name, known)}")
        entry = SURROGATES[name]
        if n < entry.fewest(d):
            log.warning("Surrogate %r needs %d runs for %d domains and has %d; it is left out.",
                        name, entry.fewest(d), d, n)  # fmt: skip
        elif d > entry.most_domains:
            log.warning("Surrogate %r takes at most %d domains and has %d; it is left out.",
                        name, entry.most_domains, d)  # fmt: skip
        else:
            usable.append(name)
    if not usable:
        log.warning("None of the surrogates asked for can be fitted; auto is fitted instead.")
    return tuple(usable) or AUTO


def _assemble(
    trials: Trials,
    metrics: tuple[Metric, ...],
    utility: AnyUtility,
    scales: Scales,
    portfolio: StackedModel,
    fidelities: tuple[Fidelity, ...],
) -> Surrogate:
    """What users hold, with the utility's own calibration."""
    values = trials.values(metrics)
    keep = scales.varying
    predicted = np.tile(scales.centres, (len(values), 1))
    stds = np.zeros(values.shape)
    predicted[:, keep] += portfolio.cv_means * scales.slopes[keep]
    stds[:, keep] = portfolio.cv_stds * portfolio.tails.factor * np.abs(scales.slopes[keep])
    out_of_fold, tails = _calibrate_utility(utility, values, predicted, stds)
    predicted = np.where(np.isfinite(values), predicted, np.nan)
    fitted, place = [], 0
    for index, metric in enumerate(metrics):
        weights, errors = {}, {}
        if keep[index]:
            weights = describe_weights(portfolio, place, list(portfolio.laws))
            errors = dict(zip(portfolio.laws, portfolio.cv_errors[:, place].tolist(), strict=True))
            place += 1
        rank = spearman(predicted[:, index], values[:, index])
        fitted.append(
            FittedMetric(metric, weights, errors, predicted[:, index], stds[:, index], rank)
        )
    return Surrogate(trials.domains, tuple(fitted), utility, trials, fidelities, portfolio, scales,
                     tails, out_of_fold)  # fmt: skip


def _calibrate_utility(
    utility: AnyUtility, values: Array, predicted: Array, stds: Array
) -> tuple[Array, Tails]:
    """Out-of-fold utilities (`n`), and how wide intervals of the utility have to be.

    A run that lacks some metrics counts with those it has.
    """
    out_of_fold = utility.of(predicted)
    if not np.isfinite(predicted).all():  # runs too few to leave any out
        blank = np.full((len(values), 1), np.nan)
        return out_of_fold, calibrate(blank, np.ones_like(blank))
    slopes = utility.slopes_at(predicted)
    known = np.isfinite(values)
    residuals = utility.of(np.where(known, values, predicted)) - out_of_fold
    parts = np.where(known, slopes * (np.where(known, values, 0.0) - predicted), np.nan)
    residuals = scale_to_whole(residuals, parts, np.abs(slopes) * stds)
    return out_of_fold, calibrate(residuals[:, None], utility.std(stds, predicted)[:, None])
