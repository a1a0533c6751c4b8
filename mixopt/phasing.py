"""Phasing: a target run in phases, one search for each, from the base that the phase begins with."""

from collections import Counter

from mixopt.errors import RecipeError
from mixopt.proposal import Proposal
from mixopt.recipe import BaseRecipe, PhaseRecipe, PretrainedBase
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
        raise RecipeError("The study has no phases; add them, or run it as it is.")
    with study.teller.watched():
        found: list[Phase] = []
        seen: Counter[str] = Counter()
        base: BaseRecipe = study.recipe.base
        for number, phase in enumerate(phases):
            base = phase.base or base
            own = _open(study, phase, base, seen)
            study.teller.say(f"Phase {phase.name}: {phase.tokens:,} tokens")
            proposal = own.run()
            found.append(Phase(phase.name, proposal))
            for domain, times in proposal.repetition.items():
                seen[domain] += times  # type: ignore[assignment]
            later = phases[number + 1 :]
            if later and later[0].base is None:
                base = _carry_on(own, proposal, later[0])
        schedule = Schedule(tuple(found))
        study.teller.write("schedule.json", schedule.to_json())
        _say(study, schedule)
        study.export(schedule)
        return schedule


def _open(study: Study, phase: PhaseRecipe, base: BaseRecipe, seen: Counter[str]) -> Study:
    return Study(
        study.recipe.for_phase(phase, base, seen),
        study.output / "phases" / phase.name,
        cache=study.cache,
        device=study.device,
        run_code=study.run_code,
        observers=study.observers,
    )


def _carry_on(study: Study, proposal: Proposal, later: PhaseRecipe) -> PretrainedBase:
    """The phase's base, trained on for a while on what was proposed: where the next one begins."""
    tokens = later.base_tokens or study.recipe.training.tokens
    folder = study.laboratory.continue_base(later.name, proposal.ratios, tokens)
    return PretrainedBase(kind="pretrained", path=str(folder), context=study.recipe.base.context)


def _say(study: Study, schedule: Schedule) -> None:
    study.teller.say(f"Schedule over {schedule.tokens:,.0f} tokens")
    for domain in schedule.domains:
        shares = "  ".join(
            f"{phase.name} {phase.proposal.ratios[domain]:>7.2%}" for phase in schedule.phases
        )
        study.teller.say(f"  {domain:<16}{shares}  whole run {schedule.ratios[domain]:>7.2%}")
