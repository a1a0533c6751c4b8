"""A target run in phases: one search for each phase, from the base with which the phase begins."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mixopt.config.study import PhaseConfig
from mixopt.config.training import BaseConfig, PretrainedBaseConfig
from mixopt.executors.job import Job
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.exports import check_exports
from mixopt.pipeline.results import write_result
from mixopt.proposal import Proposal
from mixopt.schedule import Phase, Schedule

if TYPE_CHECKING:
    from mixopt.study import Study

MOST_SHOWN = 8
"""Domains of a schedule that are printed; all are in its file."""


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
        finished: list[Phase] = []
        least = _least_repetition(study)
        seen: Counter[str] = Counter()
        base: BaseConfig = config.base
        for number, phase in enumerate(config.phases):
            base = phase.base or base
            later = config.phases[number + 1 :]
            taken = _sum([seen, *(least[each.name] for each in later)])
            own_config = config.for_phase(phase, base, taken, least[phase.name])
            own = study.of_phase(own_config, phase.name)
            callbacks.message(f"Phase {phase.name}: {phase.tokens:,} tokens")
            proposal = own.run()
            assert isinstance(proposal, Proposal), "a phase has no phases"
            finished.append(Phase(phase.name, proposal))
            for domain, times in proposal.repetition.items():
                seen[domain] += times  # type: ignore[assignment]
            if later and later[0].base is None:
                base = _continue_base(own.context, proposal, later[0])
        schedule = Schedule(tuple(finished), config.max_repetition)
        write_result(callbacks, "schedule.json", schedule.to_json())
        _report(study, schedule)
        study.export(schedule)
        return schedule


def _least_repetition(study: "Study") -> dict[str, Counter[str]]:
    config = study.config
    first = config.phases[0]
    own = study.of_phase(config.for_phase(first, first.base or config.base, {}), first.name)
    own.context.corpora.build()
    budget = config.target_budget(own.context.corpora.available_tokens)
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


def _continue_base(
    context: StudyContext, proposal: Proposal, later: PhaseConfig
) -> PretrainedBaseConfig:
    from mixopt.pipeline.training_runs import continued_base_run, read_run

    tokens = later.base_tokens or context.config.training.tokens
    run = continued_base_run(context, later.name, proposal.ratios, tokens)
    job = Job("continue_base", (later.name, dict(proposal.ratios), tokens),
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
    # it was saved as it was trained, in float32
    half = "bfloat16" in str(context.device.dtype)
    return PretrainedBaseConfig(
        kind="pretrained",
        path=str(result.folder),
        context=context.config.base.context,
        dtype="bfloat16" if half else "float32",
    )


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
