"""A schedule: proposals one after the other, each for its part of one target run."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixopt.errors import ExportError
from mixopt.io.parsing import load_json, tell
from mixopt.mixture import Budget, Mixture
from mixopt.proposal import Proposal

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]*")


@dataclass(frozen=True)
class Phase:
    """A part of the target run on one mixture.

    Attributes:
        name: `stable`, `anneal`, ...
        proposal: The mixture, with the budget of this part.
    """

    name: str
    proposal: Proposal

    @property
    def tokens(self) -> float:
        """That it reads.

        Raises:
            ExportError: The proposal has no budget.
        """
        if self.proposal.budget is None:
            raise ExportError(
                f"Phase {self.name!r} has no token budget, so where it begins and ends is not known."
            )
        return self.proposal.budget.tokens


@dataclass(frozen=True)
class Schedule:
    """The phases of a target run, in order; domains are the same in all.

    Attributes:
        phases: One or more.
        max_repetition: How often the whole run may see a token of each domain; where nothing is
            said each phase's own budget alone counts.
    """

    phases: tuple[Phase, ...]
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """Of every phase."""
        return tuple(self.phases[0].proposal.ratios)

    @property
    def tokens(self) -> float:
        """Of the whole run."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def ratios(self) -> Mixture:
        """Shares of tokens of the whole run."""
        read: Counter[str] = Counter()
        for phase in self.phases:
            for domain, ratio in phase.proposal.ratios.items():
                read[domain] += ratio * phase.tokens  # type: ignore[assignment]
        return Mixture.normalised(dict(read))

    def to_json(self) -> str:
        """The schedule as JSON text."""
        phases = [
            {"name": phase.name, "proposal": json.loads(phase.proposal.to_json())}
            for phase in self.phases
        ]
        told = {"phases": phases, "max_repetition": dict(self.max_repetition)}
        return json.dumps(told, indent=2) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Schedule":
        """The schedule that `to_json` wrote.

        Raises:
            ValueError: There is no phase, or phases differ in their domains or share a name.
        """
        phases = tuple(
            Phase(str(row["name"]), Proposal.from_dict(row["proposal"])) for row in plain["phases"]
        )
        if not phases:
            raise ValueError("it has no phase")
        for phase in phases:
            if not NAME.fullmatch(phase.name):  # names become file names
                raise ValueError(f"{phase.name!r} is no name of a phase")
        if len({phase.name for phase in phases}) < len(phases):
            raise ValueError("two phases have one name")
        if len({frozenset(phase.proposal.ratios) for phase in phases}) > 1:
            raise ValueError("its phases have different domains")
        limits = Budget.from_dict({"tokens": 1, "max_repetition": plain.get("max_repetition", {})})
        return cls(phases, limits.max_repetition)


def read_plan(path: str | Path) -> Proposal | Schedule:
    """The proposal or the schedule in a JSON file that mixopt wrote.

    Raises:
        ExportError: The file does not exist or holds neither.
    """
    file = Path(path)
    try:
        plain = load_json(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return Proposal.read(file)  # which says what is wrong
    if not isinstance(plain, dict) or "phases" not in plain:
        return Proposal.read(file)
    try:
        return Schedule.from_dict(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"{file} is not a schedule that mixopt wrote ({tell(error)}); give a schedule.json or a "
            "proposal.json."
        ) from None
