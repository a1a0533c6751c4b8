"""Find the column that tells models of several sizes apart, so that they are not fitted as one.

Trackers and papers call it `model_size`, `n_params`, `model`, ...; its cells are a number of parameters
or a name with one (`Tiny-60M`).
"""

import logging
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from mixopt.errors import TrialsError
from mixopt.io.field_names import plain_name
from mixopt.io.model_sizes import SIZE, parse_size, show_size
from mixopt.tables.columns import FIDELITY_COLUMNS, is_fidelity, without_tracker
from mixopt.tables.numbers import as_numbers
from mixopt.trial import KINDS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

COUNT_NAMES = frozenset({
    "nparams", "numparams", "nparameters", "numparameters", "params", "parameters", "totalparams",
    "totalparameters", "paramcount", "parametercount", "modelparams", "modelparameters",
    "nonembeddingparams", "nonembedparams", "numnonembeddingparams", "nnonembeddingparams",
})  # fmt: skip
"""Numbers of parameters, without case and marks."""
SIZE_NAMES = frozenset({"modelsize", "size", "scale"})
"""Sizes; other things than models have one too, so cells count that plainly are sizes."""
MODEL_NAMES = frozenset({
    "model", "modelname", "modelid", "basemodel", "proxymodel", "proxy", "arch", "architecture",
    "modelconfig", "modeltype",
})  # fmt: skip
"""Names of models."""
TOKEN_NAMES = frozenset({
    "tokens", "ntokens", "numtokens", "tokensseen", "consumedtokens", "traintokens", "trainingtokens",
    "totaltokens", "maxtokens", "budgettokens", "tokenbudget",
})  # fmt: skip
"""Tokens that a run was trained on."""
SAME_SIZE = 1.1
"""Factor within which numbers of parameters are one size: they differ by vocabulary, for example."""
SHOWN = 6


def name_fidelities(
    frame: "pd.DataFrame",
    where: str,
    *,
    given: Sequence[str] | None = None,
    ignore: Collection[str] = (),
) -> "pd.DataFrame":
    """Return the table with the column that tells models apart called as in `FIDELITY_COLUMNS`.

    Args:
        frame: One row per run, without its id column (`n` rows).
        where: Name of the table, for messages.
        given: Fidelities as the user names them; a column that has all of them is the one.
        ignore: Columns that the user leaves out, and domains.

    Returns:
        The frame with at most one such column; further ones and names of models are left out.

    Raises:
        TrialsError: A column names several models without a size, or has empty cells.
    """
    columns = [c for c in map(str, frame.columns) if c not in ignore]
    frame = frame.set_axis(list(map(str, frame.columns)), axis="columns")
    column = _find_named(frame, columns, given) if given else None
    if column is None:
        own = [c for name in FIDELITY_COLUMNS for c in columns if _canonical(c) == name]
        own = [c for c in own if _canonical(c) != "kind" or _holds_kinds(frame[c])]
        several = [c for c in own if frame[c].nunique() > 1]
        column = next(iter(several), None) or _find_sizes(frame, columns) or next(iter(own), None)
    others = [c for c in columns if c != column and _is_statement(frame, c)]
    _say_kinds(frame, [c for c in others if _canonical(c) == "kind"], where)
    if column is None:
        _refuse_models(frame, columns, where)
        return frame.drop(columns=others)
    cells = frame[column]
    if _plain(column) in COUNT_NAMES | TOKEN_NAMES:
        cells = _group(cells)
    elif _plain(column) not in MODEL_NAMES:
        cells = _spell_alike(cells, given or ())
    name = _canonical(column) or FIDELITY_COLUMNS[0]
    if column != name:
        _require_filled(cells, column, where)
    if cells.nunique() > 1:
        log.info("%s: %r tells models apart: %s.", where, column, _count(cells))
    return frame.drop(columns=[column, *others]).assign(**{name: cells})


