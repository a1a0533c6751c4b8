"""Exporters: a proposal as the config of a trainer. One file per trainer, one line in the table.

Ratios of tokens and ratios of documents are two things. mixopt proposes ratios of tokens; where a
trainer draws documents, an exporter converts with the measured tokens per document and refuses
where they are not known.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mixopt.errors import ExportError, did_you_mean
from mixopt.exporters.request import ExportRequest, Format, Part, Reading
from mixopt.exporters.rounding import format_ratio, largest_drift, round_ratios
from mixopt.io.files import write_text
from mixopt.io.parsing import tell
from mixopt.mixture import Budget, Mixture
from mixopt.proposal import Estimate, Proposal
from mixopt.schedule import Phase, Schedule

__all__ = [
    "FORMATS",
    "ExportRequest",
    "Format",
    "Part",
    "Reading",
    "check_export",
    "export",
    "export_phases",
    "find_format",
    "format_ratio",
    "largest_drift",
    "resolve_paths",
    "round_ratios",
]

FORMATS = {
    "axolotl": "mixopt.exporters.axolotl:AXOLOTL",
    "gpt-neox": "mixopt.exporters.gpt_neox:GPT_NEOX",
    "hf-datasets": "mixopt.exporters.hf_datasets:HF_DATASETS",
    "json": "mixopt.exporters.plain:JSON",
    "levanter": "mixopt.exporters.levanter:LEVANTER",
    "litdata": "mixopt.exporters.litdata:LITDATA",
    "llama-factory": "mixopt.exporters.llama_factory:LLAMA_FACTORY",
    "megatron": "mixopt.exporters.megatron:ARGUMENTS",
    "megatron-bridge": "mixopt.exporters.megatron_bridge:MEGATRON_BRIDGE",
    "megatron-per-split": "mixopt.exporters.megatron:PER_SPLIT",
    "mosaicml-streaming": "mixopt.exporters.mosaicml_streaming:STREAMS",
    "nanotron": "mixopt.exporters.nanotron:NANOTRON",
    "olmix": "mixopt.exporters.olmix:OLMIX",
    "olmo-core": "mixopt.exporters.olmo_core:OLMO_CORE",
    "open-lm": "mixopt.exporters.open_lm:OPEN_LM",
    "torchtitan": "mixopt.exporters.torchtitan:TORCHTITAN",
    "trl": "mixopt.exporters.trl:TRL",
    "yaml": "mixopt.exporters.plain:YAML",
}
"""One line per format; `package.module:name` is one of the user's own: a `Format`, or a function."""

PHASE = "{phase}"
"""In a file name: one file for each phase of a schedule."""

Paths = Mapping[str, str] | str | None


def export(
    plan: Proposal | Schedule,
    format: str,
    *,
    paths: Paths = None,
    out: str | Path | None = None,
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
    **options: Any,
) -> str:
    """The config of a trainer that draws data as `plan` says; written to `out` if given.

    Args:
        plan: A proposal, or a schedule where the trainer takes phases.
        format: One of `FORMATS`, or `package.module:name`.
        paths: Where the trainer finds each domain: by domain, or one pattern with `{domain}`.
        out: File to write; it appears whole or not at all.
        budget_tokens: Of the target run, where it is not the proposal's.
        tokens_per_document: By domain, beside or instead of what the proposal knows.
        options: What only this format takes.

    Raises:
        ExportError: The format is unknown, or the trainer cannot be told this plan.
        InfeasibleError: The budget reads a domain more often than it may be.
    """
    found = find_format(format)
    check_options(format, found, options)
    request = make_request(plan, paths, options, budget_tokens, tokens_per_document)
    if len(request.parts) > 1 and not found.phases:
        raise ExportError(
            f"A config of {format!r} holds one mixture and the schedule has {len(request.parts)} "
            f"phases; write a file for each: put {PHASE} into the file name."
        )
    text = _write(found, format, request)
    if not isinstance(text, str):
        raise ExportError(
            f"The export format {format!r} returned {type(text).__name__}; it must return text."
        )
    if out is not None:
        write_text(Path(out), text)
    return text


def _write(found: Format, name: str, request: ExportRequest) -> Any:
    """What a format writes; one of somebody else's may fail in any way."""
    if name in FORMATS:
        return found.write(request)
    try:
        return found.write(request)
    except ExportError:
        raise
    except (Exception, SystemExit) as error:
        raise ExportError(
            f"The export format {name!r} fails ({type(error).__name__}: {tell(error)}); mend it."
        ) from error


def export_phases(
    plan: Proposal | Schedule, format: str, *, out: str | Path, **rest: Any
) -> list[Path]:
    """The files that `export` writes: one, or one for each phase where `out` has `{phase}` in it.

    Raises:
        ExportError: As `export`; or `out` asks for phases and the plan has none.
    """
    if PHASE not in str(out):
        export(plan, format, out=out, **rest)
        return [Path(out)]
    if isinstance(plan, Proposal):
        raise ExportError(
            f"{out} asks for a file per phase, and this is one proposal; leave out {PHASE}."
        )
    make_request(plan, None, {}, rest.get("budget_tokens"), None)  # the caps hold for the whole run
    written = []
    for phase in _scaled(plan, rest.pop("budget_tokens", None)).phases:
        path = Path(str(out).replace(PHASE, phase.name))
        export(phase.proposal, format, out=path, **rest)
        written.append(path)
    return written


