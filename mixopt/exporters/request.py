"""The types that exporters share: the request, the mixture parsed from a config, and the format."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from mixopt.errors import ExportError, MissingPathError
from mixopt.exporters.config_io import dump_yaml
from mixopt.exporters.paths import PathsByDomain, expand_globs, split_by_size
from mixopt.exporters.rounding import DECIMALS, apportion_counts, round_ratios
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal

log = logging.getLogger(__name__)

DOCUMENT_DECIMALS = 12
"""Decimals of document ratios: a few long documents can hold a large share of the tokens."""

RatioUnit = Literal["tokens", "documents"]
Options = Mapping[str, Any]
"""Options of a format by name."""


@dataclass(frozen=True)
class ExportPhase:
    """One phase of the exported plan; a single proposal is one phase.

    Attributes:
        name: Empty for a single proposal.
        proposal: Proposal of this phase.
        ratios: Token ratios, rounded so that they sum to exactly one.
        first_token: Token of the target run at which the phase starts.
        tokens: Tokens of the phase; None without a token budget.
    """

    name: str
    proposal: Proposal
    ratios: Mapping[str, float]
    first_token: float = 0
    tokens: float | None = None


@dataclass(frozen=True)
class ExportRequest:
    """The input of an exporter.

    Attributes:
        phases: In order; exactly one unless the format takes several.
        paths: Data path by domain; a tuple where there are several.
        options: Options of this format by name.
        repetition: How often the whole run reads each domain whose size is known.
        max_repetition: The limits of `repetition`, where there are any.
        tokens_before: Tokens of each domain that the files of earlier phases read.
    """

    phases: tuple[ExportPhase, ...]
    paths: PathsByDomain
    options: Options = field(default_factory=dict)
    repetition: Mapping[str, float] = field(default_factory=dict)
    max_repetition: Mapping[str, float] = field(default_factory=dict)
    tokens_before: Mapping[str, float] = field(default_factory=dict)

    @property
    def proposal(self) -> Proposal:
        """Proposal of the first phase."""
        return self.phases[0].proposal

    @property
    def ratios(self) -> Mapping[str, float]:
        """Rounded token ratios of the first phase."""
        return self.phases[0].ratios

    @property
    def drift(self) -> float:
        """Largest absolute change that rounding made to a ratio."""
        return max(
            abs(phase.proposal.ratios[name] - ratio)
            for phase in self.phases
            for name, ratio in phase.ratios.items()
        )

    def path_of(self, domain: str) -> str:
        """Return the path of `domain`.

        Raises:
            ExportError: It has none, or several.
        """
        paths = self.paths_of(domain)
        if len(paths) > 1:
            raise ExportError(
                f"Domain {domain!r} has {len(paths)} paths and a config of this format takes one; give "
                "a folder, or one path that holds all of it."
            )
        return paths[0]

    def paths_of(self, domain: str) -> list[str]:
        """Return the paths of `domain` as they were given.

        Raises:
            ExportError: It has none.
        """
        if domain not in self.paths:
            raise MissingPathError(domain)
        given = self.paths[domain]
        return [given] if isinstance(given, str) else list(given)

    @cached_property
    def _splits(self) -> dict[tuple[str, bool], dict[str, float]]:
        return {}

    def split_of(self, domain: str, *, expand: bool = False) -> dict[str, float]:
        """Return what share of `domain` each of its paths gets, and log it where there are several.

        Args:
            domain: One of the domains.
            expand: Replace globs by what they match, for trainers that expand none.

        Raises:
            ExportError: It has no path, or a glob matches nothing.
        """
        if (domain, expand) not in self._splits:
            given = self.paths_of(domain)
            paths = expand_globs(given, domain) if expand else given
            shares, by_size = split_by_size(paths)
            if len(shares) > 1:
                how = "by their sizes" if by_size else "evenly: their sizes are not known here"
                log.info("The share of %s is split among %d paths, %s.", domain, len(shares), how)
            self._splits[domain, expand] = shares
        return self._splits[domain, expand]

    def split(
        self, ratios: Mapping[str, float], decimals: int = DECIMALS, *, expand: bool = False
    ) -> dict[str, dict[str, float]]:
        """Return the positive ratios by domain and path; those of a domain sum to its ratio.

        Args:
            ratios: Rounded to `decimals`, by domain.
            decimals: Of the result.
            expand: As for `split_of`.
        """
        parts: dict[str, dict[str, float]] = {}
        for domain, ratio in positive(ratios).items():
            shares = self.split_of(domain, expand=expand)
            if len(shares) == 1:
                parts[domain] = dict.fromkeys(shares, ratio)
                continue
            unit = 10**decimals
            counts = apportion_counts(shares, round(ratio * unit))
            parts[domain] = {path: count / unit for path, count in counts.items() if count}
        return parts

    def weights_by_path(
        self, ratios: Mapping[str, float] | None = None, *, expand: bool = True
    ) -> dict[str, float]:
        """Return the positive ratios (by default those of the first phase) by path."""
        parts = self.split(self.ratios if ratios is None else ratios, expand=expand)
        return {path: ratio for split in parts.values() for path, ratio in split.items()}

    def weights_by_key(
        self, ratios: Mapping[str, float], decimals: int = DECIMALS
    ) -> dict[str, tuple[str, float]]:
        """Return path and ratio by domain; of a domain with several paths or matches of a glob, by path.

        Args:
            ratios: Rounded to `decimals`, by domain.
            decimals: Of the result.
        """
        return {
            domain if len(split) == 1 else path: (path, ratio)
            for domain, split in self.split(ratios, decimals, expand=True).items()
            for path, ratio in split.items()
        }

    @property
    def domain_of_path(self) -> dict[str, str]:
        """Domain by each of its paths, globs as they were given and as they match here."""
        found: dict[str, str] = {}
        for domain in self.paths:
            given = self.paths_of(domain)
            found |= dict.fromkeys(given, domain)
            with suppress(ExportError):  # a glob that matches nothing here
                found |= dict.fromkeys(expand_globs(given, domain), domain)
        return found

    def document_ratios(self) -> dict[str, float]:
        """Return document ratios: token ratio / tokens per document, normalized.

        Raises:
            ExportError: The tokens per document of a domain are unknown.
        """
        known = self.proposal.tokens_per_document
        # a ratio that rounds to zero tokens gets no documents either
        exact = {name: r if self.ratios[name] else 0.0 for name, r in self.proposal.ratios.items()}
        for domain in positive(exact):
            require_length(domain, known)
        shares = {name: r / known[name] if r else 0.0 for name, r in exact.items()}
        rounded = round_ratios(Mixture.normalised(shares), DOCUMENT_DECIMALS)
        for domain, share in rounded.items():
            if exact[domain] and not share:
                raise ExportError(
                    f"The share of {domain!r} is below one document in 10^{DOCUMENT_DECIMALS}; "
                    "leave it out of the mixture, or split its documents into shorter ones."
                )
        return rounded

    def first_steps(self, tokens_per_step: int, stride: int, too_short: str) -> list[int]:
        """Return the training step at which each phase starts, from 0.

        Args:
            tokens_per_step: Tokens that the trainer reads per step.
            stride: Steps are rounded to multiples of it.
            too_short: Message of the error where two phases start at the same step.

        Raises:
            ExportError: Two phases start at the same step.
        """
        starts = [phase.first_token / tokens_per_step / stride for phase in self.phases]
        steps = [round(start) * stride for start in starts]
        if sorted(set(steps)) != steps:
            raise ExportError(too_short)
        return steps

    def int_option(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """Return the option `name` as an integer of at least `least`.

        Raises:
            ExportError: The option is missing without a default, or is no such integer.
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

    def bool_option(self, name: str) -> bool:
        """Return the option `name`, by default False.

        Raises:
            ExportError: It is no boolean.
        """
        given = str(self.options.get(name, False)).lower()
        if given not in ("true", "false"):
            raise ExportError(f"Option {name!r} is {given!r}; give true or false.")
        return given == "true"

    def comment(self) -> str:
        """Return comment lines that state the token ratios and the repetition of each domain."""
        lines = []
        for phase in self.phases:
            name = f" ({phase.name})" if phase.name else ""
            listed = ", ".join(f"{domain} {ratio:.9g}" for domain, ratio in phase.ratios.items())
            source = "proposed by mixopt" if phase.proposal.predicted else "as it was given"
            lines.append(f"Data mixture {source}, shares of tokens{name}: {listed}")
            if not phase.proposal.is_advised:
                lines.append(f"Not advised: {phase.proposal.verdict}")
        if self.repetition:
            budget = sum(phase.tokens or 0 for phase in self.phases)
            listed = ", ".join(f"{domain} {n:.2f}" for domain, n in self.repetition.items())
            lines.append(f"Times that {budget:,.0f} tokens read each: {listed}")
        # domain names are untrusted: a line break would end the comment
        printable = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
        return "".join(f"# {line}\n" for line in printable)

    def to_yaml(self, config: Mapping[str, Any], note: str = "") -> str:
        """Return the comment, then `note` (comment lines), then `config` as YAML."""
        return self.comment() + note + dump_yaml(config)

    def to_python(
        self, template: str, ratios: Mapping[str, float], *, by_path: bool = False, **fields: Any
    ) -> str:
        """Return `template` with `{header}`, `{paths}`, `{weights}` and `fields` filled in.

        Args:
            template: Text of a Python module, for `str.format`; of a domain with several paths it gets a
                list.
            ratios: Weights by domain; zeros are left out.
            by_path: Split the weight of a domain with several paths, also of a glob; they are keys then.
            fields: Values of further placeholders.
        """
        weights = positive(ratios)
        several = {domain: self.paths_of(domain) for domain in weights}
        paths: dict[str, Any] = {d: p[0] if len(p) == 1 else p for d, p in several.items()}
        if by_path:
            keyed = self.weights_by_key(ratios)
            paths = {key: path for key, (path, _) in keyed.items()}
            weights = {key: weight for key, (_, weight) in keyed.items()}
        literals = {"paths": _dump_literal(paths), "weights": _dump_literal(weights)}
        return template.format(header=self.comment(), **literals, **fields)


