"""Fit a surrogate to trials: choose, stack and calibrate models by cross-validation.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mixopt.errors import TrialsError, did_you_mean, require_type
from mixopt.mixture import Array, Seed
from mixopt.surrogates import multi_fidelity
from mixopt.surrogates.base import MIN_TRIALS, SurrogateModel, as_seed
from mixopt.surrogates.calibration import (
    calibrate_few,
    calibrate_sum,
    correlate,
    rescale_partial_sums,
)
from mixopt.surrogates.covariance import EXACT
from mixopt.surrogates.fit_arguments import (
    AGGREGATE_TARGETS,
    check_settings,
    find_metrics,
    name_target,
    read_names,
    read_numbers,
    read_target,
)
from mixopt.surrogates.metric_arrays import signs
from mixopt.surrogates.multi_fidelity import is_uninformative
from mixopt.surrogates.prior_mean import fit_prior_mean
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.registry import AUTO, SURROGATES, make_model
from mixopt.surrogates.repeats import measure_noise
from mixopt.surrogates.stacking import StackedModel
from mixopt.surrogates.standardization import Standardization
from mixopt.surrogates.surrogate import FittedFidelity, FittedMetric, Surrogate
from mixopt.surrogates.threads import single_threaded
from mixopt.surrogates.utility import (
    AnyUtility,
    Utility,
    WorstCapability,
    make_utility,
    require_one_direction,
    utilities_by_capability,
)
from mixopt.trial import Aggregation, Metric, Normalisation
from mixopt.trials import Trials

log = logging.getLogger(__name__)


@single_threaded
def fit(
    trials: Trials,
    *,
    target: str | Mapping[str, float] = "utility",
    capability_weights: Mapping[str, float] | None = None,
    trust: Mapping[str, float] | None = None,
    normalise: Normalisation = "z",
    scales: Mapping[str, float] | None = None,
    surrogates: str | Sequence[str] = "auto",
    fidelities: Sequence[str] | None = None,
    prior_mean: Trials | None = None,
    use_std_errors: bool = True,
    seed: Seed = 0,
) -> Surrogate:
    """Fit a surrogate that predicts the scores of all search metrics from mixture ratios.

    Args:
        trials: `n` mixtures over `d` domains with their scores.
        target: The objective: `utility` (mean over capabilities of normalized metrics), `average`
            (plain mean of metrics in their own units), `worst` (the worst capability), the name of
            one metric, or weights by metric (of standardized scores).
        capability_weights: Weight of each capability in `utility`; 1 where none is given.
        trust: Weight of metrics inside their capability, for `utility` and `worst`; 1 where none is
            given.
        normalise: How metrics become comparable in `utility` and `worst`: `z` over the trials,
            percentile `rank` among them, or `raw`.
        scales: Score difference of each metric that counts as 1 in `z`; its standard deviation over the
            trials where none is given.
        surrogates: `auto`, the name of one model, or several to stack.
        fidelities: Fidelities of the trials from the lowest to the one to predict. If left out: by size
            (`60M`, `1B`), else by mean cost, or ensembled, merged, trained.
        prior_mean: Scores that are expected of mixtures before any run, in any unit, such as distances
            of their text from the benchmarks'. They tell where no run is; three runs are enough then.
        use_std_errors: Use the scores' standard errors as noise where that predicts better. They
            are not noise where all trials share their items.
        seed: Seed of the folds and of models that draw random numbers.

    Returns:
        The surrogate, calibrated by cross-validation.

    Raises:
        TrialsError: Too few trials or all of one mixture, or no such metric, capability,
            surrogate or fidelity.
        HoldoutError: The target is a benchmark with role holdout.
        UserError: A weight, trust, scale or seed is negative or not finite.
        ArgumentTypeError: An argument is of another type.
    """
    require_type("trials", trials, Trials, "read a table with mixopt.read_trials")
    seed = as_seed(seed)
    target = name_target(trials, read_target(target))
    targets = find_metrics(trials, target)
    capability_weights = read_numbers("capability_weights", capability_weights)
    trust, scales = read_numbers("trust", trust), read_numbers("scales", scales)
    check_settings(trials, target, capability_weights=capability_weights, trust=trust,
                   normalise=normalise, scales=scales)  # fmt: skip
    # a generator would be empty for the second model that is fitted
    surrogates = surrogates if isinstance(surrogates, str) else read_names("surrogates", surrogates)
    fidelities = None if fidelities is None else read_names("fidelities", fidelities)
    levels = multi_fidelity.order_fidelities(trials, fidelities)
    tables = [trials.at(level) for level in levels]
    metrics = _metrics_to_fit(trials, targets, tables)
    if target == "average":
        require_one_direction(metrics)
    if prior_mean is None and all(len(table) < MIN_TRIALS for table in tables):
        listed = ", ".join(f"{len(t)} {level}" for t, level in zip(tables, levels, strict=True))
        each = f" of one fidelity ({listed})" if len(levels) > 1 else ""
        raise TrialsError(
            f"{len(trials)} trials{each} are too few to fit; at least {MIN_TRIALS} are needed: add runs "
            "(`mixopt design` proposes them)."
        )
    if prior_mean is None and all(is_uninformative(table) for table in tables):
        raise TrialsError(
            f"All {len(tables[-1])} {levels[-1]} trials have one mixture, so no effect of the "
            "mixture can be fitted; add runs of other mixtures."
        )
    # with a prior mean a handful of the only fidelity is enough
    while is_uninformative(tables[0]) and len(tables) > 1:
        log.info("%d %s trials are too few, or all of one mixture, to be the lowest fidelity.",
                 len(tables[0]), levels[0])  # fmt: skip
        tables, levels = tables[1:], levels[1:]

    def make_models(table: Trials) -> dict[str, SurrogateModel]:
        names = _usable_models(surrogates, len(table), len(table.domains))
        return {name: make_model(name, seed) for name in names}

    prior = None
    if prior_mean is not None:
        prior = fit_prior_mean(prior_mean, tables[0], metrics, seed=seed)
    stages = multi_fidelity.fit_fidelities(
        tables, metrics, make_models, use_std_errors=use_std_errors, seed=seed, prior=prior
    )
    _log_centers(tables, [model for _, model in stages])
    # standard deviations of a handful of runs are no scale to weigh metrics by, if there are others
    informative = [place for place, table in enumerate(tables) if not is_uninformative(table)]
    place = informative[-1] if informative else len(tables) - 1
    # predictions are of the highest fidelity, so its bias against the one that scales is added
    bias = stages[-1][0].centers - stages[place][0].centers
    scaled_by = _moved(tables[place], metrics, bias)
    utility = _make_utility(
        scaled_by, metrics, target, capability_weights, trust, normalise, scales
    )
    summaries = multi_fidelity.summarize_fidelities(levels, tables, metrics, stages)
    fitted = Trials([t for table in tables for t in table], trials.metrics, trials.domains)
    correlation = _correlate_errors(tables, metrics, stages)
    few = len(tables) > 1 and len(tables[-1]) < multi_fidelity.MIN_RUNS_OWN_MODELS
    few = few or len(tables[-1]) < MIN_TRIALS
    assembled = _assemble(tables[-1], metrics, utility, *stages[-1], summaries, correlation, few)
    noise = measure_noise(tables[-1].ratios(), tables[-1].values(metrics))
    parts = _by_capability(scaled_by, utility, target, trust, normalise, scales)
    return replace(assembled, all_trials=fitted, noise=noise, capability_utilities=parts)


def _log_centers(tables: Sequence[Trials], models: Sequence[StackedModel]) -> None:
    """Log how many runs are centers of Gaussian processes, where some are not."""
    processes = {name for name, spec in SURROGATES.items() if spec.is_process}
    large = [
        len(table)
        for table, model in zip(tables, models, strict=True)
        if processes & set(model.models) and len(np.unique(table.ratios(), axis=0)) > EXACT
    ]
    if large:
        log.info("Gaussian processes use %d of the %s runs as centers; all runs are observations.",
                 EXACT, " and of the ".join(f"{n:,}" for n in large))  # fmt: skip


def _moved(trials: Trials, metrics: tuple[Metric, ...], by: Array) -> Trials:
    """Return the trials with `by` (`m`) added to their scores of the metrics."""
    if not by.any():
        return trials
    values = trials.values(metrics) + by
    return Trials.from_arrays(
        trials.ratios(), values, domains=trials.domains, metrics=metrics,
        ids=[trial.id for trial in trials],
    )  # fmt: skip


def _metrics_to_fit(
    trials: Trials, targets: Sequence[Metric], tables: Sequence[Trials]
) -> tuple[Metric, ...]:
    """Return all search metrics with enough scores: the others inform the target's."""
    kept: list[Metric] = []
    dropped: list[Metric] = []
    for metric in trials.search_metrics:
        counts = [np.isfinite(t.values([metric])).sum() for t in tables if len(t) >= MIN_TRIALS]
        enough = all(count >= MIN_TRIALS for count in counts)
        (kept if enough or metric in targets else dropped).append(metric)
    if dropped:
        log.info("%d metrics with fewer than %d scores are left out (%s, ...).",
                 len(dropped), MIN_TRIALS, dropped[0].name)  # fmt: skip
    return tuple(kept)