def warn_of_sizes(ids: "pd.Series[Any]", where: str) -> None:
    """Log a warning if runs of several sizes are told apart by their names alone.

    Args:
        ids: Names of the runs (`n`).
        where: Name of the table.
    """
    sizes = [parse_size(name) for name in ids.astype(str) if not name.isdigit()]
    different = {size for size in sizes if size is not None}
    if len(different) > 1 and None not in sizes and len(sizes) > 2 * len(different):
        shown = ", ".join(show_size(size) for size in sorted(different)[:SHOWN])
        log.warning(
            "%s: the names of its runs hold sizes (%s), and all runs are taken as one; if these are "
            "models of several sizes, state them in a column model_size.", where, shown,
        )  # fmt: skip


def warn_of_budgets(frame: "pd.DataFrame", where: str, ignore: Collection[str] = ()) -> None:
    """Log a warning if runs of several token budgets are taken as one.

    Args:
        frame: One row per run, without a fidelity column (`n` rows).
        where: Name of the table.
        ignore: Columns that are something else.
    """
    for column in map(str, frame.columns):
        cells = frame[column]
        if _plain(column) not in TOKEN_NAMES or column in ignore:
            continue
        if not all(parse_size(_spell(cell)) for cell in cells.unique()):
            continue
        budgets = _group(cells).value_counts(sort=False)
        if 1 < len(budgets) <= min(SHOWN, len(cells) / 2):
            sizes = sorted(map(str, budgets.index), key=lambda budget: parse_size(budget) or 0.0)
            log.warning(
                "%s: its runs have several budgets (%s by %r), and all runs are taken as one; give "
                "fidelities= (--fidelities %s on the shell) to fit them as such.",
                where, ", ".join(f"{size} {budgets[size]}" for size in sizes), column, ",".join(sizes),
            )  # fmt: skip
            return


def _canonical(column: str) -> str | None:
    """Return the name of `FIDELITY_COLUMNS` that a column has in other letters, if any."""
    plain = plain_name(without_tracker(column))
    return next((name for name in FIDELITY_COLUMNS if plain_name(name) == plain), None)


def _holds_kinds(cells: "pd.Series[Any]") -> bool:
    """Return whether cells are kinds of trials or sizes; many other things are called `kind`."""
    texts = [_spell(cell) for cell in cells.dropna().unique()]
    return all(text in KINDS or not text or parse_size(text) is not None for text in texts)


def _say_kinds(frame: "pd.DataFrame", columns: Sequence[str], where: str) -> None:
    for column in columns:
        if not _holds_kinds(frame[column]) and frame[column].nunique() > 1:
            texts = [_spell(cell) for cell in frame[column].dropna().unique()[:SHOWN]]
            log.warning(
                "%s: %r holds neither kinds of trials (%s) nor sizes (%s) and is left out; give "
                "fidelities= (--fidelities %s on the shell) if these are fidelities.",
                where, column, ", ".join(KINDS), ", ".join(texts), ",".join(texts),
            )  # fmt: skip


def _plain(column: str) -> str:
    """Return the last part of a column's name, without case and marks."""
    return re.sub(r"[^a-z0-9]", "", re.split(r"[/.:]", column)[-1].lower())


def _is_statement(frame: "pd.DataFrame", column: str) -> bool:
    """Return whether a column states a size or a model, and is neither a metric nor a domain."""
    if is_fidelity(column):
        return True
    texts = [_spell(cell) for cell in frame[column].dropna().unique()]
    sizes = [parse_size(text) for text in texts]
    if _plain(column) in COUNT_NAMES | SIZE_NAMES:
        return None not in sizes
    return _plain(column) in MODEL_NAMES and frame[column].dtype.kind not in "biuf"


def _find_named(frame: "pd.DataFrame", columns: Sequence[str], given: Sequence[str]) -> str | None:
    wanted = {str(name) for name in given}
    sizes = {parse_size(name) for name in wanted}
    for column in columns:
        cells = frame[column].dropna()
        if cells.nunique() > max(2 * len(wanted), 100):
            continue
        if _plain(column) in TOKEN_NAMES:
            cells = _group(cells)
        texts = {_spell(cell) for cell in cells.unique()}
        if wanted <= texts or (None not in sizes and sizes <= {parse_size(text) for text in texts}):
            return column
    return None


