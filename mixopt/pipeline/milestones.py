"""Milestones of a study, for its callbacks: plan, scores of single experts, rounds, best mixture."""

import logging
from collections.abc import Mapping
from functools import partial

from mixopt.callbacks.base import BestSoFar, Callback, ModelKind, RoundResult
from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import RunError
from mixopt.optimization.objective import DOUBTFUL
from mixopt.optimization.reliability import Reliability
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.plan import plan_stages
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import CandidateSearch
from mixopt.proposal import Proposal
from mixopt.report.build import cross_validated_scores
from mixopt.trial import Kind, Score
from mixopt.trials import Trials

log = logging.getLogger(__name__)

KNOWN_FROM: Mapping[Kind, str] = {
    "merged": "merges", "ensembled": "ensembles of the experts", "trained": "trained runs",
}  # fmt: skip


def report_plan(context: StudyContext) -> None:
    """Report what each stage will train and score, and what is not as the settings say it."""
    config = context.config
    if ranks := config.search.describe_ranks(config.benchmarks):
        context.callbacks.warning(ranks, "ratios")
    if config.search.method == "auto" and config.search_method != "ensemble":
        context.callbacks.message(config.search.describe_method(config.benchmarks))
    stages = plan_stages(context)
    context.callbacks.notify(lambda callback: callback.on_plan(stages))


def report_expert_scores(context: StudyContext, search: CandidateSearch) -> None:
    """Report the scores of base and experts alone; one that fails is left out."""
    names = search.evaluator.names
    built = isinstance(context.config.base, BuiltBaseConfig)
    for name in (*["base"] * built, *names):
        kind: ModelKind = "expert" if name in names else "base"
        try:
            scores = search.score_alone(name)
        except RunError as error:  # whoever needs its scores raises it
            log.debug("%s %s has no scores: %s", kind, name, error)
            continue
        context.callbacks.notify(partial(_send_scores, kind, name, scores))


def _send_scores(
    kind: ModelKind, name: str, scores: Mapping[str, Score], callback: Callback
) -> None:
    callback.on_model_scored(kind, name, scores)


def report_round(
    context: StudyContext, policy: SurrogatePolicy, number: int, trials: Trials
) -> tuple[int, float]:
    """Report a round of the search and the best mixture after it.

    Args:
        context: The study.
        policy: Fits the surrogate, without real runs.
        number: Of the round, from 1.
        trials: Of all rounds until now.

    Returns:
        Number of candidates, and the rank correlation of the utility of left-out ones.
    """
    callbacks, proxy = context.callbacks, context.config.proxy
    surrogate = policy.fit(trials)
    table = trials.where(kind=proxy)
    utilities = surrogate.observed_utilities(table)
    reliabilities = policy.reliabilities(trials) if number == 1 else {}
    for reliability in reliabilities.values():
        if not reliability.is_reliable:
            # the study counts it for less
            callbacks.warning(reliability.sentence + _searched_by(policy, reliability), "nothing")
    result = RoundResult(
        number,
        trials,
        n_candidates=len(table),
        best_utility=float(utilities.max()),
        rank_correlations={fit.metric.name: fit.rank_correlation for fit in surrogate.metrics},
        reliabilities={name: found.tau for name, found in reliabilities.items()},
    )
    leader = table[int(surrogate.expected_utility(table.ratios()).argmax())].ratios
    gain = surrogate.estimate_gain(leader, context.corpora.natural)
    best = BestSoFar(leader, gain, KNOWN_FROM[proxy])
    callbacks.notify(lambda callback: callback.on_best(best))
    callbacks.notify(lambda callback: callback.on_round_scored(result))
    return len(table), cross_validated_scores(surrogate)["utility"].rank_correlation


def _searched_by(policy: SurrogatePolicy, found: Reliability) -> str:
    """Return what the search over ensembles follows instead of a noisy accuracy; "" for its score."""
    if policy.objective is None or policy.proxy != "ensembled" or found.trust >= DOUBTFUL:
        return ""
    jumps = {metric.name for metric in policy.objective.metrics if metric.better == "higher"}
    said = " Ensembles are searched by the loss of its right answers."
    return said if found.name in jumps else ""


def report_proposals(context: StudyContext, proposals: list[Proposal]) -> None:
    """Report proposals and the candidate of their decision."""
    decision = proposals[0].decision
    if decision is not None:
        best = BestSoFar(decision.candidate, decision.gain, decision.basis, decision.reference)
        context.callbacks.notify(lambda callback: callback.on_best(best))
    context.callbacks.notify(lambda callback: callback.on_proposals(proposals))
