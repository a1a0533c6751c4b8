"""The callback that prints a study's milestones, and its answer at the end."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mixopt.callbacks.base import (
    BestSoFar,
    Callback,
    DomainCount,
    PlannedStage,
    RoundResult,
    Stage,
    StudyWarning,
    TrainedModel,
)
from mixopt.callbacks.details import (
    MAX_NAMED,
    describe_domains,
    describe_proposals,
    describe_training,
    describe_validation,
)
from mixopt.callbacks.next_steps import describe_next_step
from mixopt.callbacks.summary import choose_signs, summarize
from mixopt.callbacks.view import View
from mixopt.callbacks.warning_file import WarningFile
from mixopt.proposal import Proposal

if TYPE_CHECKING:
    from mixopt.config.study import StudyConfig
    from mixopt.optimization.validation import Validation

RESULTS = ("report.html", "proposal.json", "exports", "schedule.json", "validation.json", "runs.csv",
           "trials.csv")  # fmt: skip
"""Results that the end names, in this order."""
TRAINS_MORE: tuple[Stage, ...] = ("validation", "budget")
"""Stages that may change a proposal."""


class ConsoleCallback(Callback):
    """Prints a line with its time at each milestone of a study, and ten lines at its end.

    Args:
        echo: Prints a line, for example `click.echo`.
        verbosity: -1 prints the end alone, 1 all that is known of domains, proposals and validations.
        view: What is shown of work under way; only milestones if left out.
        study: What the command line calls the study, to say how to go on; empty without one.
    """

    def __init__(
        self,
        echo: Callable[[str], Any],
        *,
        verbosity: int = 0,
        view: View | None = None,
        study: str = "",
    ) -> None:
        self.view = view or View(echo)
        self._verbosity, self._study = verbosity, study
        self._described_kinds: set[str] = set()
        self._studies: list[tuple[StudyConfig, Path]] = []
        """Under way, outermost first: a study, and its phase."""
        self._answers: dict[str, Sequence[Proposal]] = {}
        """Last proposals by the name of the study or phase."""
        self._held = ""
        self._files: set[str] = set()
        self._warnings: WarningFile | None = None

    def on_study_start(self, config: "StudyConfig", output: Path) -> None:
        self._studies.append((config, output))
        if len(self._studies) == 1:
            self._answers, self._files, self._held = {}, set(), ""
            self._warnings = WarningFile(output, self._tell_warning)
            self._warnings.open()
            self._milestone(f"study {config.name}, seed {config.seed}; results in {output}")

    def on_message(self, text: str) -> None:
        self._milestone(text)

    def on_warning(self, warning: StudyWarning) -> None:
        if self._warnings is None:
            self._milestone(f"warning: {warning.text}")
        else:
            self._warnings.add(warning)

    def on_plan(self, stages: Sequence[PlannedStage]) -> None:
        self.view.clock.plan(stages, "phase" if len(self._studies) > 1 else "study")

    def on_stage_start(self, stage: Stage) -> None:
        self.view.clock.begin(stage)
        if stage in TRAINS_MORE and self._held:
            self._milestone(self._held)
            self._held = ""

    def on_domains_counted(self, counts: Sequence[DomainCount]) -> None:
        tokens = sum(count.tokens for count in counts)
        noted = [f"{count.domain} {count.note}" for count in counts if count.note]
        more = f" and {len(noted) - MAX_NAMED} more" if len(noted) > MAX_NAMED else ""
        notes = f" ({', '.join(noted[:MAX_NAMED])}{more})" if noted else ""
        self._milestone(f"text: {len(counts)} domains, {tokens:,} tokens{notes}")
        self._details(*describe_domains(counts))

    def on_model_trained(self, model: TrainedModel) -> None:
        if model.failure:
            return  # its message has been printed
        self.view.clock.on_trained(model)
        if model.kind not in self._described_kinds:
            self._described_kinds.add(model.kind)
            self._details(describe_training(model))
        epochs: Mapping[str, float] = model.params.get("epochs", {})
        often = sorted(((count, name) for name, count in epochs.items() if count > 1), reverse=True)
        repeated = ", ".join(f"{name} {count:.1f} times" for count, name in often[:MAX_NAMED])
        more = f" and {len(often) - MAX_NAMED} more" if len(often) > MAX_NAMED else ""
        name = model.name if model.kind == model.name else f"{model.kind} {model.name}"
        reads = f"; reads {repeated}{more}" if repeated else ""
        self._milestone(f"{name}: loss {model.metrics['final_loss']:.3f}{reads}")

    def on_best(self, best: BestSoFar) -> None:
        self.view.best = best

    def on_round_scored(self, result: RoundResult) -> None:
        ranks = [rank for rank in result.rank_correlations.values() if not isnan(rank)]
        quality = (
            f"; unseen ones are ranked at {median(ranks):+.2f} (median metric)" if ranks else ""
        )
        best = "" if self.view.best is None else f"; best so far {self.view.best.describe()}"
        self._milestone(
            f"round {result.number}: {result.n_candidates} candidates so far{quality}{best}"
        )

    def on_proposals(self, proposals: Sequence[Proposal]) -> None:
        self._answers[self._studies[-1][0].name if self._studies else ""] = proposals
        # printed where runs may still change it; the end says it otherwise
        self._held = f"proposal: {proposals[0].verdict}"

    def on_validation(self, validation: "Validation") -> None:
        rows = [row for row in validation.fidelities if row.name == "overall"]
        ranks = [f"{row.proxy} {row.spearman:+.2f}" for row in rows if not isnan(row.spearman)]
        ranked = f"; rank correlation of the proxies {', '.join(ranks)}" if ranks else ""
        n_mixtures, n_seeds = len(validation.mixtures), validation.seeds
        self._milestone(f"validation: {n_mixtures} trained mixtures x {n_seeds} seeds{ranked}")
        self._details(*describe_validation(validation))

    def on_file_written(self, path: Path) -> None:
        if len(self._studies) == 1:
            self._files.add(path.name)

    def on_study_end(self, failure: BaseException | None) -> None:
        config, output = self._studies.pop()
        if self._studies:
            return
        self.view.close()
        if failure is None:
            self._print_end(config, output)
        if self._warnings is not None:
            self._warnings.close()

    def print_answer(
        self, proposals: Sequence[Proposal], rest: Sequence[str], notes: Callable[[str], Any]
    ) -> None:
        """Print proposals that are not those of a study.

        Args:
            proposals: Best first.
            rest: Lines after the answer: where things are, and what to do next.
            notes: Prints a line on what to mind.
        """
        if self._verbosity > 0:
            self._details(*describe_proposals(proposals))
        for text in dict.fromkeys(note for proposal in proposals for note in proposal.notes):
            notes(f"note: {text}")
        self._print_proposals(proposals, rest)

    def _print_end(self, config: "StudyConfig", output: Path) -> None:
        assert self._warnings is not None
        answers = list(self._answers.items())
        for _, proposals in answers:
            self._details(*describe_proposals(proposals))
            for proposal in proposals:
                for note in proposal.notes:
                    self._warnings.add(StudyWarning(note), "note")
        found = [name for name in RESULTS if name in self._files]
        rest = [f"Results   {output}: {', '.join(found)}"] if found else []
        proposals = answers[-1][1] if answers else ()
        step = describe_next_step(config, proposals, found, study=self._study, output=output)
        rest += [f"Next      {step}"] if step else []
        if self._warnings.path is not None and (count := self._warnings.describe()):
            rest.append(f"Warnings  {count}: {self._warnings.path}")
        if self._verbosity >= 0:
            self.view.line("")
        if len(answers) == 1:
            self._print_proposals(proposals, rest)
            return
        for name, (best, *_) in answers:  # phases; their ratios are in the schedule
            self.view.line(f"{name.removeprefix(f'{config.name}-')}: {best.verdict}")
        for line in rest:
            self.view.line(line)

    def _print_proposals(self, proposals: Sequence[Proposal], rest: Sequence[str]) -> None:
        best, *others = proposals
        for line in summarize(best, rest, width=self.view.width, signs=choose_signs()):
            self.view.line(line)
        for number, other in enumerate(others, start=2):
            largest = sorted(other.ratios.items(), key=lambda pair: -pair[1])
            named = ", ".join(f"{name} {ratio:.1%}" for name, ratio in largest[:MAX_NAMED])
            more = f" and {len(largest) - MAX_NAMED} more" if len(largest) > MAX_NAMED else ""
            self.view.line(f"proposal {number}: {named}{more}")

    def _tell_warning(self, line: str) -> None:
        self._milestone(line)

    def _milestone(self, text: str) -> None:
        if self._verbosity >= 0:
            self.view.line(text, timed=True)

    def _details(self, *lines: str) -> None:
        if self._verbosity > 0:
            for line in lines:
                self.view.line(line)