def make_request(
    plan: Proposal | Schedule,
    paths: Paths,
    options: Mapping[str, Any],
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
) -> ExportRequest:
    """What an exporter is given.

    Raises:
        ExportError: Paths or tokens per document name no domain.
        InfeasibleError: The budget reads a domain more often than it may be.
    """
    schedule = _scaled(
        plan if isinstance(plan, Schedule) else Schedule((Phase("", plan),)), budget_tokens
    )
    known = {**schedule.phases[0].proposal.tokens_per_document, **(tokens_per_document or {})}
    for domain in tokens_per_document or {}:
        if domain not in schedule.domains:
            raise ExportError(
                f"tokens_per_document names {domain!r}, which is no domain of this proposal. "
                f"{did_you_mean(domain, schedule.domains)}"
            )
    parts, start, seen = [], 0.0, Counter[str]()
    several = len(schedule.phases) > 1
    for phase in schedule.phases:
        proposal = replace(phase.proposal, tokens_per_document=known)
        tokens = phase.tokens if several or proposal.budget else None
        parts.append(Part(phase.name, proposal, round_ratios(proposal.ratios), start, tokens))
        start += tokens or 0
        for domain, times in proposal.repetition.items():
            seen[domain] += times  # type: ignore[assignment]
    limits = schedule.max_repetition
    if not limits:
        for phase in schedule.phases:
            if phase.proposal.budget is not None:
                phase.proposal.budget.check(phase.proposal.repetition)
    if not several and schedule.phases[0].proposal.budget is not None:
        limits = schedule.phases[0].proposal.budget.max_repetition
    Budget(start, {}, limits).check(seen)
    return ExportRequest(
        tuple(parts), resolve_paths(paths, schedule.domains), options, dict(seen),
        limits,
    )  # fmt: skip


def _scaled(schedule: Schedule, budget_tokens: float | None) -> Schedule:
    """The schedule for a run of so many tokens, its phases in the same proportions."""
    if budget_tokens is None:
        return schedule
    if not 0 < budget_tokens < float("inf"):
        raise ExportError(f"budget_tokens is {budget_tokens}; give a number above zero.")
    alone = len(schedule.phases) == 1
    phases = []
    for phase in schedule.phases:
        budget = phase.proposal.budget or Budget(budget_tokens)
        share = 1.0 if alone else phase.tokens / schedule.tokens
        told = replace(phase.proposal, budget=replace(budget, tokens=share * budget_tokens))
        phases.append(Phase(phase.name, told))
    return Schedule(tuple(phases), schedule.max_repetition)


def check_export(
    format: str,
    shares: Mapping[str, float],
    paths: Paths,
    *,
    tokens: Mapping[str, float],
    tokens_per_document: Mapping[str, float],
    out: str = "",
    **options: Any,
) -> None:
    """Tries an export with a stand-in, so that what is asked for wrongly is found early.

    Args:
        format: As for `export`.
        shares: Of the stand-in: above zero for every domain that may have a share.
        paths: As for `export`.
        tokens: Of the target run by phase; one of any name where there are no phases.
        tokens_per_document: Of the domains for which they will be known; any number does.
        out: The file's name, for its `{phase}`.
        options: As for `export`.

    Raises:
        ExportError: The export would fail for such proposals.
    """
    plenty = dict.fromkeys(shares, sum(tokens.values()))
    mixture = Mixture.normalised(shares)
    phases = [
        Phase(
            name,
            Proposal(
                mixture, Estimate(0, 0), {}, budget=Budget(count, plenty),
                tokens_per_document=tokens_per_document,
            ),
        )
        for name, count in tokens.items()
    ]  # fmt: skip
    if len(phases) == 1 or PHASE in out:
        for phase in phases:
            export(phase.proposal, format, paths=paths, **options)
    else:
        export(Schedule(tuple(phases)), format, paths=paths, **options)


def resolve_paths(paths: Paths, domains: Sequence[str]) -> Mapping[str, str]:
    """The path of each domain that has one.

    Raises:
        ExportError: A pattern has no `{domain}`, or a path is empty, another domain's or nobody's.
    """
    if isinstance(paths, str):
        if "{domain}" not in paths:
            raise ExportError(f"The path pattern {paths!r} lacks {{domain}}; add it.")
        return {domain: paths.replace("{domain}", domain) for domain in domains}
    taken: dict[str, str] = {}
    for domain, path in (paths or {}).items():
        if domain not in domains:
            raise ExportError(
                f"Paths name {domain!r}, which is no domain of this proposal. "
                f"{did_you_mean(domain, domains)}"
            )
        if not path:
            raise ExportError(f"The path of {domain!r} is empty; give one.")
        if path in taken:
            raise ExportError(
                f"{taken[path]!r} and {domain!r} have one path, {path!r}; a trainer could not tell "
                "them apart."
            )
        taken[path] = domain
    return paths or {}


def find_format(format: str) -> Format:
    """The format called so.

    Raises:
        ExportError: There is none, or it cannot be loaded.
    """
    target = FORMATS.get(format, format)
    if ":" not in target:
        raise ExportError(
            f"No export format is called {format!r}. {did_you_mean(format, FORMATS)} "
            "A format of your own is named package.module:function."
        )
    module, _, name = target.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a user's own module may fail in any way while it is imported
        raise ExportError(f"The export format {format!r} cannot be loaded ({error}).") from error
    if isinstance(found, Format):
        return found
    if not isinstance(found, Callable):  # type: ignore[arg-type]
        raise ExportError(f"The export format {format!r} is no function; name one.")
    return Format(found, options=("*",))


def check_options(name: str, found: Format, options: Mapping[str, Any]) -> None:
    """Raises `ExportError` for an option that the format does not have."""
    for option in options:
        if "*" not in found.options and option not in found.options:
            takes = f"it takes {', '.join(found.options)}" if found.options else "it takes none"
            raise ExportError(
                f"The format {name!r} has no option {option!r}; {takes}. "
                f"{did_you_mean(option, found.options) if found.options else ''}".rstrip()
            )
