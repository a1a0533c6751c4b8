"""The decision of a study: which mixture to train on, by what is known of real training.

The candidates are the surrogate's proposals, the best ensemble and the mixtures that were trained or
merged. Ensembles of the experts give the expected gain of each, real runs correct it, and the gain model
says how much neither of them knows. Shapes: `q` candidates, `d` domains, `m` metrics.
"""

from collections.abc import Sequence

import numpy as np

from mixopt.decision import NEAREST_ALLOWED, Decision
from mixopt.estimate import Estimate
from mixopt.mixture import Array, Mixture
from mixopt.optimization.decision import Choice
from mixopt.optimization.nearest_allowed import nearest_allowed
from mixopt.optimization.objective import Objective
from mixopt.pipeline.advice import advise_runs, paired_noise
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.early_scores import with_early_scores
from mixopt.pipeline.gain_curve import (
    choose,
    count_runs,
    estimate_gain,
    learning_steps,
    next_runs,
)
from mixopt.pipeline.gains import (
    Observation,
    StudyGains,
    metrics_that_choose,
    reaches_natural,
)
from mixopt.pipeline.merge_check import check_by_merges
from mixopt.pipeline.mixture_runs import FRESH
from mixopt.pipeline.natural_curve import equivalent_tokens
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.refinement import search_between
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.trained_candidates import list_failed_candidates
from mixopt.pipeline.unused_seeds import condition_before, read_unused_seeds
from mixopt.proposal import Proposal
from mixopt.surrogates.gain_model import SAME, GainPosterior, Mixtures
from mixopt.surrogates.metric_arrays import signs
from mixopt.trials import Trials

MOST_TRIALS = 24  # merges among the candidates, the best by the surrogate
RESAMPLED = 32  # bootstrap samples of items over which the best ensemble is searched
DISTINCT = 0.05  # ‖√λ − √λ'‖ from which another mixture is worth a merge
VALIDATED = 500  # first seed of a validation


def decide_study(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    trials: Trials,
    proposals: Sequence[Proposal],
) -> Decision | None:
    """Return the decision; None where the experts cannot make natural, for want of one.

    Args:
        context: The study.
        search: The experts and their ensembles.
        policy: Real runs, and the trust of each benchmark.
        trials: Of all rounds.
        proposals: The surrogate's.
    """
    if policy.objective is None or not reaches_natural(context, search):
        return None
    gains = StudyGains(context, search, policy, trials)
    leaders, resampled = gains.search_resampled(context.config.seed, RESAMPLED)
    rows = list_candidates(context, search, policy, trials, proposals, leaders)
    observed = list_observations(context, search, policy, trials)
    runs = gains.observe(observed)
    if policy.recommendation is None and runs is not None and not (runs.seeds >= FRESH).any():
        # a confirmation is of one mixture, which it was chosen before
        found = search_between(gains, gains.condition(runs), rows)
        rows = rows if found is None else np.vstack([rows, found])
    asked, objective = gains.mixtures(rows, gains.tokens), gains.objective
    posterior, draws, choice = choose(context, gains, asked, runs)
    chosen = asked.pick([choice.candidate])
    own, domains = draws[:, choice.candidate], context.config.domains
    unused = read_unused_seeds(runs, rows[choice.candidate], objective, posterior)
    equivalent = equivalent_tokens(
        gains, posterior.over_natural, rows[choice.candidate], observed, context.config.seed
    )
    gain = estimate_gain(own, objective)
    return Decision(
        moves=choice.moves,
        candidate=Mixture.from_vector(domains, rows[choice.candidate]),
        kept=Mixture.from_vector(domains, gains.kept),
        gain=gain,
        tokens=gains.tokens,
        target_tokens=context.config.target.tokens,
        runs=count_runs(context, gains, observed),
        capabilities=_by_capability(posterior, chosen, objective),
        differences=_by_metric(posterior, chosen, objective),
        confirmation=unused.gain if unused else None,
        equivalent_tokens=None if isinstance(equivalent, str) else equivalent,
        no_equivalent=equivalent if isinstance(equivalent, str) else "",
        merges=check_by_merges(gains, rows[choice.candidate], _next_best(rows, draws, choice)),
        learning=learning_steps(context, gains, asked, observed, policy.online_tokens),
        next_runs=next_runs(context, posterior, asked, objective.combinations(), observed),
        confirmed_tokens=unused.tokens if unused else None,
        expected_before=(unused.expected_by(condition_before(gains, observed)) if unused else None),
        proxies=gains.proxies,
        reference="natural" if gains.keeps_natural else NEAREST_ALLOWED,
        advice="" if choice.moves else advise_runs(context, gains, posterior, chosen, gain),
        unit=objective.gain_unit,
        noise=paired_noise(posterior, chosen, objective),
        resampled=_list_ranges(domains, resampled),
    )


