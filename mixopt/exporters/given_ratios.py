"""Ratios that a person or another tool chose, as a plan to export."""

import csv
import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mixopt.errors import ExportError, MixtureError, one_line
from mixopt.estimate import Estimate
from mixopt.exporters.ratio_records import ROUNDING, WHOLES, leave_out_records
from mixopt.io.parsing import load_json, load_yaml, show
from mixopt.io.text_content import read_text
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule, read_plan

log = logging.getLogger(__name__)

OWN_FIELDS = ("utility", "predicted", "comparisons", "phases")
"""Fields of a file that mixopt wrote."""
TABLES = (".csv", ".tsv", ".txt")
MARKS = "\t;,"
"""Marks between cells, by priority."""
NAMES = ("domain", "name", "source", "dataset", "path")
RATIOS = ("ratio", "weight", "proportion", "share", "token_ratio", "probability", "tokens")
WRAPPERS = (
    "token_ratios",
    "ratios",
    "mixture",
    "weights",
    "train_weights",
    "proportions",
    "domain_weights",
)
"""Fields that hold the ratios of a file with other fields, by priority."""
GROUPED = re.compile(r"[1-9]\d{0,2}(?:[_,]\d{3})+(?:\.\d+)?")
"""Marks between thousands (`6,000,000`)."""
DECIMAL_COMMA = re.compile(r"\d+,\d+")
AMOUNTS_FROM = 1.5
"""Sum from which numbers are amounts (percent, tokens) and no ratios."""
EXAMPLE = (
    "give domain: ratio as JSON or YAML, a CSV of domain,ratio, or the proposal.json of a study."
)


def read_given_plan(path: str | Path) -> Proposal | Schedule:
    """Return the plan in a file: what mixopt wrote, or ratios by domain.

    Args:
        path: A `proposal.json` or `schedule.json`; or JSON, YAML or CSV with the ratios, amounts or
            percent of each domain.

    Raises:
        ExportError: The file does not exist, or holds neither.
    """
    file = Path(path)
    if not file.is_file():
        return read_plan(file)  # raises an error that names the defect
    try:
        text = read_text(file)
        kind = file.suffix.lower()
        if kind in TABLES:
            plain = _read_table(text)
        else:
            plain = load_json(text) if kind == ".json" else load_yaml(text)
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise ExportError(f"{file} cannot be read ({one_line(error)}); {EXAMPLE}") from None
    if kind in TABLES:
        return plan_of(plain, str(file))
    if isinstance(plain, dict) and any(name in plain for name in OWN_FIELDS):
        return read_plan(file)
    return plan_of(_find_ratios(plain), str(file))


def plan_of(ratios: Any, where: str = "plan") -> Proposal:
    """Return a plan of ratios alone, which are compared with nothing.

    Args:
        ratios: Ratios or amounts by domain.
        where: Whose they are, for messages.

    Raises:
        ExportError: They are no mixture.
    """
    try:
        given = {str(domain): ratio for domain, ratio in dict(ratios).items()}
    except (TypeError, ValueError):
        given = {}
    if any(domain.strip() in ("", "None") for domain in given):
        raise ExportError(f"{where}: a ratio has no domain; name it, or take the entry out.")
    amounts: Mapping[str, float | None] = _to_numbers(given)
    if not isinstance(ratios, Mixture):
        amounts = leave_out_records(amounts, where)
    known = {domain: amount for domain, amount in amounts.items() if amount is not None}
    if not known:
        raise ExportError(f"{where} holds no ratios of domains; {EXAMPLE}")
    for domain, amount in amounts.items():
        if amount is None:
            raise ExportError(
                f"{where}: the ratio of {domain!r} is {show(given[domain])}, not a number; fix it, or "
                "take the entry out."
            )
    total = sum(known.values())
    is_rounded = abs(total - 1) <= ROUNDING
    if not is_rounded and not AMOUNTS_FROM < total < float("inf"):
        raise ExportError(f"{where}: the ratios sum to {total:.4g}, not to 1; fix them.")
    try:
        mixture = Mixture.normalised(known)
    except MixtureError as error:
        raise ExportError(f"{where}: {error}") from None
    if abs(total - 1) > 1e-9:
        what = "ratios" if is_rounded else "amounts (tokens or percent)"
        log.info("%s: %s that sum to %.6g are divided by their sum.", where, what, total)
    return Proposal(mixture, Estimate(0, 0), {})


