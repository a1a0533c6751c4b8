"""Compare the mixture that a config draws with the plan it was exported from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixopt.errors import ExportError, did_you_mean
from mixopt.exporters.export import find_format, make_request
from mixopt.exporters.request import ExportPhase, Options, ParsedMixture, positive, require_length
from mixopt.mixture import MixtureLike
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule

SUM_TOLERANCE = 1e-5
"""Allowed distance from one of the sum of weights that a trainer does not normalize."""


@dataclass(frozen=True)
class CheckedPhase:
    """One phase of a config beside the plan, in token ratios.

    Attributes:
        phase: Name of the phase; empty for a single mixture.
        written: What the config draws, by domain.
        proposed: What the plan proposes, by domain.
        total: Sum of the weights in the config.
        notes: Warnings for the user.
    """

    phase: str
    written: Mapping[str, float]
    proposed: Mapping[str, float]
    total: float
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> dict[str, float]:
        """Written minus proposed, by domain."""
        return {name: self.written[name] - self.proposed[name] for name in self.proposed}

    @property
    def largest(self) -> float:
        """Largest absolute difference."""
        return max(map(abs, self.differences.values()))


def check_config(
    plan: "Proposal | Schedule | MixtureLike",
    format: str,
    text: str,
    *,
    options: Options | None = None,
    **arguments: Any,
) -> list[CheckedPhase]:
    """Return what a config draws of each domain beside what `plan` proposes, phase by phase.

    Args:
        plan: The exported proposal or schedule.
        format: As given to `export`.
        text: The config, as exported or edited by hand.
        options: Of the format, as given to `export`.
        arguments: `paths`, which map those in the config to domains, `budget_tokens` and
            `tokens_per_document`, as given to `export`.

    Raises:
        ExportError: The text is not of this format, or draws data of an unknown domain.
    """
    target = find_format(format, options or {})
    if target.read is None:
        raise ExportError(f"The format {format!r} cannot be read back; give it a reader.")
    request = make_request(plan, options=options or {}, **arguments)
    mixtures = list(target.read(text, options or {}))
    if len(mixtures) != len(request.phases):
        raise ExportError(
            f"The file has {len(mixtures)} phases and the plan {len(request.phases)}; check it "
            "against the plan that it was written from."
        )
    return [
        _compare(mixture, phase, request.domain_of_path, target.sums_to_one)
        for mixture, phase in zip(mixtures, request.phases, strict=True)
    ]


def _compare(
    mixture: ParsedMixture,
    phase: ExportPhase,
    domain_of_path: Mapping[str, str],
    sums_to_one: bool,
) -> CheckedPhase:
    weights = dict.fromkeys(phase.ratios, 0.0)
    unused: list[str] = []
    for name, weight in mixture.weights.items():
        domain = domain_of_path.get(name, name)
        if domain not in weights and weight == 0:
            unused.append(name)
            continue
        if domain not in weights:
            raise ExportError(
                f"The file draws from {name!r}, which is no domain's path; give the paths that it was "
                f"written with. {did_you_mean(name, domain_of_path or weights)}"
            )
        weights[domain] += weight
    total = sum(weights.values())
    if not total > 0:
        raise ExportError("The weights of the file sum to zero; give one domain a weight above 0.")
    notes = []
    if unused:
        notes.append(
            f"{', '.join(unused)}: weight 0 and no domain, so nothing is drawn from it (validation, say)"
        )
    if sums_to_one and abs(total - 1) > SUM_TOLERANCE:
        notes.append(
            f"the weights sum to {total:.6f}, and this trainer does not normalize them: make them "
            "sum to 1"
        )
    if mixture.unit == "documents":
        lengths = phase.proposal.tokens_per_document
        for domain in positive(weights):
            require_length(domain, lengths)
        weights = {domain: n * lengths.get(domain, 0.0) for domain, n in weights.items()}
    tokens = sum(weights.values())
    written = {domain: weight / tokens for domain, weight in weights.items()}
    name = phase.name or mixture.phase
    return CheckedPhase(name, written, dict(phase.proposal.ratios), total, tuple(notes))