def _make_utility(
    trials: Trials,
    metrics: tuple[Metric, ...],
    target: str | Mapping[str, float],
    capability_weights: Mapping[str, float] | None,
    trust: Mapping[str, float] | None,
    normalise: Normalisation,
    scales: Mapping[str, float] | None,
) -> AnyUtility:
    if not isinstance(target, str) or target not in AGGREGATE_TARGETS:
        weights = {target: 1.0} if isinstance(target, str) else target
        return Utility.weighted(trials, metrics, weights)
    if target == "average":
        return Utility.raw_mean(metrics)
    aggregate: Aggregation = "worst" if target == "worst" else "weighted"
    return make_utility(trials, metrics, aggregate=aggregate, normalise=normalise,
                        weights=capability_weights, trust=trust, scales=scales)  # fmt: skip


def _by_capability(
    trials: Trials,
    utility: AnyUtility,
    target: str | Mapping[str, float],
    trust: Mapping[str, float] | None,
    normalise: Normalisation,
    scales: Mapping[str, float] | None,
) -> dict[str, AnyUtility]:
    """Return the utility of each capability alone, in the unit of `utility`."""
    if isinstance(utility, WorstCapability):
        return dict(utility.parts)
    metrics = utility.metrics
    if target == "utility":
        return dict(utilities_by_capability(trials, metrics, trust, normalise, scales))
    if target != "average":
        return dict(utilities_by_capability(trials, metrics))
    names = np.array([metric.capability for metric in metrics])
    plain = signs(metrics)
    return {
        name: Utility(
            metrics, plain * (names == name) / (names == name).sum(), np.zeros(len(names)), "raw"
        )
        for name in dict.fromkeys(names.tolist())
    }


