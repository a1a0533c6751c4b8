"""Write a proposal or schedule as the data config of a trainer.

mixopt proposes ratios of tokens. For a trainer that draws documents, an exporter converts them with
the measured tokens per document, and refuses if those are unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

from mixopt.errors import ExportError, did_you_mean, one_line
from mixopt.estimate import Estimate
from mixopt.exporters.given_ratios import as_plan
from mixopt.exporters.paths import Paths, resolve_paths
from mixopt.exporters.request import ExportFormat, ExportPhase, ExportRequest, Options
from mixopt.exporters.rounding import round_ratios
from mixopt.io.files import write_text
from mixopt.io.parsing import show
from mixopt.mixture import Mixture, MixtureLike
from mixopt.proposal import Proposal
from mixopt.schedule import Phase, Schedule
from mixopt.token_budget import Budget

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
"""`module:name` of each format's `ExportFormat`."""

PHASE = "{phase}"
"""Placeholder in a file name: write one file per phase."""


def export(
    plan: "Proposal | Schedule | MixtureLike",
    format: str,
    *,
    paths: Paths = None,
    out: str | Path | None = None,
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
    **options: Any,
) -> str:
    """Return the config of a trainer that draws data as `plan` proposes.

    Args:
        plan: A proposal; a schedule for a format that takes phases; or a mixture, a dict or a Series of
            ratios that somebody else chose.
        format: A key of `FORMATS`, or `package.module:name` of an `ExportFormat` or a function from
            `ExportRequest` to text.
        paths: Data path by domain, or one pattern with `{domain}`. A list stands for several paths of a
            domain; its share is split by their sizes where they are on this machine, else evenly.
        out: File to write the text to, atomically.
        budget_tokens: Tokens of the target run; by default the plan's own.
        tokens_per_document: Mean tokens per document by domain; they override the proposal's.
        options: Options of this format.

    Returns:
        The text of the config.

    Raises:
        ExportError: An argument is invalid, or the trainer's config cannot express the plan.
        InfeasibleError: The budget repeats a domain more often than allowed.
    """
    target = find_format(format, options)
    request = make_request(plan, paths, options, budget_tokens, tokens_per_document)
    return _write(request, target, format, out)


def _write(
    request: ExportRequest, target: ExportFormat, format: str, out: str | Path | None
) -> str:
    if len(request.phases) > 1 and not target.phases:
        raise ExportError(
            f"A config of {format!r} holds one mixture and the schedule has {len(request.phases)} "
            f"phases; write one file per phase: put {PHASE} into the file name."
        )
    try:
        text = target.write(request)
    except ExportError:
        raise
    except (Exception, SystemExit) as error:
        if format in FORMATS:
            raise
        raise ExportError(
            f"The export format {format!r} fails ({type(error).__name__}: {one_line(error)}); fix it."
        ) from error
    if not isinstance(text, str):
        raise ExportError(
            f"The format {format!r} returned {type(text).__name__}; it must return text."
        )
    if out is not None:
        write_text(Path(out), text)
    return text


