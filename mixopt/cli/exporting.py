"""The command that writes a proposal as a trainer's config, or reads one back."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mixopt.cli.shell import main, one_sentence, split_pairs

if TYPE_CHECKING:
    from mixopt.exporters.check import CheckedPhase
    from mixopt.exporters.request import ExportRequest
    from mixopt.proposal import Proposal
    from mixopt.schedule import Schedule

LISTS = ("valid", "test")
"""Options of exporters that are lists even of one."""

NAMES = (
    "axolotl, gpt-neox, hf-datasets, json, levanter, litdata, llama-factory, megatron, "
    "megatron-bridge, megatron-per-split, mosaicml-streaming, nanotron, olmix, olmo-core, open-lm, "
    "torchtitan, trl, yaml"
)


@main.command()
@click.argument("proposal", type=click.Path(path_type=Path))
@click.option("-f", "--format", "format_", required=True,
              help=f"{NAMES}, or package.module:name.")  # fmt: skip
@click.option("-p", "--path", "paths", multiple=True, metavar="DOMAIN=PATH",
              help="Where the trainer finds a domain; or one pattern with {domain}.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="What only this format takes; lists with commas: valid=/d/a,/d/b.")  # fmt: skip
@click.option("--budget-tokens", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Tokens of the target run, where they are not the proposal's.")  # fmt: skip
@click.option("--tokens-per-document", "lengths", multiple=True, metavar="DOMAIN=N",
              help="For trainers that draw documents, where the proposal does not know.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write; with {phase} in it, one for each phase.")  # fmt: skip
@click.option("--check", "checked", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Read this config back instead, and say what it draws.")  # fmt: skip
@one_sentence
def export(
    proposal: Path,
    format_: str,
    paths: Sequence[str],
    options: Sequence[str],
    budget_tokens: float | None,
    lengths: Sequence[str],
    out: Path | None,
    checked: Path | None,
) -> None:
    """Write a PROPOSAL (proposal.json or schedule.json) as a trainer's config."""
    from mixopt.exporters.export import export as export_plan
    from mixopt.exporters.export import export_phases, make_request
    from mixopt.schedule import read_plan

    if out and checked:
        raise click.UsageError("--check reads a file and --out writes one; give one of them.")
    sys.path.insert(0, os.getcwd())  # where a user's own package.module:name lies
    plan = read_plan(proposal)
    rest = {
        "paths": _parse_paths(paths),
        "budget_tokens": budget_tokens,
        "tokens_per_document": _parse_lengths(lengths),
    }
    values = _parse_options(options)
    if checked:
        from mixopt.exporters.check import check_config

        text = read_file(checked)
        _tell(check_config(plan, format_, text, options=values, **rest), plan, budget_tokens)  # type: ignore[arg-type]
        return
    if out is None:
        click.echo(export_plan(plan, format_, **rest, **values), nl=False)  # type: ignore[arg-type]
        return
    for path in export_phases(plan, format_, out=out, **rest, **values):  # type: ignore[arg-type]
        click.echo(f"Written   {path}")
    request = make_request(plan, rest["paths"], {}, budget_tokens)  # type: ignore[arg-type]
    click.echo(f"Rounding  moves no ratio by more than {request.drift:.1e}")
    _tell_seen(request.repetition)


def _tell(
    found: "Sequence[CheckedPhase]", plan: "Proposal | Schedule", budget_tokens: float | None
) -> None:
    """What a config draws: a line for each domain, and what a reader should know."""
    from mixopt.exporters.export import make_request

    request = make_request(plan, None, {}, budget_tokens)
    seen: dict[str, float] = {}
    for part, asked in zip(found, request.phases, strict=True):
        if part.phase:
            click.echo(f"Phase     {part.phase}")
        budget = asked.proposal.budget
        for domain, difference in part.differences.items():
            click.echo(
                f"  {domain:<16}{part.written[domain]:>9.4%}  proposed {part.proposed[domain]:>9.4%}  "
                f"difference {difference:+.4%}"
            )
        for domain, times in (budget.count(part.written) if budget else {}).items():
            seen[domain] = seen.get(domain, 0.0) + times
        for note in part.notes:
            click.echo(f"  note: {note}")
    _tell_seen(seen)
    for domain, times in seen.items():
        cap = request.max_repetition.get(domain)
        if cap is not None and times > cap * (1 + 1e-6) + _slack(request, domain):
            click.echo(
                f"  note: {domain!r} is read {times:.2f} times and at most {cap:g} was allowed"
            )
    worst = max(part.largest for part in found)
    click.echo(f"Check     the largest difference from the proposal is {worst:.1e}")


def _slack(request: "ExportRequest", domain: str) -> float:
    """Repetition that one unit of the last written digit is worth."""
    from mixopt.exporters.rounding import DECIMALS

    budget = request.proposal.budget
    had = budget.available_tokens.get(domain) if budget else None
    return sum(part.tokens or 0 for part in request.phases) * 10**-DECIMALS / had if had else 0.0


def _tell_seen(seen: Mapping[str, float]) -> None:
    if seen:
        told = ", ".join(f"{domain} {times:.2f}" for domain, times in seen.items())
        click.echo(f"Seen      {told} times")


def read_file(path: Path) -> str:
    """The text of a file, or one sentence."""
    from mixopt.errors import ExportError

    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExportError(f"{path} does not exist; give the config to check.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ExportError(f"{path} cannot be read as text ({error}).") from None


def _parse_paths(given: Sequence[str]) -> Mapping[str, str] | str | None:
    if len(given) == 1 and "{domain}" in given[0]:
        return given[0]
    return split_pairs(given, "--path", "DOMAIN=PATH (or one pattern with {domain})") or None


def _parse_options(given: Sequence[str]) -> dict[str, str | list[str]]:
    from mixopt.config.study import RESERVED_EXPORT_OPTIONS

    listed = split_pairs(given, "--option", "KEY=VALUE")
    for name in RESERVED_EXPORT_OPTIONS:
        if name in listed:
            raise click.UsageError(
                f"{name!r} is no option of a format; see --help for what gives it."
            )
    return {
        key: value.split(",") if "," in value or key in LISTS else value
        for key, value in listed.items()
    }


def _parse_lengths(given: Sequence[str]) -> dict[str, float]:
    lengths = {}
    for domain, told in split_pairs(given, "--tokens-per-document", "DOMAIN=N").items():
        try:
            lengths[domain] = float(told)
        except ValueError:
            lengths[domain] = 0.0
        if not 0 < lengths[domain] < float("inf"):
            raise click.UsageError(
                f"--tokens-per-document {domain}={told}: give a number above zero."
            )
    return lengths
