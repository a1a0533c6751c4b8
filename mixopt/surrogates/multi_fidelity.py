"""Fit trials of several fidelities: cheap runs first, then corrections by expensive ones.

Merged, ensembled, small and large trained runs enter one fit; predictions are of the highest
fidelity. Each fidelity is reported with its cost and its bias against the next.
See docs/methods.md, section 4.6. Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
import re
from collections.abc import Callable, Sequence

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.model_sizes import parse_size
from mixopt.mixture import Array
from mixopt.surrogates.base import MIN_TRIALS, SurrogateModel
from mixopt.surrogates.cokriging import CoKriging, RescaledModel
from mixopt.surrogates.metric_arrays import deviations, reduce_columns, signs
from mixopt.surrogates.prior_mean import LEAST_RUNS
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.repeats import measure_noise
from mixopt.surrogates.stacking import PseudoObservations, StackedModel, fit_stacked_model
from mixopt.surrogates.standardization import Standardization
from mixopt.surrogates.surrogate import FittedFidelity
from mixopt.trial import KINDS, Metric
from mixopt.trials import Trials

log = logging.getLogger(__name__)

COKRIGING = "corrected"  # name of the co-kriging model among the stacked ones

STEP = 0.02
"""Step towards another mixture at which a slope becomes a pseudo-observation, as a share of the
way. Scores bend at longer steps, and shorter ones are below the models' noise (docs/LOG.md)."""

MIN_RUNS_OWN_MODELS = 20
"""Runs from which a high fidelity also has models of its own beside the co-kriging. With fewer,
cross-validation cannot tell which is better, and they worsen it (`studies/rank-fidelity`)."""

ROUNDED = 0.006
"""Relative error of a size of three digits (`1.24B`)."""
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")

Stage = tuple[Standardization, StackedModel]  # one fidelity's scale and fitted model
MakeModels = Callable[[Trials], dict[str, SurrogateModel]]  # unfitted models by name for a table


def order_fidelities(trials: Trials, given: Sequence[str] | None) -> list[str]:
    """Return the fidelities from the lowest to the highest.

    Args:
        trials: Trials of one or more fidelities.
        given: The order, if the caller knows it; a name may be another spelling of a size (`1B`). If
            None, by size where all names plainly have one, else by mean cost in one unit, by kind or by
            number.

    Raises:
        TrialsError: `given` is empty, repeats a name or has an unknown one, or nothing orders them.
    """
    levels = trials.levels
    if given is not None:
        given = [_find_level(str(name), levels) for name in given]
    if given is not None:
        if not given:
            raise TrialsError(
                "fidelities is empty; name them from the lowest to the one to predict."
            )
        if repeated := [name for name in given if list(given).count(name) > 1]:
            raise TrialsError(f"fidelities names {repeated[0]!r} twice; name each fidelity once.")
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
    sizes = {level: parse_size(level) for level in levels}
    if None not in sizes.values() and len(set(sizes.values())) == len(sizes):
        return sorted(levels, key=lambda level: sizes[level] or 0.0)
    costs, units = _comparable_costs([trials.at(level) for level in levels])
    if costs and len(set(costs)) == len(costs):
        cost_of = dict(zip(levels, costs, strict=True))
        ordered = sorted(levels, key=lambda level: cost_of[level])
        listed = ", ".join(f"{level} {cost_of[level]:.3g}" for level in ordered)
        # nothing tells whether costs without a unit have the same
        log.log(logging.INFO if units[0] else logging.WARNING,
                "Fidelities are ordered by cost (%s%s) and %s is predicted; give fidelities= "
                "(--fidelities on the shell) if the costs are not in one unit.",
                listed, f" {units[0]}" if units[0] else "", ordered[-1])  # fmt: skip
        return ordered
    if set(levels) <= set(KINDS):
        return sorted(levels, key=[str(kind) for kind in KINDS].index)
    if all(map(NUMBER.fullmatch, levels)):
        return sorted(levels, key=float)
    mixed = " and ".join(unit or "no unit" for unit in units)
    raise TrialsError(
        f"The trials have fidelities {', '.join(levels)} and neither size, cost nor kind orders them"
        + (f" (costs are in {mixed})" if len(units) > 1 else "")
        + f"; give costs in one unit, or fidelities= (--fidelities {','.join(levels)} on the shell) "
        "from the lowest to the one to predict."
    )