def export_phases(
    plan: "Proposal | Schedule | MixtureLike",
    format: str,
    *,
    paths: Paths = None,
    out: str | Path,
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
    **options: Any,
) -> list[Path]:
    """Write a plan as one file, or as one file per phase if `out` contains `{phase}`.

    Args:
        plan: As for `export`.
        format: As for `export`.
        paths: As for `export`.
        out: File to write.
        budget_tokens: Tokens of the whole target run; by default the plan's own.
        tokens_per_document: As for `export`.
        options: As for `export`.

    Returns:
        The files, in the order of the phases.

    Raises:
        ExportError: As `export`; or `out` contains `{phase}` and the plan has no phases.
        InfeasibleError: The budget repeats a domain more often than allowed.
    """
    plan = as_plan(plan)
    given: Any = {"paths": paths, "tokens_per_document": tokens_per_document}
    if PHASE not in str(out):
        export(plan, format, out=out, budget_tokens=budget_tokens, **given, **options)
        return [Path(out)]
    if not isinstance(plan, Schedule):
        raise ExportError(
            f"{out} asks for phases, and the plan is one proposal; leave out {PHASE}."
        )
    make_request(plan, budget_tokens=budget_tokens)  # checks the repetition limits of the whole run
    target = find_format(format, options)
    files = []
    schedule = _rescale(plan, budget_tokens)
    read: dict[str, float] = {}
    for phase, part in zip(schedule.phases, _split(schedule, format), strict=True):
        request = make_request(part, options=options, **given)
        if not target.cumulative:
            request = replace(request, tokens_before=dict(read))
        files.append(Path(str(out).replace(PHASE, phase.name)))
        _write(request, target, format, files[-1])
        for domain, ratio in phase.proposal.ratios.items():
            read[domain] = read.get(domain, 0.0) + ratio * phase.tokens
    return files


def _split(schedule: Schedule, format: str) -> list[Proposal | Schedule]:
    """Return what the file of each phase holds."""
    phases = schedule.phases
    if find_format(format).cumulative:
        limits = schedule.max_repetition
        return [Schedule(phases[: place + 1], limits) for place in range(len(phases))]
    return [phase.proposal for phase in phases]


def make_request(
    plan: "Proposal | Schedule | MixtureLike",
    paths: Paths = None,
    options: Options | None = None,
    budget_tokens: float | None = None,
    tokens_per_document: Mapping[str, float] | None = None,
) -> ExportRequest:
    """Return the input of an exporter.

    Args:
        plan: As for `export`.
        paths: As for `export`.
        options: Of the format, by name.
        budget_tokens: As for `export`.
        tokens_per_document: As for `export`.

    Raises:
        ExportError: The plan is no proposal or schedule, or paths or tokens per document are invalid.
        InfeasibleError: The budget repeats a domain more often than allowed.
    """
    plan = as_plan(plan)
    whole = plan if isinstance(plan, Schedule) else Schedule((Phase("", plan),))
    schedule = _rescale(whole, budget_tokens)
    lengths = _check_lengths(tokens_per_document, schedule.domains)
    known = {**schedule.phases[0].proposal.tokens_per_document, **lengths}
    several = len(schedule.phases) > 1
    phases, start = [], 0.0
    repetition: dict[str, float] = {}
    for phase in schedule.phases:
        proposal = replace(phase.proposal, tokens_per_document=known)
        tokens = phase.tokens if several or proposal.budget else None
        ratios = round_ratios(proposal.ratios)
        phases.append(ExportPhase(phase.name, proposal, ratios, start, tokens))
        start += tokens or 0
        for domain, times in proposal.repetition.items():
            repetition[domain] = repetition.get(domain, 0) + times
    limits = _check_repetition(schedule, repetition, start)
    resolved = resolve_paths(paths, schedule.domains)
    return ExportRequest(tuple(phases), resolved, options or {}, repetition, limits)


def _check_repetition(
    schedule: Schedule, repetition: Mapping[str, float], tokens: float
) -> Mapping[str, float]:
    """Check how often the run reads each domain, and return the limits of the whole run."""
    for phase in schedule.phases:
        budget = phase.proposal.budget
        if budget is not None:
            # what the schedule limits is counted over all phases, below
            counted = phase.proposal.repetition.items()
            budget.check({d: times for d, times in counted if d not in schedule.max_repetition})
    limits = dict(schedule.max_repetition)
    alone = schedule.phases[0].proposal.budget if len(schedule.phases) == 1 else None
    if alone is not None:
        limits = {**alone.max_repetition, **limits}
    if repetition:
        Budget(tokens, {}, limits).check(repetition)
    return limits


