"""`mixopt export`: write a proposal as a trainer's config, or check such a config."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixopt.cli.options import parse_pairs

if TYPE_CHECKING:
    from mixopt.exporters.check import CheckedPhase
    from mixopt.exporters.request import ExportRequest
    from mixopt.proposal import Proposal
    from mixopt.schedule import Schedule

LISTS = ("valid", "test")
"""Options of formats that are lists even with one element."""

NAMES = (
    "axolotl, gpt-neox, hf-datasets, json, levanter, litdata, llama-factory, megatron, "
    "megatron-bridge, megatron-per-split, mosaicml-streaming, nanotron, olmix, olmo-core, open-lm, "
    "torchtitan, trl, yaml"
)


@click.command()
@click.argument("proposal", type=click.Path(path_type=Path))
@click.option("-f", "--format", "format_", required=True,
              help=f"{NAMES}, or package.module:name.")  # fmt: skip
@click.option("-p", "--path", "paths", multiple=True, metavar="DOMAIN=PATH",
              help="Path of a domain, several with commas; or one pattern with {domain}.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="Option of this format; lists with commas: valid=/d/a,/d/b.")  # fmt: skip
@click.option("--budget-tokens", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Tokens of the target run (not the study's budget), if they differ from the "
              "proposal's.")  # fmt: skip
@click.option("--tokens-per-document", "lengths", multiple=True, metavar="DOMAIN=N",
              help="Mean document length, for trainers that draw documents.")  # fmt: skip
@click.option("--candidate", is_flag=True,
              help="Export the best other mixture where the advice is natural.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write; with {phase} in it, one for each phase.")  # fmt: skip
@click.option("--check", "checked", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Instead read this config and compare its ratios with the proposal.")  # fmt: skip
def export(
    proposal: Path,
    format_: str,
    paths: Sequence[str],
    options: Sequence[str],
    budget_tokens: float | None,
    lengths: Sequence[str],
    candidate: bool,
    out: Path | None,
    checked: Path | None,
) -> None:
    """Write a PROPOSAL as a trainer's config.

    PROPOSAL is a proposal.json or schedule.json, or ratios of your own: domain: ratio as JSON or YAML,
    or a CSV of domain,ratio.
    """
    from mixopt.exporters.export import export as export_plan
    from mixopt.exporters.export import export_phases, make_request
    from mixopt.exporters.given_ratios import read_given_plan
    from mixopt.schedule import Schedule

    if out and checked:
        raise click.UsageError("--check reads a file and --out writes one; give one of them.")
    sys.path.insert(0, os.getcwd())  # for a user's own package.module:name
    plan = read_given_plan(proposal)
    plan = _with_candidate(plan) if candidate else plan
    request: dict[str, Any] = {"paths": _parse_paths(paths), "budget_tokens": budget_tokens,
                               "tokens_per_document": _parse_lengths(lengths)}  # fmt: skip
    format_options: dict[str, Any] = {**_parse_options(options)}
    if checked:
        from mixopt.exporters.check import check_config

        text = _read_file(checked)
        parts = check_config(plan, format_, text, options=format_options, **request)
        _echo_check(parts, make_request(plan, budget_tokens=budget_tokens))
        return
    if out is None:
        click.echo(export_plan(plan, format_, **request, **format_options), nl=False)
        return
    for path in export_phases(plan, format_, out=out, **request, **format_options):
        click.echo(f"Written   {path}")
    decision = None if isinstance(plan, Schedule) else plan.decision
    if decision is not None and not decision.moves:
        click.echo(f"Decision  {'the candidate, although: ' * candidate}{decision.verdict}")
    written = make_request(plan, budget_tokens=budget_tokens)
    click.echo(f"Rounding  moves no ratio by more than {written.drift:.1e}")
    _echo_repetition(written.repetition)


def _with_candidate(plan: "Proposal | Schedule") -> "Proposal | Schedule":
    from mixopt.errors import ExportError
    from mixopt.proposal import Proposal

    if not isinstance(plan, Proposal) or plan.decision is None:
        raise ExportError(
            "--candidate needs a proposal with a decision; this plan has none, so leave it out."
        )
    return replace(plan, ratios=plan.decision.candidate)


def _echo_check(parts: "Sequence[CheckedPhase]", request: "ExportRequest") -> None:
    seen: dict[str, float] = {}
    for part, proposed in zip(parts, request.phases, strict=True):
        if part.phase:
            click.echo(f"Phase     {part.phase}")
        budget = proposed.proposal.budget
        for domain, difference in part.differences.items():
            click.echo(
                f"  {domain:<16}{part.written[domain]:>9.4%}  proposed {part.proposed[domain]:>9.4%}  "
                f"difference {difference:+.4%}"
            )
        for domain, times in (budget.count(part.written) if budget else {}).items():
            seen[domain] = seen.get(domain, 0.0) + times
        for note in part.notes:
            click.echo(f"  note: {note}")
    _echo_repetition(seen)
    for domain, times in seen.items():
        cap = request.max_repetition.get(domain)
        if cap is not None and times > cap * (1 + 1e-6) + _slack(request, domain):
            note = f"{domain!r} is read {times:.2f} times and at most {cap:g} was allowed"
            click.echo(f"  note: {note}")
    worst = max(part.largest for part in parts)
    click.echo(f"Check     the largest difference from the proposal is {worst:.1e}")


def _slack(request: "ExportRequest", domain: str) -> float:
    """Return the repetition that one unit of the last written digit stands for."""
    from mixopt.exporters.rounding import DECIMALS

    budget = request.proposal.budget
    available = budget.available_tokens.get(domain) if budget else None
    tokens = sum(part.tokens or 0 for part in request.phases)
    return tokens * 10**-DECIMALS / available if available else 0.0


def _echo_repetition(seen: Mapping[str, float]) -> None:
    if seen:
        listed = ", ".join(f"{domain} {times:.2f}" for domain, times in seen.items())
        click.echo(f"Seen      {listed} times")


def _read_file(path: Path) -> str:
    from mixopt.errors import ExportError

    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExportError(f"{path} does not exist; give the config to check.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ExportError(f"{path} cannot be read as text ({error}).") from None


def _parse_paths(given: Sequence[str]) -> Mapping[str, str | Sequence[str]] | str | None:
    given = [one for one in given if one]  # an entry point of an MLflow project gives all options
    if len(given) == 1 and "{domain}" in given[0]:
        return given[0]
    pairs = parse_pairs(given, "--path", "DOMAIN=PATH (or one pattern with {domain})")
    # a path may have a comma itself
    whole = {domain for domain, path in pairs.items() if "," not in path or Path(path).exists()}
    return {d: path if d in whole else path.split(",") for d, path in pairs.items()} or None


def _parse_options(given: Sequence[str]) -> dict[str, str | list[str]]:
    from mixopt.config.study import RESERVED_EXPORT_OPTIONS

    values = parse_pairs(given, "--option", "KEY=VALUE")
    for name in RESERVED_EXPORT_OPTIONS:
        if name in values:
            raise click.UsageError(f"{name!r} is no option of a format; see --help.")
    listed = {name for name, value in values.items() if "," in value or name in LISTS}
    return {name: v.split(",") if name in listed else v for name, v in values.items()}


def _parse_lengths(given: Sequence[str]) -> dict[str, float]:
    lengths = {}
    for domain, number in parse_pairs(given, "--tokens-per-document", "DOMAIN=N").items():
        try:
            lengths[domain] = float(number)
        except ValueError:
            lengths[domain] = 0.0
        if not 0 < lengths[domain] < float("inf"):
            raise click.UsageError(
                f"--tokens-per-document {domain}={number}: give a number above 0."
            )
    return lengths