def _find_level(name: str, levels: Sequence[str]) -> str:
    """Return the level of a name: itself, or the only one of the same size (to three digits)."""
    size = parse_size(name)
    if name in levels or size is None:
        return name
    same = [level for level in levels if abs((parse_size(level) or 0.0) / size - 1) < ROUNDED]
    return same[0] if len(same) == 1 else name


def is_uninformative(trials: Trials) -> bool:
    """Return whether trials are too few, or of one mixture, so that no model can be fitted.

    Args:
        trials: The `n` trials of one fidelity.
    """
    return len(trials) < MIN_TRIALS or len(np.unique(trials.ratios().round(6), axis=0)) < 2


def _mean_cost(trials: Trials) -> float:
    costs = np.array([trial.cost for trial in trials])
    if not (costs > 0).all():
        costs = np.array([trial.flops for trial in trials])
    return float(costs.mean()) if (costs > 0).all() else float("nan")


def _comparable_costs(tables: Sequence[Trials]) -> tuple[list[float], list[str]]:
    """Return the mean cost of each table and its unit; no costs if they are not in one unit.

    FLOPs serve where not all trials have a cost, or their costs are in several units.
    """
    costs = [np.array([trial.cost for trial in table]) for table in tables]
    flops = [np.array([trial.flops for trial in table]) for table in tables]
    stated = [
        unit for table in tables for unit in {trial.cost_unit for trial in table if trial.cost}
    ]
    if all((each > 0).all() for each in costs) and len(set(stated)) == 1:
        return [float(each.mean()) for each in costs], stated
    if all((each > 0).all() for each in flops):
        return [float(each.mean()) for each in flops], ["FLOPs"]
    return [], list(dict.fromkeys(stated))


def fit_fidelities(
    tables: Sequence[Trials],
    metrics: Sequence[Metric],
    make_models: MakeModels,
    *,
    use_std_errors: bool,
    seed: int,
    prior: Stage | None = None,
) -> list[Stage]:
    """Fit each fidelity, every one but the lowest as a correction of the one below.

    A prior mean is below the lowest. It is a guess and no proxy, so from the fewest runs that models
    are fitted to, cross-validation weighs its correction beside models of the runs alone.

    Where a mixture was run more than once, the noise of its repeats is tried as the noise of every
    run too; the lower cross-validated error decides.

    Args:
        tables: Trials of each fidelity, the lowest first (`n` trials each, over `d` domains).
        metrics: The `m` metrics to fit.
        make_models: Constructs the unfitted models for a table.
        use_std_errors: Also fit with standard errors as noise; the lower cross-validated error
            decides.
        seed: Seed of the assignment to folds.
        prior: Expected scores before any run, as `fit_prior_mean` returns them.

    Returns:
        By fidelity, its standardization and its fitted model.
    """
    stages: list[Stage] = []
    for table in tables:
        lower = stages[-1] if stages else prior
        corrects_prior = not stages and prior is not None
        own_models_from = MIN_TRIALS if corrects_prior else MIN_RUNS_OWN_MODELS
        standardization = (
            _standardize(table, metrics, None, least=LEAST_RUNS)
            if corrects_prior
            else _standardize(table, metrics, lower)
        )
        z = standardization.transform(table.values(metrics))
        noise = standardization.transform_variances(table.std_errors(metrics))
        noises = [np.zeros(z.shape)] + ([noise] if use_std_errors and noise.any() else [])
        repeats = measure_noise(table.ratios(), table.values(metrics))
        if repeats is not None:
            every = np.tile(repeats.stds, (len(table), 1))
            noises.append(standardization.transform_variances(every))
        pseudo = _from_slopes(table, metrics, standardization, z)
        candidates = []
        proxy = None if lower is None else RescaledModel(*lower, standardization)
        reach = None if proxy is None else proxy.reach(table.ratios(), z)
        for known in noises:
            models: dict[str, SurrogateModel] = {}
            if proxy is not None:
                models[COKRIGING] = CoKriging(proxy)
            if lower is None or len(table) >= own_models_from:
                models |= make_models(table)
            fitted = fit_stacked_model(
                models, table.ratios(), z, known, seed=seed, pseudo=pseudo, reach=reach
            )
            candidates.append(fitted)
        stages.append((standardization, min(candidates, key=lambda model: _cv_error(model, z))))
    return stages


