"""What to do after a command on a study, in one sentence."""

from collections.abc import Collection, Sequence
from pathlib import Path

from mixopt.config.study import StudyConfig
from mixopt.proposal import Proposal


def describe_next_step(
    config: StudyConfig,
    proposals: Sequence[Proposal],
    files: Collection[str],
    *,
    study: str,
    output: Path,
) -> str:
    """Return what to do next; empty where nothing follows.

    Args:
        config: The study's.
        proposals: What the command has proposed, best first; of the last phase, if there are phases.
        files: Names of the result files that the command has written.
        study: How a command line names the study, with the options that it needs; empty for users of
            Python.
        output: Folder of results.
    """
    if not proposals:
        follows = "mixopt propose" if "trials.csv" in files else "mixopt search"
        return f"{follows} {study}" if study else ""
    decision = proposals[0].decision
    if decision is not None and not decision.moves:
        if decision.advice:
            return decision.advice
        if config.budget is None and not config.phases:
            return f"train on natural, or: mixopt run {study or 'STUDY'} --budget-tokens N, to know more"
        return "train on natural; a larger budget would tell more"
    if "report.html" not in files and "schedule.json" not in files:
        asked = {"validation": config.validation, "budget": config.budget}
        left = [name for name, section in asked.items() if section is not None]
        trains = f"trains what is left of its {' and '.join(left)}, and " * bool(left)
        return f"mixopt run {study or 'STUDY'} {trains}writes the report and the exports"
    if "exports" in files:
        return "read the report, then train with what exports/ has"
    plan = "schedule.json" if "schedule.json" in files else "proposal.json"
    return f"read the report, then: mixopt export {output / plan} -f FORMAT -o FILE"
