"""A schedule: the proposals of consecutive phases of one target run."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from mixopt.errors import ArgumentTypeError, ExportError, one_line, require_type
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

    Raises:
        ExportError: There is no phase, or phases differ in their domains, share a name, or have one that
            is no name of a file.
        ArgumentTypeError: A phase is no `Phase`, or a limit is no number.
    """

    phases: tuple[Phase, ...]
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.phases, Phase) or not isinstance(self.phases, Iterable):
            raise ArgumentTypeError(
                f"phases is a {type(self.phases).__name__}; give a list of Phase."
            )
        object.__setattr__(self, "phases", tuple(self.phases))
        for phase in self.phases:
            require_type("A phase", phase, Phase, "give mixopt.Phase(name, proposal)")
        if not self.phases:
            raise ExportError("A schedule has no phase; give at least one.")
        alone = len(self.phases) == 1
        for phase in self.phases:
            is_name = isinstance(phase.name, str) and NAME.fullmatch(phase.name)
            if not is_name and not (alone and phase.name == ""):  # names become file names
                raise ExportError(
                    f"{phase.name!r} is no name of a phase; give letters, digits, _, : or -."
                )
        counts = Counter(phase.name for phase in self.phases)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ExportError(
                f"Two phases have one name, {repeated[0]!r}; give each a name of its own."
            )
        if len({frozenset(phase.proposal.ratios) for phase in self.phases}) > 1:
            raise ExportError(
                "The phases have different domains; give each all domains, 0 where it reads none."
            )
        limits = Budget(1, {}, self.max_repetition)
        object.__setattr__(self, "max_repetition", limits.max_repetition)

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
        if not all(phase.name for phase in phases):
            raise ValueError("'' is no name of a phase")
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