def _from_slopes(
    table: Trials, metrics: Sequence[Metric], standardization: Standardization, z: Array
) -> PseudoObservations | None:
    """Return pseudo-observations `STEP` of the way along the trials' slopes, None without slopes.

    A score there is the trial's plus `STEP` times the slope, so models of every kind learn from
    derivatives as from trials.
    """
    ratios, scores, parents = [], [], []
    keep = standardization.varying
    for place, trial in enumerate(table):
        here = trial.ratios.vector(table.domains)
        for slope in trial.slopes:
            there = slope.towards.vector(table.domains)
            change = np.array([slope.changes.get(metric.name, np.nan) for metric in metrics])
            ratios.append(here + STEP * (there - here))
            scores.append(z[place] + STEP * change[keep] / standardization.scales[keep])
            parents.append(place)
    if not parents:
        return None
    return PseudoObservations(np.stack(ratios), np.stack(scores), np.array(parents, dtype=np.intp))


def _standardize(
    table: Trials, metrics: Sequence[Metric], lower: Stage | None, least: int = MIN_TRIALS
) -> Standardization:
    """Return means and standard deviations over the runs; a handful takes the lower fidelity's.

    A metric without `least` scores is refused.
    """
    values = table.values(metrics)
    if lower is not None and is_uninformative(table):
        own, model = lower
        proxy = np.zeros(values.shape)
        proxy[:, own.varying], _ = model.predict(table.ratios())
        residuals = np.where(np.isfinite(values), values - proxy * own.scales, 0.0)
        counts = np.isfinite(values).sum(axis=0)
        unknown = [m.name for m, count in zip(metrics, counts, strict=True) if not count]
        if unknown:
            log.warning("No %s run has %s; its bias against lower fidelities is unknown, taken as 0.",
                        table.levels[0], ", ".join(unknown))  # fmt: skip
        centers = residuals.sum(axis=0) / np.maximum(counts, 1)
        return Standardization(np.where(counts > 0, centers, own.centers), own.scales)
    for metric, count in zip(metrics, np.isfinite(values).sum(axis=0), strict=True):
        if count < least:
            raise TrialsError(
                f"Metric {metric.name!r} has {count} scores in {table.levels[0]} runs and "
                f"at least {least} are needed to fit it; add runs, or give the metric role "
                "holdout (holdout=, --holdout on the shell)."
            )
    spreads = deviations(values)
    if not spreads.any():
        raise TrialsError(
            "Every metric is the same in all trials, so no mixture can be told from another; give "
            "metrics that differ."
        )
    return Standardization(reduce_columns(np.mean, values), -signs(metrics) * spreads)


def _cv_error(model: StackedModel, z: Array) -> float:
    errors = np.square(model.cv_means - z)
    known = np.isfinite(errors)
    return float(errors[known].mean()) if known.any() else np.inf


def summarize_fidelities(
    levels: Sequence[str],
    tables: Sequence[Trials],
    metrics: Sequence[Metric],
    stages: Sequence[Stage],
) -> tuple[FittedFidelity, ...]:
    """Compare each fidelity with the next one.

    Args:
        levels: Names of the fidelities, the lowest first.
        tables: Trials of each (`n` each).
        metrics: The fitted metrics.
        stages: What `fit_fidelities` returns.

    Returns:
        Cost, and by metric bias and rank correlation against the next one, by fidelity.
    """
    summaries = []
    for index, (level, table) in enumerate(zip(levels, tables, strict=True)):
        biases, ranks = {}, {}
        if index + 1 < len(tables):
            standardization, model = stages[index]
            higher = tables[index + 1]
            mean, std = model.predict(higher.ratios())
            predicted, _ = standardization.untransform(mean, std)
            truths = higher.values(metrics).T
            for metric, own, truth in zip(metrics, predicted.T, truths, strict=True):
                known = np.isfinite(truth)
                if known.any():
                    biases[metric.name] = float((truth - own)[known].mean())
                ranks[metric.name] = spearman(own, truth)
        summaries.append(FittedFidelity(level, len(table), _mean_cost(table), biases, ranks))
    return tuple(summaries)
