"""A schedule: the proposals of consecutive phases of one target run."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from mixopt.errors import ExportError, one_line
from mixopt.io.files import write_text
from mixopt.io.parsing import load_json
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal, warn_if_edited
from mixopt.token_budget import Budget

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]*")


@dataclass(frozen=True)
class Phase:
    """A part of the target run with one mixture.

    Attributes:
        name: Name such as `stable` or `anneal`.
        proposal: The mixture, with the token budget of this part.
    """

    name: str
    proposal: Proposal

    @property
    def tokens(self) -> float:
        """Tokens of the phase.

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
    """The phases of a target run, in order, over the same domains.

    Attributes:
        phases: One phase or more.
        max_repetition: Most times that the whole run may read a token, by domain; a domain left out
            is limited by the budgets of the phases alone.
    """

    phases: tuple[Phase, ...]
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of every phase."""
        return tuple(self.phases[0].proposal.ratios)

    @property
    def tokens(self) -> float:
        """Tokens of the whole run."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def ratios(self) -> Mixture:
        """Ratios of the tokens of the whole run."""
        read: Counter[str] = Counter()
        for phase in self.phases:
            for domain, ratio in phase.proposal.ratios.items():
                read[domain] += ratio * phase.tokens  # type: ignore[assignment]
        return Mixture.normalised(dict(read))

    def to_json(self) -> str:
        """Return the schedule as JSON text."""
        phases = [
            {"name": each.name, "proposal": json.loads(each.proposal.to_json())}
            for each in self.phases
        ]
        plain = {"phases": phases, "max_repetition": dict(self.max_repetition)}
        return json.dumps(plain, indent=2) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the schedule as JSON, which `mixopt export` takes.

        Args:
            path: The file; folders above it are created.

        Returns:
            The path of the file.

        Raises:
            OutputError: The file cannot be written.
        """
        return write_text(Path(path), self.to_json())

    def __repr__(self) -> str:
        return f"Schedule({'; '.join(_describe(phase) for phase in self.phases)})"

    def _repr_html_(self) -> str:
        import pandas as pd

        columns = {_describe(p, ratios=False): dict(p.proposal.ratios) for p in self.phases}
        table = pd.DataFrame(columns)
        pairs = [(escape(p.name), escape(p.proposal.verdict)) for p in self.phases]
        verdicts = "".join(f"<li>{name}: {verdict}</li>" for name, verdict in pairs)
        html = table.reindex(list(self.domains)).to_html(float_format="{:.4g}".format)
        return f"<b>Schedule</b>{html}<ul>{verdicts}</ul>"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Schedule":
        """Return the schedule that `to_json` wrote.

        Args:
            plain: The fields, from an untrusted file.

        Raises:
            ValueError: There is no phase, or phases differ in their domains or share a name.
        """
        rows = plain["phases"]
        phases = tuple(Phase(str(row["name"]), Proposal.from_dict(row["proposal"])) for row in rows)
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


def _describe(phase: Phase, *, ratios: bool = True) -> str:
    budget = phase.proposal.budget
    size = f" ({budget.tokens:.3g} tokens)" if budget else ""
    inside = ", ".join(f"{domain}: {r:.4g}" for domain, r in phase.proposal.ratios.items())
    return f"{phase.name}{size}{': ' + inside if ratios else ''}"


def read_plan(path: str | Path) -> Proposal | Schedule:
    """Return the proposal or the schedule in a JSON file that mixopt wrote.

    Args:
        path: A `proposal.json` or a `schedule.json`.

    Raises:
        ExportError: The file does not exist or is neither.
    """
    file = Path(path)
    try:
        plain = load_json(file.read_text(encoding="utf-8-sig"))  # of Notepad
    except (ValueError, OSError):
        return Proposal.read(file)  # raises an error that names the defect
    if not isinstance(plain, dict) or "phases" not in plain:
        return Proposal.read(file)
    try:
        schedule = Schedule.from_dict(plain)
        for phase in plain["phases"]:
            warn_if_edited(phase["proposal"], f"{file}, phase {phase['name']}")
        return schedule
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"{file} is not a schedule that mixopt wrote ({one_line(error)}); give a schedule.json or a "
            "proposal.json."
        ) from None
