"""The callback that prints the progress of a study, for a terminal."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mixopt.callbacks.base import Callback, DomainCount, RoundResult, TrainedModel
from mixopt.config.study import StudyConfig
from mixopt.decision import Decision
from mixopt.errors import hide_credentials
from mixopt.estimate import format_chance
from mixopt.proposal import Comparison, Proposal

if TYPE_CHECKING:
    from mixopt.optimization.validation import Validation

MAX_NAMED = 4
"""Metrics or domains named in a line; of the others only the number is printed."""


class ConsoleCallback(Callback):
    """Prints each step of a study.

    Args:
        echo: Prints a line, for example `click.echo`.
    """

    def __init__(self, echo: Callable[[str], Any]) -> None:
        self._echo: Callable[[str], Any] = lambda text: echo(hide_credentials(text))
        self._described_kinds: set[str] = set()

    def on_study_start(self, config: StudyConfig, output: Path) -> None:
        self._echo(f"Study {config.name}, seed {config.seed}; results in {output}")

    def on_message(self, text: str) -> None:
        self._echo(text)

    def on_domains_counted(self, counts: Sequence[DomainCount]) -> None:
        width = max(len(count.domain) for count in counts)
        self._echo("Domains")
        for count in counts:
            note = f"  ({count.note})" if count.note else ""
            size = f"{count.tokens:>13,} tokens  {count.documents:>9,} documents"
            self._echo(f"  {count.domain:<{width}}  {size}{note}")

    def on_model_trained(self, model: TrainedModel) -> None:
        if model.failure:
            return  # its message has been printed
        source = model.params.get("step_source", "")
        if model.kind not in self._described_kinds:
            self._described_kinds.add(model.kind)
            self._echo(
                f"Training of each {model.kind}: {model.metrics['tokens']:,.0f} tokens, learning rate "
                f"{model.params['learning_rate']}, batch {model.params['batch_tokens']:,} tokens "
                f"({source})"
            )
        epochs: Mapping[str, float] = model.params.get("epochs", {})
        repeated = ", ".join(f"{n} {count:.1f} times" for n, count in epochs.items() if count > 1)
        more = f"; reads {repeated}" if repeated else ""
        self._echo(f"  {model.kind} {model.name}: loss {model.metrics['final_loss']:.3f}{more}")

    def on_round_scored(self, result: RoundResult) -> None:
        ranks = [rank for rank in result.rank_correlations.values() if not isnan(rank)]
        quality = (
            f"; unseen ones are ranked at {median(ranks):+.2f} (median metric)" if ranks else ""
        )
        self._echo(f"Round {result.number}: {result.n_candidates} candidates so far{quality}")

    def on_proposals(self, proposals: Sequence[Proposal]) -> None:
        for number, proposal in enumerate(proposals, start=1):
            if proposal.decision is not None:
                self._print_decision(proposal.decision)
            self._echo(f"Proposal {number}" if len(proposals) > 1 else "Proposal")
            width = max(map(len, proposal.ratios))
            first = proposal.comparisons[0] if proposal.comparisons else None
            for domain, ratio in proposal.ratios.items():
                seen = proposal.repetition.get(domain)
                times = "" if seen is None else f"  seen {seen:.2f} times"
                other = f"  ({first.name} {first.ratios.get(domain, 0.0):.2%})" if first else ""
                self._echo(f"  {domain:<{width}}  {ratio:7.2%}{other}{times}")
            # with a decision, differences of merges are evidence, and no verdict
            merged = proposal.decision is not None and proposal.measured is not None
            for comparison in proposal.comparisons:
                chance = f"; {format_chance(comparison.gain.chance)} likely to be better"
                if proposal.decision is not None or comparison.same:
                    chance = ""
                said = f"{comparison.verdict}{chance}"
                if merged:
                    said = f"merges, against {comparison.name}: {comparison.difference}"
                self._echo(f"  {said}")
            self._print_aggregates(first, merged=merged)
            self._print_caveats(proposal, first, merged=merged)
            for note in proposal.notes:
                self._echo(f"  note: {note}")

    def _print_decision(self, decision: Decision) -> None:
        self._echo(decision.verdict)
        if not decision.moves and not decision.alone:
            ratios = ", ".join(f"{name} {r:.1%}" for name, r in decision.candidate.items() if r)
            self._echo(f"  the best other mixture: {ratios}")
        if decision.equivalent:
            self._echo(f"  {decision.equivalent}")
        if decision.advice:
            self._echo(f"  {decision.advice}")
        self._echo(f"  known from {decision.basis}")
        for sentence in decision.checks:
            self._echo(f"  evidence: {sentence}")

    def _print_aggregates(self, first: Comparison | None, *, merged: bool) -> None:
        if first is None or first.same or not first.aggregates:
            return
        gains = [
            f"{name} {gain.mean:+.3f} [{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}]"
            for name, gain in first.aggregates.items()
        ]
        what = "merges, against" if merged else "gain over"
        self._echo(f"  {what} {first.name} by aggregate: {', '.join(gains)}")

    def _print_caveats(self, proposal: Proposal, first: Comparison | None, *, merged: bool) -> None:
        if first is not None and first.worse:
            named = [f"{name} ({format_chance(chance)})" for name, chance in first.worse.items()]
            more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
            worse = f"{', '.join(named[:MAX_NAMED])}{more}"
            what = "merges probably score worse" if merged else "probably worse"
            self._echo(f"  {what} than the {first.name} mixture: {worse}")
        if proposal.ties is not None:
            wide = sorted(proposal.ties.ranges.items(), key=lambda r: r[1][0] - r[1][1])[:MAX_NAMED]
            ranges = ", ".join(f"{name} {low:.0%} to {high:.0%}" for name, (low, high) in wide)
            share = format_chance(proposal.ties.share)
            self._echo(
                f"  {share} of the feasible mixtures cannot be told from it"
                f"{' by their merges' if merged else ''}; among them are {ranges}"
            )
        if proposal.support is not None:
            near = proposal.support
            self._echo(
                f"  nearest run {near.nearest} (Hellinger {near.distance:.2f}; runs are usually within "
                f"{near.usual:.2f} of another)"
            )
        for name, error in proposal.errors.items():
            low, high = error.interval
            self._echo(f"  error of {name}: {error.mean:.3f} [{low:.3f}, {high:.3f}]")

    def on_validation(self, validation: "Validation") -> None:
        n_mixtures, n_seeds = len(validation.mixtures), validation.seeds
        self._echo(f"Validation over {n_mixtures} trained mixtures x {n_seeds} seeds")
        header = f"  {'metric':<24}{'proxy':<11}{'rank':>6}  {'95% interval':<17}{'ceiling':>8}"
        self._echo(header + f"{'log-ratio':>11}{'quarter':>9}")
        for row in validation.fidelities:
            low, high = row.interval
            # NaN: this proxy does not score the metric, or scores all mixtures alike
            ranked = not isnan(row.spearman)
            interval = f"[{low:+.2f}, {high:+.2f}]" if ranked else "-"
            self._echo(
                f"  {row.name:<24}{row.proxy:<11}{_or_dash(row.spearman):>6}  {interval:<17}"
                f"{_or_dash(row.ceiling):>8}{_or_dash(row.baseline):>11}"
                f"{f'{row.overlap:.0%}' if ranked else '-':>9}"
            )
        gains = ", ".join(f"{gain:+.2f}" for gain in validation.gain)
        self._echo(
            f"  regret of the proposal {validation.regret:.2f} sd; its trained gain over natural, by "
            f"seed: {gains}"
        )
        self._echo(f"  {validation.result_sentence}")
        self._echo(f"  {validation.advice}")
        cost = validation.cost
        self._echo(
            f"  search {cost.search_tokens:,} tokens, {cost.search_flops:.2e} FLOPs; every candidate "
            f"trained: {cost.trained_tokens:,} tokens, {cost.trained_flops:.2e} FLOPs"
        )


def _or_dash(rank: float) -> str:
    return "-" if isnan(rank) else f"{rank:+.2f}"  # one seed has no ceiling, say
