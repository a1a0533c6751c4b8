"""Checking: a config read back, and what it draws beside what was proposed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixopt.errors import ExportError, did_you_mean
from mixopt.exporters.export import Paths, check_options, find_format, make_request
from mixopt.exporters.request import ExportRequest, Part, Reading
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule

SUM_TOLERANCE = 1e-5
"""By which weights that a trainer takes as they are may miss one."""


@dataclass(frozen=True)
class Checked:
    """One phase of a config, in ratios of tokens.

    Attributes:
        phase: Its name; empty where there is one alone.
        written: What the config draws, by domain.
        proposed: What was proposed.
        total: Sum of the weights as they stand.
        notes: What a reader should know.
    """

    phase: str
    written: Mapping[str, float]
    proposed: Mapping[str, float]
    total: float
    notes: tuple[str, ...] = field(default=())

    @property
    def differences(self) -> dict[str, float]:
        """Written minus proposed, by domain."""
        return {name: self.written[name] - self.proposed[name] for name in self.proposed}

    @property
    def largest(self) -> float:
        """The largest difference, without its sign."""
        return max(map(abs, self.differences.values()))


def check_config(
    plan: Proposal | Schedule,
    format: str,
    text: str,
    *,
    paths: Paths = None,
    options: Mapping[str, Any] | None = None,
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
) -> list[Checked]:
    """What a config draws of each domain, phase by phase, beside `plan`.

    Args:
        plan: What was exported.
        format: As it was exported.
        text: The config, exported or mended by hand.
        paths: As they were given to `export`: they say which domain a path is.
        options: As they were given to `export`.
        budget_tokens: As it was given to `export`.
        tokens_per_document: As it was given to `export`.

    Raises:
        ExportError: The text is not of this format, or names data that is no domain's.
    """
    found = find_format(format)
    if found.read is None:
        raise ExportError(f"The format {format!r} cannot be read back; give it a reader.")
    check_options(format, found, options or {})
    request = make_request(plan, paths, options or {}, budget_tokens, tokens_per_document)
    readings = list(found.read(text, options or {}))
    if len(readings) != len(request.parts):
        raise ExportError(
            f"The file has {len(readings)} phases and the plan {len(request.parts)}; check it "
            "against what it was written from."
        )
    checked = []
    for reading, part in zip(readings, request.parts, strict=True):
        checked.append(_compare(reading, part, request, found.sums_to_one))
    return checked


def _compare(reading: Reading, part: Part, request: ExportRequest, as_they_are: bool) -> Checked:
    owners = {path: domain for domain, path in request.paths.items()}
    domains = list(part.ratios)
    weights = dict.fromkeys(domains, 0.0)
    for name, weight in reading.weights.items():
        domain = owners.get(name, name if name in domains else None)
        if domain is None:
            raise ExportError(
                f"The file draws from {name!r}, which is no domain's path; give the paths that it was "
                f"written with. {did_you_mean(name, owners or domains)}"
            )
        weights[domain] += weight
    total = sum(weights.values())
    if not total > 0:
        raise ExportError("The weights of the file sum to zero; a trainer could draw nothing.")
    notes = []
    if as_they_are and abs(total - 1) > SUM_TOLERANCE:
        notes.append(
            f"the weights sum to {total:.6f}, and this trainer takes them as they are: make them sum "
            "to 1"
        )
    if reading.unit == "documents":
        weights = _to_tokens(weights, part.proposal.tokens_per_document)
    total_weight = sum(weights.values())
    written = {domain: weight / total_weight for domain, weight in weights.items()}
    return Checked(
        part.name or reading.phase, written, dict(part.proposal.ratios), total, tuple(notes)
    )


def _to_tokens(weights: Mapping[str, float], lengths: Mapping[str, float]) -> dict[str, float]:
    for domain, weight in weights.items():
        if weight and domain not in lengths:
            raise ExportError(
                f"This trainer draws documents, and the tokens per document of {domain!r} are not "
                f"known; give them: --tokens-per-document {domain}=N."
            )
    return {domain: weight * lengths.get(domain, 0.0) for domain, weight in weights.items()}
