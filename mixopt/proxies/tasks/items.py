"""Benchmark items from JSONL, Parquet or the machine, checked one by one."""

from itertools import islice
from pathlib import Path
from typing import Any

from mixopt.errors import DataError, did_you_mean
from mixopt.proxies.sources import read_jsonl, read_parquet
from mixopt.recipe import ItemsBenchmark

FEWEST_ITEMS = 2
"""Below this there is no standard error."""


def read_items(recipe: ItemsBenchmark, fields: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Items with all `fields`, each with the words that name its place in errors.

    Raises:
        DataError: The file is missing, an item lacks a field, ids repeat, or items are too few.
    """
    rows = list(islice(_read_rows(recipe, fields), recipe.max_items))
    ids: set[object] = set()
    for where, row in rows:
        for name in fields:
            if name not in row:
                raise DataError(f"{where} has no field {name!r}. {did_you_mean(name, row)}")
        if row.get("id") in ids:
            raise DataError(f"{where}: the id {row['id']!r} stands twice; give each item its own.")
        if row.get("id") is not None:
            ids.add(row["id"])
    require_items(len(rows), recipe.name)
    return rows


def require_items(count: int, name: str) -> None:
    """Raises `DataError` where a benchmark has too few items for a standard error."""
    if count < FEWEST_ITEMS:
        raise DataError(
            f"Benchmark {name!r} has {count} items; at least {FEWEST_ITEMS} are needed for a "
            "standard error."
        )


def _read_rows(recipe: ItemsBenchmark, fields: list[str]) -> Any:
    if recipe.items.startswith("machine:"):
        from mixopt.proxies.machine_text import read_machine_items

        name = recipe.items.removeprefix("machine:")
        return [
            (f"{recipe.items}, item {i}", row) for i, row in enumerate(read_machine_items(name))
        ]
    file = Path(recipe.items)
    if file.suffix == ".parquet":
        return read_parquet(file, fields)
    return read_jsonl(file)


def require_text(row: dict[str, Any], name: str, where: str, *, empty: bool = False) -> str:
    """The text in a field; empty only where that is allowed."""
    text = row[name]
    if not isinstance(text, str) or (not text and not empty):
        raise DataError(
            f"{where}: field {name!r} must hold text{'' if empty else ' that is not empty'}."
        )
    return text