def _usable_models(requested: str | Sequence[str], n: int, d: int) -> tuple[str, ...]:
    """Return the requested names that `n` runs of `d` domains allow; `AUTO` if none is left."""
    if requested == "auto":
        return AUTO
    names = (requested,) if isinstance(requested, str) else tuple(requested)
    usable = []
    for name in names:
        if name not in SURROGATES:
            known = [*SURROGATES, "auto"]
            raise TrialsError(f"No surrogate is called {name!r}. {did_you_mean(name, known)}")
        spec = SURROGATES[name]
        if n < spec.min_trials(d):
            log.warning("Surrogate %r needs %d runs for %d domains and has %d; it is left out.",
                        name, spec.min_trials(d), d, n)  # fmt: skip
        elif d > spec.max_domains:
            log.warning("Surrogate %r takes at most %d domains and has %d; it is left out.",
                        name, spec.max_domains, d)  # fmt: skip
        else:
            usable.append(name)
    if not usable:
        log.warning("None of the requested surrogates can be fitted; auto is fitted instead.")
    return tuple(usable) or AUTO


def _assemble(
    trials: Trials,
    metrics: tuple[Metric, ...],
    utility: AnyUtility,
    standardization: Standardization,
    model: StackedModel,
    fidelities: tuple[FittedFidelity, ...],
    correlation: Array | None,
    few: bool,
) -> Surrogate:
    values = trials.values(metrics)
    keep = standardization.varying
    stds = model.cv_stds * model.critical_values.factor
    predicted, stds = standardization.untransform(model.cv_means, stds)
    out_of_fold, residuals, own = _utility_residuals(utility, values, predicted, stds, correlation)
    calibrate_utility = calibrate_few if few else calibrate_sum
    critical_values = calibrate_utility(residuals, own, model.critical_values)
    predicted = np.where(np.isfinite(values), predicted, np.nan)
    if len(trials) < MIN_TRIALS:  # a handful of left-out runs tells a width, but no rank
        predicted, out_of_fold = np.full_like(predicted, np.nan), np.full_like(out_of_fold, np.nan)
    fitted, place = [], 0
    for index, metric in enumerate(metrics):
        weights: dict[str, float] = {}
        errors: dict[str, float] = {}
        if keep[index]:
            shares = dict(zip(model.models, model.weights[:, place].tolist(), strict=True))
            weights = dict(sorted(shares.items(), key=lambda item: -item[1]))
            errors = dict(zip(model.models, model.cv_errors[:, place].tolist(), strict=True))
            place += 1
        rank = spearman(predicted[:, index], values[:, index])
        columns = predicted[:, index], stds[:, index]
        fitted.append(FittedMetric(metric, weights, errors, *columns, rank))
    return Surrogate(trials.domains, tuple(fitted), utility, trials, fidelities, model,
                     standardization, critical_values, out_of_fold, correlation=correlation)  # fmt: skip


