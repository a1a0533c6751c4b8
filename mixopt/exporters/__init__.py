"""Exporters: a proposal as the config of a trainer. One file per trainer, one line in the table.

Ratios of tokens and ratios of documents are two things. mixopt proposes ratios of tokens; where a
trainer draws documents, an exporter converts with the measured tokens per document and refuses
where they are not known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from mixopt.errors import ExportError, did_you_mean
from mixopt.files import write_text
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal

FORMATS = {
    "hf-datasets": "mixopt.exporters.hf_datasets:export_hf_datasets",
    "json": "mixopt.exporters.plain:export_json",
    "megatron": "mixopt.exporters.megatron:export_megatron",
    "megatron-per-split": "mixopt.exporters.megatron:export_megatron_per_split",
    "yaml": "mixopt.exporters.plain:export_yaml",
}
"""One line per format; `package.module:function` names one of the user's own."""

DECIMALS = 6
"""Digits of a written ratio; the last of them is apportioned so that the sum is exactly one."""


@dataclass(frozen=True)
class ExportRequest:
    """What an exporter is given.

    Attributes:
        proposal: The proposal.
        ratios: Its ratios of tokens, rounded so that they sum to exactly one.
        paths: Where the trainer finds each domain, by domain.
        options: What only this format takes, by name.
    """

    proposal: Proposal
    ratios: Mapping[str, float]
    paths: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

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

    def document_ratios(self) -> dict[str, float]:
        """The ratios as shares of documents: token share ÷ tokens per document, renormalised.

        Raises:
            ExportError: The tokens per document of some domain are not known.
        """
        known = self.proposal.tokens_per_document
        missing = [name for name, ratio in self.ratios.items() if ratio and name not in known]
        if missing:
            raise ExportError(
                f"This trainer draws documents, and the tokens per document of {missing[0]!r} are "
                "not known; measure them (a study does) or pass tokens_per_document."
            )
        shares = {n: ratio / known[n] if ratio else 0.0 for n, ratio in self.ratios.items()}
        return round_ratios(Mixture.normalised(shares))


Exporter = Callable[[ExportRequest], str]


def export(
    proposal: Proposal,
    format: str,
    *,
    paths: Mapping[str, str] | str | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> str:
    """The config of a trainer that draws data as `proposal` says; written to `out` if given.

    Args:
        proposal: The proposal.
        format: One of `FORMATS`, or `package.module:function`.
        paths: Where the trainer finds each domain: by domain, or one pattern with `{domain}`.
        out: File to write; it appears whole or not at all.
        options: What only this format takes.

    Raises:
        ExportError: The format is unknown, or the trainer cannot be told this proposal.
    """
    exporter = _find_exporter(format)
    domains = list(proposal.ratios)
    found = _resolve_paths(paths, domains)
    ratios = round_ratios(proposal.ratios)
    text = exporter(ExportRequest(proposal, ratios, found, options))
    if not isinstance(text, str):
        raise ExportError(
            f"The export format {format!r} returned {type(text).__name__}; it must return text."
        )
    if out is not None:
        write_text(Path(out), text)
    return text


def check_export(
    format: str, domains: Sequence[str], paths: Mapping[str, str] | str | None
) -> None:
    """Raises `ExportError` where an export that is asked for can be known to fail."""
    _find_exporter(format)
    _resolve_paths(paths, domains)


def _resolve_paths(
    paths: Mapping[str, str] | str | None, domains: Sequence[str]
) -> Mapping[str, str]:
    if isinstance(paths, str):
        if "{domain}" not in paths:
            raise ExportError(f"The path pattern {paths!r} lacks {{domain}}; add it.")
        return {domain: paths.replace("{domain}", domain) for domain in domains}
    for domain, path in (paths or {}).items():
        if domain not in domains:
            raise ExportError(
                f"Paths name {domain!r}, which is no domain of this proposal. "
                f"{did_you_mean(domain, domains)}"
            )
        if not path:
            raise ExportError(f"The path of {domain!r} is empty; give one.")
    return paths or {}


def _find_exporter(format: str) -> Exporter:
    target = FORMATS.get(format, format)
    if ":" not in target:
        raise ExportError(
            f"No export format is called {format!r}. {did_you_mean(format, FORMATS)} "
            "A format of your own is named package.module:function."
        )
    module, _, name = target.partition(":")
    try:
        exporter = getattr(import_module(module), name)
    except Exception as error:  # a user's own module may fail in any way while it is imported
        raise ExportError(f"The export format {format!r} cannot be loaded ({error}).") from error
    if not callable(exporter):
        raise ExportError(f"The export format {format!r} is no function; name one.")
    return cast(Exporter, exporter)


def round_ratios(ratios: Mapping[str, float], decimals: int = DECIMALS) -> dict[str, float]:
    """Ratios rounded to `decimals` digits that sum to exactly one (largest remainder)."""
    names, unit = list(ratios), 10**decimals
    exact = np.array([ratios[name] for name in names]) * unit
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = unit - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return {name: int(count) / unit for name, count in zip(names, counts, strict=True)}


def largest_drift(ratios: Mapping[str, float], written: Mapping[str, float]) -> float:
    """How far rounding moved the ratio that it moved most."""
    return max(abs(ratios[name] - written[name]) for name in ratios)


def format_ratio(ratio: float) -> str:
    """A ratio in plain decimals, as any trainer's parser reads it."""
    return f"{ratio:.{DECIMALS}f}".rstrip("0").rstrip(".")
