"""Phasing: a target run in phases, one search for each, from the base that the phase begins with."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import PhaseConfig, StudyConfig
from mixopt.config.training import BaseConfig, PretrainedBaseConfig
from mixopt.errors import ConfigError
from mixopt.executors.job import Job
from mixopt.pipeline.exports import check_exports
from mixopt.pipeline.results import write_result
from mixopt.proposal import Proposal
from mixopt.schedule import Phase, Schedule
from mixopt.study import Study


def run_phases(study: Study) -> Schedule:
    """The schedule of a study with phases: each phase's whole road, then the exports.

    A phase is a study of its own under `phases/NAME`. What earlier phases read of a domain counts
    against how often it may be read.

    Raises:
        RecipeError: The study has no phases.
    """
    phases = study.recipe.phases
    if not phases:
        raise ConfigError("The study has no phases; add them, or run it as it is.")
    check_exports(study.recipe, run_code=study.run_code)
    with study.running():
        found: list[Phase] = []
        needed = _needs(study)
        seen: Counter[str] = Counter()
        base: BaseConfig = study.recipe.base
        for number, phase in enumerate(phases):
            base = phase.base or base
            later = phases[number + 1 :]
            taken = _sum([seen, *(needed[each.name] for each in later)])
            own = _open(
                study, study.recipe.for_phase(phase, base, taken, needed[phase.name]), phase.name
            )
            study.callbacks.message(f"Phase {phase.name}: {phase.tokens:,} tokens")
            proposal = own.run()
            found.append(Phase(phase.name, proposal))
            for domain, times in proposal.repetition.items():
                seen[domain] += times  # type: ignore[assignment]
            if later and later[0].base is None:
                base = _carry_on(own, proposal, later[0])
        schedule = Schedule(tuple(found), study.recipe.most_repetition)
        write_result(study.callbacks, "schedule.json", schedule.to_json())
        _say(study, schedule)
        study.export(schedule)
        return schedule


def _needs(study: Study) -> dict[str, Counter[str]]:
    """How often each phase reads each domain at the least, by its lower bounds.

    Raises:
        InfeasibleError: All of them together read a domain more often than it may be.
    """
    from mixopt.pipeline.laboratory import Laboratory

    begin = study.recipe.phases[0]
    first = study.recipe.for_phase(begin, begin.base or study.recipe.base, {})
    output = study.output / "phases" / begin.name
    lab = Laboratory(
        first, ArtifactStore(output / "journal"), cache=ArtifactStore(study.cache), device="cpu"
    )
    budget = study.recipe.budget(lab.available_tokens)
    needs = {}
    for phase in study.recipe.phases:
        search = phase.search or study.recipe.search
        least = {**search.lower, **search.frozen}
        needs[phase.name] = Counter(replace(budget, tokens=phase.tokens).count(least))
    budget.check(_sum(needs.values()))
    return needs


def _sum(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        for domain, times in count.items():
            total[domain] += times
    return total


def _open(study: Study, recipe: StudyConfig, name: str) -> Study:
    return Study(
        recipe,
        study.output / "phases" / name,
        cache=study.cache,
        storage=f"{study.storage.rstrip('/')}/phases/{name}" if study.storage else None,
        device=study.device,
        run_code=study.run_code,
        callbacks=study.callbacks.callbacks,
    )


def _carry_on(study: Study, proposal: Proposal, later: PhaseConfig) -> PretrainedBaseConfig:
    """The phase's base, trained on for a while on what was proposed: where the next one begins."""
    tokens = later.base_tokens or study.recipe.training.tokens
    job = Job("continue_base", (later.name, dict(proposal.ratios), tokens),
              f"the base of phase {later.name}", trains=True)  # fmt: skip
    try:
        for _, error in study.foundation.crew.do([job]):
            if error is not None:
                raise error
    finally:
        study.foundation.let_workers_go()
    folder = study.laboratory.continue_base(later.name, proposal.ratios, tokens)
    kept = "bfloat16" in str(
        study.laboratory.device.dtype
    )  # it was saved as it was trained, in float32
    return PretrainedBaseConfig(
        kind="pretrained",
        path=str(folder),
        context=study.recipe.base.context,
        dtype="bfloat16" if kept else "float32",
    )


def _say(study: Study, schedule: Schedule) -> None:
    study.callbacks.message(f"Schedule over {schedule.tokens:,.0f} tokens")
    for domain in schedule.domains:
        shares = "  ".join(
            f"{phase.name} {phase.proposal.ratios[domain]:>7.2%}" for phase in schedule.phases
        )
        study.callbacks.message(
            f"  {domain:<16}{shares}  whole run {schedule.ratios[domain]:>7.2%}"
        )