def _next_best(rows: Array, draws: Array, choice: Choice) -> Array:
    """Return the other mixtures (`n x d`), the highest expected gain first, without near copies."""
    order = np.argsort(-draws.mean(axis=0), kind="stable")
    others = [rows[choice.candidate]]
    for row in rows[order]:
        apart = np.linalg.norm(np.sqrt(row) - np.sqrt(np.stack(others)), axis=1).min()
        if apart > DISTINCT:
            others.append(row)
    return np.stack(others)[1:].reshape(-1, rows.shape[1])


def list_candidates(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    trials: Trials,
    proposals: Sequence[Proposal],
    leaders: Array,
) -> Array:
    """Return the mixtures that may be recommended, each once (`q x d`); natural is not among them.

    A mixture with a run that failed is not recommended. What a method of others recommends is the only
    candidate.

    Args:
        context: The study.
        search: The experts.
        policy: Fits the surrogate; its runs are among the candidates.
        trials: Of all rounds.
        proposals: The surrogate's.
        leaders: The best ensembles (`n x d`).
    """
    domains = context.config.domains
    natural = context.corpora.natural.vector(domains)
    observed = list_observations(context, search, policy, trials)
    failed = np.array([each.ratios for each in observed if each.failed]).reshape(-1, len(domains))
    if policy.recommendation is not None:
        rows = policy.recommendation.ratios.vector(domains)[None]
        return _drop_unwanted(search, rows, natural, failed)
    merged = trials.where(kind=policy.proxy)
    best = np.argsort(-policy.fit(trials).expected_utility(merged.ratios()), kind="stable")
    trained = [each.ratios for each in observed]
    rows = np.vstack([
        *(proposal.ratios.vector(domains) for proposal in proposals),
        leaders,
        *trained,
        merged.ratios()[best[:MOST_TRIALS]],
    ])  # fmt: skip
    rows = np.unique(rows[context.space.contains(rows, tolerance=1e-6)].round(12), axis=0)
    return _drop_unwanted(search, rows, natural, failed)


def _drop_unwanted(search: CandidateSearch, rows: Array, natural: Array, failed: Array) -> Array:
    """Return the mixtures but natural and failed ones (`q x d`); the nearest allowed if none is left."""
    unwanted = np.vstack([natural, failed])
    others = rows[np.abs(rows[:, None] - unwanted[None]).max(axis=2).min(axis=1) > SAME]
    return others if len(others) else nearest_allowed(search.space, natural)[None]


def list_observations(
    context: StudyContext, search: CandidateSearch, policy: SurrogatePolicy, trials: Trials
) -> list[Observation]:
    """Return all runs: candidates of the search, of a validation, and what a budget bought.

    Args:
        context: The study.
        search: Names the metrics that choose.
        policy: Has the runs of a validation and of a budget.
        trials: Of all rounds; those of kind `trained` are runs with seed 0. Candidates whose training
            failed are none of them, and follow them here.
    """
    tables = [(0, trials.where(kind="trained"))]
    # the runs of a validation read other text than those of a budget with the same seed
    tables += [(VALIDATED + seed, table) for seed, table in enumerate(policy.by_seed)]
    metrics = metrics_that_choose(search)
    runs = [
        Observation(trial.ratios.vector(search.domains), seed, int(trial.tokens), scores)
        for seed, table in tables
        for trial, scores in zip(table, table.values(metrics), strict=True)
    ]
    runs += list_failed_candidates(context, search, trials)
    return with_early_scores(context, search, [*runs, *policy.observations])


def _list_ranges(domains: Sequence[str], rows: Array) -> dict[str, tuple[float, float]]:
    """Return the 10% and 90% quantiles of each ratio over mixtures (`n x d`); none of no mixtures."""
    if not len(rows):
        return {}
    low, high = np.percentile(rows, [10, 90], axis=0).tolist()
    return dict(zip(domains, zip(low, high, strict=True), strict=True))


def _by_capability(
    posterior: GainPosterior, chosen: Mixtures, objective: Objective
) -> dict[str, Estimate]:
    rows = np.stack([objective.capability(name) for name in objective.capabilities])
    mean, covariance = posterior.gains(chosen, rows)
    sds = np.sqrt(np.maximum(np.diag(covariance[0, :, 0, :]), 0.0))
    pairs = zip(objective.capabilities, mean[0], sds, strict=True)
    return {name: Estimate(float(gain), float(sd)) for name, gain, sd in pairs}


def _by_metric(
    posterior: GainPosterior, chosen: Mixtures, objective: Objective
) -> dict[str, Estimate]:
    mean, covariance = posterior.gains(chosen)
    sds = np.sqrt(np.maximum(np.diag(covariance[0, :, 0, :]), 0.0)) * objective.spreads
    native = mean[0] * objective.spreads * signs(objective.metrics)
    pairs = zip(objective.metrics, native, sds, strict=True)
    return {metric.name: Estimate(float(gain), float(sd)) for metric, gain, sd in pairs}