def _find_sizes(frame: "pd.DataFrame", columns: Sequence[str]) -> str | None:
    """Return the first column that states several sizes, counts of parameters first."""
    for names in (SIZE_NAMES, COUNT_NAMES, MODEL_NAMES):
        for column in columns:
            if _plain(column) in names:
                sizes = {parse_size(_spell(cell)) for cell in frame[column].dropna().unique()}
                if len(sizes) > 1 and None not in sizes and _group(frame[column]).nunique() > 1:
                    return column
    return None


def _refuse_models(frame: "pd.DataFrame", columns: Sequence[str], where: str) -> None:
    """Refuse runs of several models that nothing orders; names that are unique name runs."""
    for column in columns:
        cells = frame[column]
        # numbers that are called a size or a scale may be anything
        called = _plain(column) in MODEL_NAMES or (
            _plain(column) in SIZE_NAMES and bool(as_numbers(cells).isna().all())
        )
        if called and 1 < cells.nunique() <= len(cells) / 2:
            names = ",".join(_spell(cell) for cell in cells.dropna().unique()[:SHOWN])
            raise TrialsError(
                f"{where} has runs of several models ({_count(cells)} by its column {column!r}), which "
                f"are not one fit; give fidelities= (--fidelities {names} on the shell) from the lowest "
                f"to the one to predict, or ignore={column!r} (--ignore {column}) to take them as one."
            )


def _group(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return sizes as text, those within a factor of `SAME_SIZE` of the next smaller as one."""
    sizes = {cell: parse_size(_spell(cell)) for cell in cells.dropna().unique()}
    if None in sizes.values():
        return cells
    label: dict[Any, str] = {}
    last, shown = 0.0, ""
    for cell, size in sorted(sizes.items(), key=lambda item: item[1] or 0.0):
        if not last or (size or 0.0) > last * SAME_SIZE:
            shown = show_size(size or 0.0)
        last, label[cell] = size or 0.0, shown
    return cells.map(label)


def _spell_alike(cells: "pd.Series[Any]", given: Sequence[str]) -> "pd.Series[Any]":
    """Return sizes with one spelling each (`1B` for `1b` and `1000M`), that of the user if there is one.

    Args:
        cells: Sizes, or other names, which stay.
        given: Fidelities as the user names them.
    """
    spellings: dict[float, list[str]] = {}
    for cell in cells.dropna().unique():
        text = str(cell).strip()
        size = parse_size(text) if isinstance(cell, str) and SIZE.fullmatch(text) else None
        if size is not None:
            spellings.setdefault(size, []).append(cell)
    label: dict[Any, str] = {}
    for size, texts in spellings.items():
        if len(texts) > 1:
            wanted = [text for text in (*given, show_size(size)) if text in map(str.strip, texts)]
            label |= dict.fromkeys(texts, (wanted or [min(texts).strip()])[0])
    return cells.map(lambda cell: label.get(cell, cell), na_action="ignore") if label else cells


def _require_filled(cells: "pd.Series[Any]", column: str, where: str) -> None:
    blank = cells.isna() | (cells.astype(str).str.strip() == "")
    if blank.any():
        raise TrialsError(
            f"{where}: {int(blank.sum())} runs have no {column!r}, which tells models of several sizes "
            f"apart; fill it in, or leave the column out (ignore=, --ignore {column} on the shell)."
        )


def _spell(cell: object) -> str:
    return f"{cell:.15g}" if isinstance(cell, int | float) else str(cell).strip()


def _count(cells: "pd.Series[Any]") -> str:
    counts = cells.map(_spell, na_action="ignore").value_counts(sort=False)
    shown = [f"{name} {count}" for name, count in counts.items()]
    return ", ".join(shown[:SHOWN]) + (
        f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    )