def _to_numbers(given: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the number of each value; None of a value that is none.

    `12,125` has thousands or decimals. It has decimals where another number of the file proves it
    (`62,5`, `0,375`), or where the numbers then sum to a whole.
    """
    decimals = {name: _to_number(value, comma_is_decimal=True) for name, value in given.items()}
    total = sum(number for number in decimals.values() if number is not None)
    texts = [value.strip() for value in given.values() if isinstance(value, str)]
    proven = any(DECIMAL_COMMA.fullmatch(text) and not GROUPED.fullmatch(text) for text in texts)
    if proven or any(abs(total / whole - 1) <= ROUNDING for whole in WHOLES):
        return decimals
    return {name: _to_number(value) for name, value in given.items()}


def _to_number(value: Any, *, comma_is_decimal: bool = False) -> float | None:
    """Return a number, also of a text with percent or marks between thousands; None of another value."""
    if isinstance(value, bool):
        return None
    scale = 1.0
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%"):
            scale, comma_is_decimal = 0.01, True
        text = text.removesuffix("%").rstrip()
        is_decimal = comma_is_decimal and DECIMAL_COMMA.fullmatch(text)
        if GROUPED.fullmatch(text) and not is_decimal:
            text = re.sub("[_,]", "", text)
        value = text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text
    try:
        return float(value) * scale
    except (TypeError, ValueError, OverflowError):
        return None


def as_plan(plan: Any) -> Proposal | Schedule:
    """Return a plan: a proposal or a schedule as it is, ratios by domain as a proposal.

    Args:
        plan: A proposal, a schedule, a mixture, a dict or a Series.

    Raises:
        ExportError: It is none of these.
    """
    if isinstance(plan, Proposal | Schedule):
        return plan
    if hasattr(plan, "items"):
        return plan_of(plan)
    raise ExportError(
        f"plan is {show(plan)}; give a Proposal, a Schedule or ratios by domain (Proposal.read reads a "
        "file)."
    )


def _find_ratios(plain: Any) -> Any:
    """Return the ratios in a parsed file: at its top, below one of `WRAPPERS`, or as a list of pairs."""
    if isinstance(plain, list):
        return _from_rows(plain)
    if not isinstance(plain, Mapping):
        return plain
    for name in WRAPPERS:
        if isinstance(plain.get(name), Mapping | list):
            return _find_ratios(plain[name])
    if len(plain) == 1 and isinstance(inner := next(iter(plain.values())), Mapping | list):
        return _find_ratios(inner)
    return plain


def _from_rows(rows: list[Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for row in rows:
        keys = {str(key).strip().lower(): key for key in row} if isinstance(row, Mapping) else {}
        name = next((keys[key] for key in NAMES if key in keys), None)
        ratio = next((keys[key] for key in RATIOS if key in keys), None)
        if name is None or ratio is None or str(row[name]) in found:
            return None
        found[str(row[name])] = row[ratio]
    return found


def _skip_comments(text: str) -> str:
    """Return a table without the comments (`# ...`) before it; a header may begin with that mark."""
    while text.startswith("#"):
        line, _, rest = text.partition("\n")
        following = rest.partition("\n")[0]
        is_header = all(line.count(mark) == following.count(mark) for mark in MARKS)
        if is_header and re.search(r"\d", following):
            return text.lstrip("# ")
        text = rest.lstrip("\n")
    return text


def _read_table(text: str) -> dict[str, Any] | None:
    text = _skip_comments(text.lstrip("\n"))
    # of marks that are as frequent, a comma may be a decimal one
    mark = max(MARKS, key=text.split("\n", 1)[0].count)
    rows = [
        row for row in csv.reader(io.StringIO(text), delimiter=mark) if any(map(str.strip, row))
    ]
    cells = [[cell.strip() for cell in row] for row in rows]
    if mark == ";":  # where numbers have decimal commas, lists have semicolons
        cells = [
            [cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell for cell in row]
            for row in cells
        ]
    if not cells or len({len(row) for row in cells}) > 1:
        return None
    if len(cells[0]) == 2 and _is_number(cells[-1][1]):
        # a series of pandas has a header without a name for its index
        body = cells if cells[0][0] and _is_number(cells[0][1]) else cells[1:]
        return dict(body) if len({row[0] for row in body}) == len(body) else None
    header = dict(zip(map(str.lower, cells[0]), range(len(cells[0])), strict=False))
    if len(cells) > 2 and any(name in header for name in NAMES):
        return _from_rows([dict(zip(cells[0], row, strict=True)) for row in cells[1:]])
    if len(cells) != 2:
        return None
    pairs = zip(cells[0], cells[1], strict=True)
    return {name: cell for name, cell in pairs if _is_number(cell)}  # the run may have a name


def _is_number(cell: str) -> bool:
    return _to_number(cell) is not None
