"""Benchmark items from JSONL, Parquet or the machine, checked one by one."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mixopt.config.benchmarks import BenchmarkConfig, BitsPerByteConfig, ItemsBenchmarkConfig
from mixopt.data.sources import read_documents, read_jsonl, read_parquet
from mixopt.errors import DataError, did_you_mean
from mixopt.io.parsing import show

FEWEST_ITEMS = 2
"""Below this there is no standard error."""


def read_items(
    recipe: ItemsBenchmarkConfig, fields: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Items with all `fields`, each with the words that name its place in errors.

    Raises:
        DataError: The file is missing, an item lacks a field, ids repeat, or items are too few.
    """
    rows = list(islice(read_rows(recipe.items), recipe.max_items))
    ids: set[object] = set()
    for where, row in rows:
        require_fields(row, fields, where)
        own = row.get("id")
        if own is None:
            continue
        if not isinstance(own, str | int | float):
            raise DataError(f"{where}: the id is {show(own)}, but must be text or a number.")
        if own in ids:
            raise DataError(f"{where}: the id {own!r} stands twice; give each item its own.")
        ids.add(own)
    require_items(len(rows), recipe.name)
    return rows


def require_items(count: int, name: str) -> None:
    """Raises `DataError` where a benchmark has too few items for a standard error."""
    if count < FEWEST_ITEMS:
        raise DataError(
            f"Benchmark {name!r} has {count} items; at least {FEWEST_ITEMS} are needed for a "
            "standard error."
        )


def require_fields(row: dict[str, Any], fields: Sequence[str], where: str) -> None:
    """Raises `DataError` for the first of `fields` that a row lacks."""
    for name in fields:
        if name not in row:
            raise DataError(f"{where} has no field {name!r}. {did_you_mean(name, row)}")


def read_rows(items: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Rows of a file, or `machine:NAME`, each with the words that name its place.

    Raises:
        DataError: The file is missing or broken.
    """
    if items.startswith("machine:"):
        from mixopt.data.machine_text import read_machine_items

        rows = read_machine_items(items.removeprefix("machine:"))
        return [(f"{items}, item {number}", row) for number, row in enumerate(rows)]
    file = Path(items)
    return read_parquet(file, None) if file.suffix == ".parquet" else read_jsonl(file)


def require_text(row: dict[str, Any], name: str, where: str, *, empty: bool = False) -> str:
    """The text in a field; empty only where that is allowed."""
    require_fields(row, [name], where)
    text = row[name]
    if not isinstance(text, str) or (not text and not empty):
        raise DataError(
            f"{where}: field {name!r} must hold text{'' if empty else ' that is not empty'}."
        )
    return _require_whole(text, name, where)


def _require_whole(text: str, name: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: field {name!r} holds half a character, which is no text; mend or drop the item."
        ) from None
    return text


def read_choices(row: dict[str, Any], name: str, where: str) -> list[str]:
    """The choices of an item: two or more, none of them empty.

    Raises:
        DataError: They are fewer, or no text.
    """
    require_fields(row, [name], where)
    choices = row[name]
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{where}: an item needs a list of at least two choices.")
    for choice in choices:
        if not isinstance(choice, str) or not choice.strip():
            raise DataError(f"{where}: a choice is empty or no text; mend or drop the item.")
        _require_whole(choice, name, where)
    return choices


def read_answer(row: dict[str, Any], name: str, count: int, where: str) -> int:
    """The index of the right one of `count` choices.

    Raises:
        DataError: It is none.
    """
    require_fields(row, [name], where)
    answer = row[name]
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < count:
        raise DataError(
            f"{where}: the answer is {show(answer)}, but must be the index of one of {count} choices "
            f"(0 to {count - 1})."
        )
    return answer


def read_item_texts(recipe: BenchmarkConfig) -> list[str]:
    """The whole text of each item; nothing for kinds whose items are not ours to read.

    Raises:
        DataError: The items cannot be read.
    """
    texts: list[str] = []
    if isinstance(recipe, BitsPerByteConfig):
        for document in read_documents(recipe.text):
            if len(texts) == recipe.max_items:
                break
            texts.append(document.text)
    elif isinstance(recipe, ItemsBenchmarkConfig):
        for _, row in read_rows(recipe.items):
            if len(texts) == recipe.max_items:
                break
            texts.append(" ".join(_texts_in(value) for value in row.values()))
    return texts


def _texts_in(value: object) -> str:
    if isinstance(value, str):
        return value
    return " ".join(map(_texts_in, value)) if isinstance(value, list) else ""
