"""Sentences on domains, proposals and validations, which `-v` prints and the report has."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING

from mixopt.callbacks.base import DomainCount, TrainedModel
from mixopt.comparison import Comparison
from mixopt.decision import Decision
from mixopt.estimate import format_chance
from mixopt.proposal import Proposal

if TYPE_CHECKING:
    from mixopt.optimization.validation import Validation

MAX_NAMED = 4
"""Metrics or domains named in a line; of the others only the number is printed."""


def describe_domains(counts: Sequence[DomainCount]) -> Iterator[str]:
    """Yield a line for each domain: its tokens and documents.

    Args:
        counts: One or more (`d`).
    """
    width = max(len(count.domain) for count in counts)
    for count in counts:
        note = f"  ({count.note})" if count.note else ""
        size = f"{count.tokens:>13,} tokens  {count.documents:>9,} documents"
        yield f"  {count.domain:<{width}}  {size}{note}"


def describe_training(model: TrainedModel) -> str:
    """Return how models of one kind are trained.

    Args:
        model: One of them, with the parameters and metrics of its training.
    """
    return (
        f"Training of each {model.kind}: {model.metrics['tokens']:,.0f} tokens, learning rate "
        f"{model.params['learning_rate']}, batch {model.params['batch_tokens']:,} tokens "
        f"({model.params.get('step_source', '')})"
    )


def describe_proposals(proposals: Sequence[Proposal]) -> Iterator[str]:
    """Yield all that is known of proposals beside verdict, notes and warnings.

    Args:
        proposals: Best first.
    """
    for number, proposal in enumerate(proposals, start=1):
        if proposal.decision is not None:
            yield from _describe_decision(proposal.decision)
        yield f"Proposal {number}" if len(proposals) > 1 else "Proposal"
        width = max(map(len, proposal.ratios))
        first = proposal.comparisons[0] if proposal.comparisons else None
        for domain, ratio in proposal.ratios.items():
            seen = proposal.repetition.get(domain)
            times = "" if seen is None else f"  seen {seen:.2f} times"
            other = f"  ({first.name} {first.ratios.get(domain, 0.0):.2%})" if first else ""
            yield f"  {domain:<{width}}  {ratio:7.2%}{other}{times}"
        # with a decision, differences of merges are evidence, and no verdict
        merged = proposal.decision is not None and proposal.measured is not None
        for comparison in proposal.comparisons:
            yield f"  {_compare(proposal, comparison, merged=merged)}"
        yield from _describe_aggregates(first, merged=merged)
        yield from _describe_limits(proposal, first, merged=merged)


def describe_validation(validation: "Validation") -> Iterator[str]:
    """Yield the rank correlations of each proxy with trained models, and what follows."""
    header = f"  {'metric':<24}{'proxy':<11}{'rank':>6}  {'95% interval':<17}{'ceiling':>8}"
    yield header + f"{'log-ratio':>11}{'quarter':>9}"
    for row in validation.fidelities:
        low, high = row.interval
        # NaN: this proxy does not score the metric, or scores all mixtures alike
        ranked = not isnan(row.spearman)
        interval = f"[{low:+.2f}, {high:+.2f}]" if ranked else "-"
        yield (
            f"  {row.name:<24}{row.proxy:<11}{_or_dash(row.spearman):>6}  {interval:<17}"
            f"{_or_dash(row.ceiling):>8}{_or_dash(row.baseline):>11}"
            f"{f'{row.overlap:.0%}' if ranked else '-':>9}"
        )
    gains = ", ".join(f"{gain:+.2f}" for gain in validation.gain)
    yield (
        f"  regret of the proposal {validation.regret:.2f} sd; its trained gain over natural, by "
        f"seed: {gains}"
    )
    yield f"  {validation.result_sentence}"
    yield f"  {validation.advice}"
    cost = validation.cost
    yield (
        f"  search {cost.search_tokens:,} tokens, {cost.search_flops:.2e} FLOPs; every candidate "
        f"trained: {cost.trained_tokens:,} tokens, {cost.trained_flops:.2e} FLOPs"
    )


def _describe_decision(decision: Decision) -> Iterator[str]:
    if not decision.moves and not decision.alone:
        ratios = ", ".join(f"{name} {r:.1%}" for name, r in decision.candidate.items() if r)
        yield f"  the best other mixture: {ratios}"
    for sentence in filter(None, [decision.equivalent, decision.horizon]):
        yield f"  {sentence}"
    if decision.advice:
        yield f"  {decision.advice}"
    yield f"  known from {decision.basis}"
    for sentence in decision.checks:
        yield f"  evidence: {sentence}"


def _compare(proposal: Proposal, comparison: Comparison, *, merged: bool) -> str:
    if merged:
        return f"merges, against {comparison.name}: {comparison.difference}"
    if proposal.decision is not None or comparison.same:
        return comparison.verdict
    return f"{comparison.verdict}; {format_chance(comparison.gain.chance)} likely to be better"


def _describe_aggregates(first: Comparison | None, *, merged: bool) -> Iterator[str]:
    if first is None or first.same or not first.aggregates:
        return
    gains = [
        f"{name} {gain.mean:+.3f} [{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}]"
        for name, gain in first.aggregates.items()
    ]
    what = "merges, against" if merged else "gain over"
    yield f"  {what} {first.name} by aggregate: {', '.join(gains)}"


def _describe_limits(
    proposal: Proposal, first: Comparison | None, *, merged: bool
) -> Iterator[str]:
    if first is not None and first.worse:
        named = [f"{name} ({format_chance(chance)})" for name, chance in first.worse.items()]
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        worse = f"{', '.join(named[:MAX_NAMED])}{more}"
        what = "merges probably score worse" if merged else "probably worse"
        yield f"  {what} than the {first.name} mixture: {worse}"
    if proposal.ties is not None:
        wide = sorted(proposal.ties.ranges.items(), key=lambda r: r[1][0] - r[1][1])[:MAX_NAMED]
        ranges = ", ".join(f"{name} {low:.0%} to {high:.0%}" for name, (low, high) in wide)
        yield (
            f"  {format_chance(proposal.ties.share)} of the feasible mixtures cannot be told from it"
            f"{' by the surrogate' if merged else ''}; among them are {ranges}"
        )
    if proposal.support is not None:
        near = proposal.support
        # a study's surrogate knows merges and ensembles, of which nothing was trained
        noun = "run" if proposal.measured is None else "candidate"
        yield (
            f"  nearest {noun} {near.nearest} (Hellinger {near.distance:.2f}; {noun}s are usually "
            f"within {near.usual:.2f} of another)"
        )
    for name, error in proposal.errors.items():
        low, high = error.interval
        yield f"  error of {name}: {error.mean:.3f} [{low:.3f}, {high:.3f}]"


def _or_dash(rank: float) -> str:
    return "-" if isnan(rank) else f"{rank:+.2f}"  # one seed has no ceiling, say
