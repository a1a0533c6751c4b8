"""A target run in phases: one search for each phase, from the base with which the phase begins."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.config.study import PhaseConfig, StudyConfig
from mixopt.config.training import BaseConfig, PretrainedBaseConfig
from mixopt.executors.job import Job
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.exports import check_exports
from mixopt.pipeline.results import write_result
from mixopt.proposal import Proposal
from mixopt.schedule import Phase, Schedule

if TYPE_CHECKING:
    from mixopt.study import Study
    from mixopt.training.training_run import TrainingRun

MOST_SHOWN = 8
"""Domains of a schedule that are printed; all are in its file."""


class PhaseConfigs:
    """The config of each phase's study, which depends on what earlier phases proposed.

    Args:
        config: The study's.
        least: Epochs by domain that each phase's bounds require, by name of the phase.

    Attributes:
        finished: The phases that have a proposal.
        base: The base with which the next phase begins, unless it names its own.
    """

    def __init__(self, config: StudyConfig, least: Mapping[str, Counter[str]]) -> None:
        self._config, self._least = config, least
        self._seen: Counter[str] = Counter()
        self.finished: list[Phase] = []
        self.base: BaseConfig = config.base

    @property
    def left(self) -> list[PhaseConfig]:
        """The phases without a proposal, the next one first."""
        return list(self._config.phases[len(self.finished) :])

    def next(self) -> StudyConfig:
        """Return the config of the next phase's study."""
        phase, *later = self.left
        self.base = phase.base or self.base
        taken = _sum([self._seen, *(self._least.get(each.name, Counter()) for each in later)])
        return self._config.for_phase(phase, self.base, taken, self._least.get(phase.name))

    def finish(self, proposal: Proposal) -> PhaseConfig | None:
        """Take the next phase's proposal; return the phase that starts from its base, continued."""
        self.finished.append(Phase(self.left[0].name, proposal))
        for domain, times in proposal.repetition.items():
            self._seen[domain] += times  # type: ignore[assignment]
        left = self.left
        return left[0] if left and left[0].base is None else None

    @property
    def index(self) -> int:
        """The index of the next phase among those that follow another: 0 for the second."""
        return len(self.finished) - 1

    @property
    def schedule(self) -> Schedule:
        """The proposals of all phases."""
        return Schedule(tuple(self.finished), self._config.max_repetition)


def run_phases(study: "Study") -> Schedule:
    """Return the schedule of a study with phases: run each phase as a study, then export.

    A phase is a study of its own under `phases/NAME`. What earlier phases read of a domain counts
    against how often it may be read.

    Raises:
        InfeasibleError: All phases together read a domain more often than allowed.
    """
    config, callbacks = study.config, study.callbacks
    check_exports(config, run_code=study.environment.run_code)
    with study.running():
        first = study.of_phase(PhaseConfigs(config, {}).next(), config.phases[0].name)
        first.context.corpora.build()
        configs = PhaseConfigs(config, find_least_repetition(config, first.context))
        for phase in config.phases:
            own = study.of_phase(configs.next(), phase.name)
            callbacks.message(f"Phase {phase.name}: {phase.tokens:,} tokens")
            proposal = own.run()
            assert isinstance(proposal, Proposal), "a phase has no phases"
            if (later := configs.finish(proposal)) is not None:
                configs.base = _continue_base(own.context, proposal, later, configs.index)
        schedule = configs.schedule
        write_result(callbacks, "schedule.json", schedule.to_json())
        _report(study, schedule)
        study.export(schedule)
        return schedule


def find_least_repetition(config: StudyConfig, context: StudyContext) -> dict[str, Counter[str]]:
    """Return the epochs by domain that each phase's bounds require, by name of the phase.

    Args:
        config: The study's.
        context: The first phase's, whose text has been tokenized.

    Raises:
        InfeasibleError: All phases together read a domain more often than allowed.
        MissingArtifactError: A text has not been tokenized.
    """
    budget = config.target_budget(context.corpora.available_tokens)
    least = {}
    for phase in config.phases:
        search = phase.search or config.search
        # a bound on a group requires nothing of one of its domains
        given = {**search.lower, **search.frozen}
        bounds = {name: bound for name, bound in given.items() if name in config.domains}
        least[phase.name] = Counter(replace(budget, tokens=phase.tokens).count(bounds))
    budget.check(_sum(least.values()))
    return least


def _sum(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        for domain, times in count.items():
            total[domain] += times
    return total


def plan_base(
    context: StudyContext, proposal: Proposal, later: PhaseConfig, index: int
) -> "TrainingRun":
    """Return the run that trains the base of a later phase.

    Args:
        context: The phase's before.
        proposal: The phase's before, which the base continues on.
        later: The phase that starts from it.
        index: Of the later phase, 0 for the second.
    """
    from mixopt.pipeline.training_runs import continued_base_run

    tokens = later.base_tokens or context.config.training.tokens
    return continued_base_run(context, later.name, proposal.ratios, tokens, index)


def base_config(context: StudyContext, folder: Path) -> PretrainedBaseConfig:
    """Return the config of a base that a phase continued.

    Args:
        context: The phase's.
        folder: Of the trained base.
    """
    # it was saved as it was trained, in float32
    half = "bfloat16" in str(context.device.dtype)
    return PretrainedBaseConfig(
        kind="pretrained",
        path=str(folder),
        context=context.config.base.context,
        dtype="bfloat16" if half else "float32",
    )


def _continue_base(
    context: StudyContext, proposal: Proposal, later: PhaseConfig, index: int
) -> PretrainedBaseConfig:
    from mixopt.pipeline.training_runs import read_run

    run = plan_base(context, proposal, later, index)
    tokens = later.base_tokens or context.config.training.tokens
    job = Job("continue_base", (later.name, dict(proposal.ratios), tokens, index),
              f"the base of phase {later.name}", (run.artifact,), trains=True)  # fmt: skip
    try:
        for _, error in context.dispatcher.run([job]):
            if error is not None:
                raise error
    finally:
        context.close()
    result = read_run(context, run)
    context.callbacks.on_model_trained(
        "base", later.name, result, proposal.ratios, role="base", seed=context.config.seed
    )
    return base_config(context, result.folder)


def _report(study: "Study", schedule: Schedule) -> None:
    study.callbacks.message(f"Schedule over {schedule.tokens:,.0f} tokens")
    ratios = {d: [phase.proposal.ratios[d] for phase in schedule.phases] for d in schedule.domains}
    order = sorted(schedule.domains, key=lambda d: min(ratios[d]) - max(ratios[d]))
    if len(order) > MOST_SHOWN:
        study.callbacks.message(f"The {MOST_SHOWN} of {len(order)} domains that change most:")
    for domain in order[:MOST_SHOWN]:
        by_name = {phase.name: phase.proposal.ratios[domain] for phase in schedule.phases}
        shares = "  ".join(f"{name} {ratio:>7.2%}" for name, ratio in by_name.items())
        whole = f"whole run {schedule.ratios[domain]:>7.2%}"
        study.callbacks.message(f"  {domain:<16}{shares}  {whole}")