def _correlate_errors(
    tables: Sequence[Trials], metrics: Sequence[Metric], stages: Sequence[multi_fidelity.Stage]
) -> Array | None:
    """Return the correlation of the metrics' errors (`m x m`), None without cross-validation.

    A handful of runs of the highest fidelity has none, so the next lower one's stands for it.
    """
    for table, (standardization, model) in zip(reversed(tables), reversed(stages), strict=True):
        if len(table) < MIN_TRIALS or not np.isfinite(model.cv_means).all():
            continue
        residuals = standardization.transform(table.values(metrics)) - model.cv_means
        keep = standardization.varying
        correlation = np.eye(len(metrics))
        # standardized scores are better lower; utilities weigh metrics in their own direction
        signs = np.sign(standardization.scales[keep])
        own = correlate(residuals, model.cv_stds) * np.outer(signs, signs)
        correlation[np.ix_(keep, keep)] = own
        return correlation
    return None


def _utility_residuals(
    utility: AnyUtility,
    values: Array,
    predicted: Array,
    stds: Array,
    correlation: Array | None,
) -> tuple[Array, Array, Array]:
    """Return out-of-fold utilities, residuals and their standard deviations (`n` each).

    A run with missing metrics enters with those that it has.
    """
    out_of_fold = utility.of(predicted)
    if not np.isfinite(predicted).all():  # too few runs to cross-validate
        blank = np.full(len(values), np.nan)
        return out_of_fold, blank, np.ones_like(blank)
    gradient = utility.gradient(predicted)
    known = np.isfinite(values)
    residuals = utility.of(np.where(known, values, predicted)) - out_of_fold
    parts = np.where(known, gradient * (np.where(known, values, 0.0) - predicted), np.nan)
    residuals = rescale_partial_sums(residuals, parts, np.abs(gradient) * stds)
    return out_of_fold, residuals, utility.std(stds, predicted, correlation)
