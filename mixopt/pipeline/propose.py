"""The proposals of a study, each verified by really merging and scoring it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.estimate import Estimate
from mixopt.optimization.comparisons import worse_scores
from mixopt.optimization.optimize import search_mixtures
from mixopt.pipeline.confirmation import trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.decide import decide_study
from mixopt.pipeline.method_search import describe_recommendation
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.proposal import Proposal
from mixopt.surrogates.utility import AnyUtility, measure_gain
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.evaluation.score_cache import Results

FILE = "proposals.json"


def proposals_artifact(
    context: StudyContext, search: CandidateSearch, policy: SurrogatePolicy, trials: Trials
) -> Artifact:
    """Return the artifact of the proposals that `build_proposals` makes of the same arguments.

    Args:
        context: The study.
        search: The experts and how candidates are scored.
        policy: Fits the surrogate.
        trials: Of all rounds (`n`).
    """
    config, corpora = context.config, context.corpora
    key = {
        "fit": policy.key(trials),
        "runs": [table.digest for table in policy.by_seed],
        "bought": [
            [
                each.ratios.tolist(),
                each.seed,
                each.tokens,
                None if each.failed else each.scores.tolist(),
            ]
            for each in policy.observations
        ],
        "search": config.search.model_dump(mode="json"),
        "target": config.target.model_dump(mode="json"),
        # gains are stated at the tokens of runs, and grow from those of experts
        "lengths": [config.training.expert_length, *trainable_lengths(context)],
        "compositions": {n: dict(row) for n, row in search.experts.compositions.items()},
        "set aside": search.experts.failures,
        "scores": search.evaluator.items.cache.shared_key,
        "natural": dict(corpora.natural),
        "available": corpora.available_tokens,
        "documents": {n: [c.tokens, c.documents] for n, c in corpora.counts.items()},
        "seed": config.seed,
    }
    if config.own_repetition:  # keys of other studies do not change
        key["repetition"] = config.own_repetition
    if policy.recommendation is not None:
        key["recommended"] = policy.recommendation.to_dict()
    return Artifact("proposals", "proposals", key)


def build_proposals(
    context: StudyContext, search: CandidateSearch, policy: SurrogatePolicy, trials: Trials
) -> list[Proposal]:
    """Return the proposals fitted to `trials`, best first, built now or read.

    Args:
        context: The study.
        search: Scores the merges of proposals and of what they are compared with.
        policy: Fits the surrogate.
        trials: Of all rounds.
    """

    def build(scratch: Path) -> None:
        found = search_mixtures(
            policy.fit(trials),
            context.space,
            seed=np.random.default_rng([context.config.seed, 1_000_001]),
            compositions=search.experts.compositions,
        )
        count = context.config.search.proposals
        proposals = found.propose(count)
        decision = decide_study(context, search, policy, trials, proposals)
        first = None if policy.recommendation is None else policy.recommendation.ratios
        first = first if decision is None else decision.ratios
        if first is not None:
            proposals = found.propose(count, first=first)
            # what the experts cannot make is predicted and merged by the nearest that they can
            proposals[0] = replace(proposals[0], ratios=first, decision=decision)
        verified = [verify(context, search, policy, one, trials).to_json() for one in proposals]
        (scratch / FILE).write_text(f"[{','.join(verified)}]")

    # new proposals are read back too, so that a run that resumes does not differ in a bit
    artifact = proposals_artifact(context, search, policy, trials)
    folder = context.store.get_or_build(artifact, build)
    return [Proposal.from_dict(plain) for plain in json.loads((folder / FILE).read_text())]


def verify(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    proposal: Proposal,
    trials: Trials,
) -> Proposal:
    """Return the proposal with its measured gains, its budget, and notes for the reader.

    Its own merge and those of the mixtures that it is compared with are scored on the same items.

    Args:
        context: The study.
        search: Scores merges.
        policy: Says which proxy measures, and in which scale.
        proposal: With the weights (`k`) of its own merge.
        trials: Of all rounds (`n`), which give the scale of gains.
    """
    assert proposal.weights is not None
    own = _score(search, policy, list(proposal.weights.values()))
    utilities, capabilities = policy.aggregates(trials), policy.by_capability(trials)
    notes = [*proposal.notes]
    if policy.runs is not None:
        notes.append(
            f"What the proxies say is corrected by {len(policy.runs)} mixtures that were "
            "really trained; the validation is of the proposal before."
        )
    domains = context.config.domains
    if (recommended := policy.recommendation) is not None:
        notes.append(describe_recommendation(context.config, recommended))
        missed = search.space.weights_for(recommended.ratios.vector(domains))[1]
        notes += [_describe_stand_in("recommended", missed)] if missed > UNREACHED else []
    if proposal.decision is not None and (contradiction := proposal.decision.contradiction):
        notes.append(contradiction)
    failures = search.experts.failures
    notes += [f"Expert {name!r} was set aside: {why}" for name, why in failures.items()]
    comparisons = []
    for comparison in proposal.comparisons:
        target = comparison.ratios.vector(domains)
        weights, miss = search.space.weights_for(target)
        if miss > UNREACHED:
            notes.append(_describe_stand_in(comparison.name, miss))
        other = _score(search, policy, weights.tolist())
        aggregates = _measure(utilities, own, other)
        differences = {m: Estimate(*own[m].minus(other[m])) for m in own}
        comparisons.append(
            replace(
                comparison,
                aggregates=aggregates,
                capabilities=_measure(capabilities, own, other),
                differences=differences,
                # a mixture is not worse than itself by the rounding of its merge
                worse={} if comparison.same else worse_scores(differences, trials.metrics),
                measured_gain=aggregates[policy.aggregate],
            )
        )
    corpora = context.corpora
    return replace(
        proposal,
        comparisons=tuple(comparisons),
        measured={m: Estimate(r.score, r.std_error) for m, r in own.items()},
        budget=context.config.target_budget(corpora.available_tokens),
        tokens_per_document={n: c.tokens_per_document for n, c in corpora.counts.items()},
        notes=tuple(notes),
    )


def _describe_stand_in(name: str, miss: float) -> str:
    return (
        f"The experts cannot make the {name} mixture; the nearest one stands for it, {miss:.3f} off in "
        "the worst ratio."
    )


def _score(search: CandidateSearch, policy: SurrogatePolicy, weights: list[float]) -> "Results":
    return search.evaluator.score(weights)[policy.check]


def _measure(
    utilities: Mapping[Any, AnyUtility], own: "Results", other: "Results"
) -> dict[str, Estimate]:
    gains = {}
    for name, utility in utilities.items():
        metrics = [metric.name for metric in utility.metrics]
        here, there = (
            np.array([side[metric].score if metric in side else np.nan for metric in metrics])
            for side in (own, other)
        )
        errors = np.array([
            own[metric].minus(other[metric])[1] if metric in own else np.nan for metric in metrics
        ])  # fmt: skip
        gains[name] = Estimate(*measure_gain(utility, here, there, errors))
    return gains
