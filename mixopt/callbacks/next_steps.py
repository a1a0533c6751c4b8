"""What to do after a command on a study, in one sentence."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from mixopt.config.study import StudyConfig
from mixopt.decision import NEAREST_ALLOWED, Decision
from mixopt.proposal import Proposal

LEFT = 1.5
"""Runs that a budget has to have left to have ended before its tokens did: runs are trained for whole
steps, a little more or less than they count."""


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
    # phases have a schedule, whatever the last one advises
    if decision is not None and not decision.moves and not config.phases:
        spent = "report.html" in files or "runs.csv" in files or (output / "runs.csv").exists()
        step = _describe_staying(config, decision, study or "STUDY", spent=spent)
        if not decision.learning:  # of a table, of which a study's budget trains nothing
            return decision.advice or step
        return f"{step}. {decision.advice}" if decision.advice else step
    if "report.html" not in files and "schedule.json" not in files:
        asked = {"validation": config.validation, "budget": config.budget}
        left = [name for name, section in asked.items() if section is not None]
        trains = f"trains what is left of its {' and '.join(left)}, and " * bool(left)
        return f"mixopt run {study or 'STUDY'} {trains}writes the report and the exports"
    if "exports" in files:
        return "read the report, then train with what exports/ has"
    plan = "schedule.json" if "schedule.json" in files else "proposal.json"
    return (
        f"read the report, then: mixopt export {shlex.quote(str(output / plan))} -f FORMAT -o FILE"
    )


def _describe_staying(config: StudyConfig, decision: Decision, study: str, *, spent: bool) -> str:
    """Return what to do where the reference is kept.

    Args:
        config: The study's.
        decision: Does not move.
        study: How a command line names the study.
        spent: Whether the study's budget was spent.
    """
    reference = decision.reference
    kept = f"the {reference} mixture" if reference == NEAREST_ALLOWED else reference
    if config.budget is None:
        return f"train on {kept}, or: mixopt run {study} --budget-tokens N, to know more"
    if not spent:
        return f"train on {kept}, or: mixopt spend {study}, to know more"
    if _ended_early(config, decision):
        return f"train on {kept}; no further run promises enough for a larger budget to buy it"
    return f"train on {kept}; a larger budget makes the answer more certain"


def _ended_early(config: StudyConfig, decision: Decision) -> bool:
    """Return whether a budget that was spent had tokens left for a run, and did not buy it."""
    if not decision.runs or not decision.learning or not decision.next_runs:
        return False
    left = config.budget_tokens - decision.learning[-1].tokens
    return left > LEFT * min(run.price for run in decision.next_runs)