def _check_lengths(
    tokens_per_document: Mapping[str, float] | None, domains: Sequence[str]
) -> Mapping[str, float]:
    if not isinstance(tokens_per_document, Mapping | None):
        raise ExportError(
            f"tokens_per_document is {show(tokens_per_document)}; give a mapping of domains to numbers."
        )
    for domain, length in (tokens_per_document or {}).items():
        _require_domain("tokens_per_document names", domain, domains)
        if not _is_positive(length):
            raise ExportError(
                f"tokens_per_document of {domain!r} is {show(length)}; give a number above zero."
            )
    return tokens_per_document or {}


def _require_domain(what: str, domain: str, domains: Sequence[str]) -> None:
    if domain not in domains:
        close = did_you_mean(domain, domains)
        raise ExportError(f"{what} {domain!r}, which is no domain of this proposal. {close}")


def _is_positive(value: object) -> bool:
    return isinstance(value, Real) and 0 < float(value) < float("inf")


def _rescale(schedule: Schedule, budget_tokens: float | None) -> Schedule:
    if budget_tokens is None:
        return schedule
    if not _is_positive(budget_tokens):
        raise ExportError(f"budget_tokens is {show(budget_tokens)}; give a number above zero.")
    alone = len(schedule.phases) == 1
    phases = []
    for phase in schedule.phases:
        budget = phase.proposal.budget or Budget(budget_tokens)
        share = 1.0 if alone else phase.tokens / schedule.tokens
        scaled = replace(phase.proposal, budget=replace(budget, tokens=share * budget_tokens))
        phases.append(Phase(phase.name, scaled))
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
    """Export a placeholder plan, so that invalid arguments are found before a study runs.

    Args:
        format: As for `export`.
        shares: Amounts of the placeholder: above zero for each domain that may get a share.
        paths: As for `export`.
        tokens: Tokens of the target run by phase; a single entry of any name without phases.
        tokens_per_document: One number for each domain for which the study will know it.
        out: File name, which may contain `{phase}`.
        options: As for `export`.

    Raises:
        ExportError: The export would fail for every plan of this study.
    """
    plenty = dict.fromkeys(shares, sum(tokens.values()))
    mixture = Mixture.normalised(shares)
    placeholder = Proposal(mixture, Estimate(0, 0), {}, tokens_per_document=tokens_per_document)
    phases = [
        Phase(name, replace(placeholder, budget=Budget(count, plenty)))
        for name, count in tokens.items()
    ]
    plans: list[Proposal | Schedule] = [Schedule(tuple(phases))]
    if len(phases) == 1:
        plans = [phases[0].proposal]
    elif PHASE in out:
        plans = _split(Schedule(tuple(phases)), format)
    for plan in plans:
        export(plan, format, paths=paths, **options)


def find_format(format: str, options: Iterable[str] = ()) -> ExportFormat:
    """Return the format of a name.

    Args:
        format: As for `export`.
        options: Names of the options that the format must have.

    Raises:
        ExportError: It is unknown, cannot be loaded, or lacks an option.
    """
    target = FORMATS.get(format, format) if isinstance(format, str) else ""
    if ":" not in target:
        raise ExportError(
            f"No export format is called {format!r}. {did_you_mean(format, FORMATS)} "
            "A format of your own is named package.module:function."
        )
    module, _, name = target.partition(":")
    try:
        loaded = getattr(import_module(module), name)
    except Exception as error:  # a user's module can raise anything while it is imported
        raise ExportError(f"The export format {format!r} cannot be loaded ({error}).") from error
    if not isinstance(loaded, ExportFormat):
        if not callable(loaded):
            raise ExportError(f"The export format {format!r} is no function; name one.")
        return ExportFormat(loaded, options=("*",))
    known = loaded.options
    for option in options:
        if "*" not in known and option not in known:
            has = f"{', '.join(known)}. {did_you_mean(option, known)}" if known else "none."
            raise ExportError(f"The format {format!r} has no option {option!r}; it has {has}")
    return loaded