@dataclass(frozen=True)
class ParsedMixture:
    """The mixture that a config states for one phase.

    Attributes:
        weights: By path or domain name, whichever the config uses.
        unit: Whether weights are shares of tokens or of documents.
        phase: Name of the phase; empty in a config of a single mixture.
    """

    weights: Mapping[str, float]
    unit: RatioUnit = "tokens"
    phase: str = ""


@dataclass(frozen=True)
class ExportFormat:
    """The data config of one trainer.

    Attributes:
        write: Returns the config text for a request.
        read: Parses such a text, given the options it was written with, into one mixture per phase;
            None for a format that cannot be read back.
        options: Names of the options that `write` accepts; `*` accepts any.
        phases: Whether one file can hold several phases.
        cumulative: Whether the file of one phase also holds the phases before it.
        sums_to_one: Whether the trainer uses weights without normalizing them.
    """

    write: Callable[[ExportRequest], str]
    read: Callable[[str, Options], Sequence[ParsedMixture]] | None = None
    options: tuple[str, ...] = ()
    phases: bool = False
    cumulative: bool = False
    sums_to_one: bool = False


def positive(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios above zero.

    Args:
        ratios: By domain.
    """
    return {domain: ratio for domain, ratio in ratios.items() if ratio > 0}


def require_length(domain: str, tokens_per_document: Mapping[str, float]) -> None:
    """Check that the tokens per document of a domain are known.

    Args:
        domain: Whose share is converted.
        tokens_per_document: By domain.

    Raises:
        ExportError: They are not.
    """
    if domain not in tokens_per_document:
        raise ExportError(
            f"This trainer draws documents, and the tokens per document of {domain!r} are not known; "
            "measure them (a study does) or give tokens_per_document "
            f"(--tokens-per-document {domain}=N)."
        )


def _dump_literal(mapping: Mapping[str, object]) -> str:
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in mapping.items())
    return "{\n" + lines + "}"
