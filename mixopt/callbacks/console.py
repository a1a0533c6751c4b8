"""The narrator: says at the terminal what an observer sees, a line for each thing."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

from mixopt.callbacks.base import Callback, TrainedModel
from mixopt.config.study import StudyConfig
from mixopt.proposal import Proposal
from mixopt.trials import DomainCount, Trials
from mixopt.validation import Validation

SHOWN = 4
"""Metrics and domains that are named before the rest is counted."""


class ConsoleCallback(Callback):
    """Says each step through `say` (`click.echo`, say)."""

    def __init__(self, say: Callable[[str], Any]) -> None:
        self._say = say
        self._steps_said: set[str] = set()

    def study_started(self, recipe: StudyConfig, output: Path) -> None:
        """The study and where its results go."""
        self._say(f"Study {recipe.name}, seed {recipe.seed}; results in {output}")

    def said(self, sentence: str) -> None:
        """The sentence."""
        self._say(sentence)

    def domains_counted(self, counts: Sequence[DomainCount]) -> None:
        """A line per domain."""
        width = max(len(count.domain) for count in counts)
        self._say("Domains")
        for count in counts:
            note = f"  ({count.note})" if count.note else ""
            self._say(
                f"  {count.domain:<{width}}  {count.tokens:>13,} tokens  {count.documents:>9,} "
                f"documents{note}"
            )

    def model_trained(self, model: TrainedModel) -> None:
        """A line per model; the step's source once for each kind, and repeated reading where any."""
        if model.failure:
            return  # said in full already
        source = model.params.get("step_source", "")
        if model.kind not in self._steps_said:
            self._steps_said.add(model.kind)
            self._say(
                f"Training of each {model.kind}: {model.metrics['tokens']:,.0f} tokens, learning rate "
                f"{model.params['learning_rate']}, batch {model.params['batch_tokens']:,} tokens "
                f"({source})"
            )
        epochs: Mapping[str, float] = model.params.get("epochs", {})
        repeated = ", ".join(f"{n} {count:.1f} times" for n, count in epochs.items() if count > 1)
        more = f"; reads {repeated}" if repeated else ""
        self._say(f"  {model.kind} {model.name}: loss {model.metrics['final_loss']:.3f}{more}")

    def round_scored(self, number: int, trials: Trials, metrics: Mapping[str, float]) -> None:
        """A line per round: how many candidates, and how well unseen ones are predicted."""
        ranks = [v for k, v in metrics.items() if k.startswith("surrogate/cv_rank/") and v == v]
        told = f"; unseen ones are ranked at {median(ranks):+.2f} (median metric)" if ranks else ""
        self._say(f"Round {number}: {metrics['search/trials']:.0f} candidates so far{told}")

    def proposed(self, proposals: Sequence[Proposal]) -> None:
        """Ratios and comparisons of each proposal."""
        for number, proposal in enumerate(proposals, start=1):
            self._say(f"Proposal {number}" if len(proposals) > 1 else "Proposal")
            width = max(map(len, proposal.ratios))
            natural = proposal.comparisons[0].ratios if proposal.comparisons else {}
            for domain, ratio in proposal.ratios.items():
                seen = proposal.repetition.get(domain)
                times = "" if seen is None else f"  seen {seen:.2f} times"
                self._say(
                    f"  {domain:<{width}}  {ratio:7.2%}  (natural {natural.get(domain, 0.0):.2%}){times}"
                )
            for comparison in proposal.comparisons:
                chance = f"; {comparison.gain.chance:.0%} likely to be better"
                self._say(f"  {comparison.verdict}{'' if comparison.same else chance}")
            self._tell_aggregates(proposal)
            self._tell_doubts(proposal)
            for note in proposal.notes:
                self._say(f"  note: {note}")

    def _tell_aggregates(self, proposal: Proposal) -> None:
        """The gain over the natural mixture by each way of making one number of the scores."""
        first = proposal.comparisons[0] if proposal.comparisons else None
        if first is None or first.same or not first.aggregates:
            return
        told = [
            f"{name} {gain.mean:+.3f} [{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}]"
            for name, gain in first.aggregates.items()
        ]
        self._say(f"  gain over {first.name} by aggregate: {', '.join(told)}")

    def _tell_doubts(self, proposal: Proposal) -> None:
        """What gets worse, what else would do as well, and what stands behind the prediction."""
        first = proposal.comparisons[0] if proposal.comparisons else None
        if first is not None and first.worse:
            named = [f"{name} ({chance:.0%})" for name, chance in first.worse.items()]
            more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
            self._say(
                f"  probably worse than the {first.name} mixture: {', '.join(named[:SHOWN])}{more}"
            )
        if proposal.ties is not None:
            wide = sorted(proposal.ties.ranges.items(), key=lambda r: r[1][0] - r[1][1])[:SHOWN]
            told = ", ".join(f"{name} {low:.0%} to {high:.0%}" for name, (low, high) in wide)
            self._say(
                f"  {proposal.ties.share:.0%} of the candidates cannot be told from it; among them "
                f"are {told}"
            )
        if proposal.support is not None:
            self._say(
                f"  nearest run {proposal.support.nearest} (Hellinger {proposal.support.distance:.2f})"
            )
        for name, error in proposal.errors.items():
            low, high = error.interval
            self._say(f"  error of {name}: {error.mean:.3f} [{low:.3f}, {high:.3f}]")

    def validated(self, validation: Validation) -> None:
        """Rank fidelity by proxy and metric, regret and cost."""
        self._say(
            f"Validation over {len(validation.mixtures)} trained mixtures x {validation.seeds} seeds"
        )
        header = f"  {'metric':<24}{'proxy':<11}{'rank':>6}  {'95% interval':<17}{'ceiling':>8}"
        self._say(header + f"{'log-ratio':>11}{'quarter':>9}")
        for row in validation.fidelities:
            low, high = row.interval
            # nothing to rank: this proxy does not score it, or scores all mixtures alike
            ranked = not isnan(row.spearman)
            told = f"[{low:+.2f}, {high:+.2f}]" if ranked else "-"
            self._say(
                f"  {row.name:<24}{row.proxy:<11}{_or_dash(row.spearman):>6}  {told:<17}"
                f"{_or_dash(row.ceiling):>8}{_or_dash(row.baseline):>11}"
                f"{f'{row.overlap:.0%}' if ranked else '-':>9}"
            )
        gains = ", ".join(f"{gain:+.2f}" for gain in validation.gain)
        self._say(
            f"  regret of the proposal {validation.regret:.2f} sd; its trained gain over natural, by "
            f"seed: {gains}"
        )
        self._say(f"  {validation.result_sentence}")
        self._say(f"  {validation.advice}")
        cost = validation.cost
        self._say(
            f"  search {cost.search_tokens:,} tokens, {cost.search_flops:.2e} FLOPs; every candidate "
            f"trained: {cost.trained_tokens:,} tokens, {cost.trained_flops:.2e} FLOPs"
        )


def _or_dash(rank: float) -> str:
    """A rank, or a dash where there is none: one seed has no ceiling, a capability no own domain."""
    return "-" if isnan(rank) else f"{rank:+.2f}"
