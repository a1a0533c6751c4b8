"""What an exporter is asked for, and what it is: a way to write a config and a way to read it back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mixopt.errors import ExportError
from mixopt.exporters.parsing import literal
from mixopt.exporters.rounding import largest_drift, round_ratios
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal

DOCUMENT_DECIMALS = 12
"""Digits of shares of documents: one of a long document may be a domain's whole share."""

Unit = Literal["tokens", "documents"]


@dataclass(frozen=True)
class Part:
    """One phase of what is exported; a proposal alone is one part.

    Attributes:
        name: Of the phase; empty where there is one alone.
        proposal: The proposal.
        ratios: Its ratios of tokens, rounded so that they sum to exactly one.
        first_token: Where it begins in the target run.
        tokens: That it reads; None where no budget is known.
    """

    name: str
    proposal: Proposal
    ratios: Mapping[str, float]
    first_token: float = 0
    tokens: float | None = None


@dataclass(frozen=True)
class ExportRequest:
    """What an exporter is given.

    Attributes:
        parts: The phases, in order; one where the format takes one.
        paths: Where the trainer finds each domain, by domain.
        options: What only this format takes, by name.
        seen: How often the whole run reads each domain, where that is known.
        max_repetition: How often it may, where that was limited.
    """

    parts: tuple[Part, ...]
    paths: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    @property
    def proposal(self) -> Proposal:
        """The proposal of the first part."""
        return self.parts[0].proposal

    @property
    def ratios(self) -> Mapping[str, float]:
        """Ratios of tokens of the first part."""
        return self.parts[0].ratios

    @property
    def drift(self) -> float:
        """How far rounding moved the ratio that it moved most."""
        return max(largest_drift(part.proposal.ratios, part.ratios) for part in self.parts)

    def path_of(self, domain: str) -> str:
        """The path of `domain`.

        Raises:
            ExportError: None was given.
        """
        if domain not in self.paths:
            raise ExportError(
                f"No path was given for domain {domain!r}; add it to paths (or use one pattern "
                "with {domain})."
            )
        return self.paths[domain]

    def used(self, ratios: Mapping[str, float]) -> dict[str, float]:
        """The ratios above zero by path, for trainers that take no zero."""
        return {self.path_of(domain): ratio for domain, ratio in ratios.items() if ratio > 0}

    def python_parts(self) -> dict[str, str]:
        """Header, paths and weights above zero, as a Python file has them; weights share out tokens."""
        weights = {domain: ratio for domain, ratio in self.ratios.items() if ratio > 0}
        return {
            "header": self.comment(),
            "paths": literal({domain: self.path_of(domain) for domain in weights}),
            "weights": literal(weights),
        }

    def document_ratios(self) -> dict[str, float]:
        """The ratios as shares of documents: token share ÷ tokens per document, renormalised.

        Raises:
            ExportError: The tokens per document of some domain are not known.
        """
        known = self.proposal.tokens_per_document
        # what is rounded away as tokens is no document either
        exact = {name: r if self.ratios[name] else 0.0 for name, r in self.proposal.ratios.items()}
        missing = [name for name, ratio in exact.items() if ratio and name not in known]
        if missing:
            raise ExportError(
                f"This trainer draws documents, and the tokens per document of {missing[0]!r} are "
                "not known; measure them (a study does) or give them: "
                f"--tokens-per-document {missing[0]}=N."
            )
        shares = {n: ratio / known[n] if ratio else 0.0 for n, ratio in exact.items()}
        rounded = round_ratios(Mixture.normalised(shares), DOCUMENT_DECIMALS)
        for domain, share in rounded.items():
            if shares[domain] and not share:
                raise ExportError(
                    f"{domain!r} would be less than one document in 10^{DOCUMENT_DECIMALS}; leave it "
                    "out of the mixture, or cut its documents into shorter ones."
                )
        return rounded

    def whole(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """The option `name` as a whole number, at least `least`.

        Raises:
            ExportError: It is missing and has no default, or is no such number.
        """
        given = self.options.get(name, default)
        if given is None:
            raise ExportError(f"This format needs the option {name!r}; give it: --option {name}=N.")
        try:
            number = int(str(given).replace("_", ""))
        except ValueError:
            number = least - 1
        if number < least:
            raise ExportError(f"Option {name!r} is {given!r}; give a whole number from {least} on.")
        return number

    def flag(self, name: str) -> bool:
        """The option `name` as yes or no; no if left out.

        Raises:
            ExportError: It is neither.
        """
        given = str(self.options.get(name, False)).lower()
        if given not in ("true", "false"):
            raise ExportError(f"Option {name!r} is {given!r}; give true or false.")
        return given == "true"

    @property
    def header(self) -> list[str]:
        """What a reader of the file should know: shares of tokens, and how often each is seen."""
        lines = []
        for part in self.parts:
            name = f" ({part.name})" if part.name else ""
            told = ", ".join(f"{domain} {ratio:.9g}" for domain, ratio in part.ratios.items())
            lines.append(f"Data mixture proposed by mixopt, shares of tokens{name}: {told}")
        if self.seen:
            budget = sum(part.tokens or 0 for part in self.parts)
            told = ", ".join(f"{domain} {times:.2f}" for domain, times in self.seen.items())
            lines.append(f"Times that {budget:,.0f} tokens read each: {told}")
        return lines

    def comment(self, mark: str = "#") -> str:
        """The header as a comment."""
        lines = ("".join(c if c.isprintable() else "?" for c in line) for line in self.header)
        return "".join(f"{mark} {line}\n" for line in lines)


@dataclass(frozen=True)
class Reading:
    """What a config says of one phase.

    Attributes:
        weights: By what the file calls a domain: its path, or its own name.
        unit: What the weights share out.
        phase: Its name; empty where there is one alone.
    """

    weights: Mapping[str, float]
    unit: Unit = "tokens"
    phase: str = ""


@dataclass(frozen=True)
class Format:
    """The config of one trainer.

    Attributes:
        write: Its text.
        read: What such a text says, given the options it was written with; None where nothing can
            read it back.
        options: Names of what `write` may be told.
        phases: Whether one file takes several phases.
        sums_to_one: Whether the trainer takes weights as they are, so that they must sum to one.
    """

    write: Callable[[ExportRequest], str]
    read: Callable[[str, Mapping[str, Any]], Sequence[Reading]] | None = None
    options: tuple[str, ...] = ()
    phases: bool = False
    sums_to_one: bool = False
