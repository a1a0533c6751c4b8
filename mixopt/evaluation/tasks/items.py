"""Benchmark items from JSON, CSV, Parquet or this machine, validated one by one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mixopt.config.benchmarks import (
    BenchmarkConfig,
    BitsPerByteConfig,
    BlankPerplexityConfig,
    ChoiceItemsConfig,
    ContinuationConfig,
    GenerationConfig,
    ItemsBenchmarkConfig,
)
from mixopt.data.heldout_text import read_heldout
from mixopt.data.record_fields import unwrap_records
from mixopt.data.sources import read_records
from mixopt.data.text_files import find_format
from mixopt.errors import DataError, did_you_mean
from mixopt.io.parsing import show

FEWEST_ITEMS = 2
"""Fewest items for which there is a standard error."""


def list_fields(config: ItemsBenchmarkConfig) -> list[str]:
    """List the fields that each item of a benchmark must have, as far as its config names them.

    Args:
        config: Its config.
    """
    is_blank = isinstance(config, BlankPerplexityConfig)
    # a template writes the prompt, and with blanks the statement
    has_prompt = config.prompt_field and (config.template is None or is_blank)
    fields = [config.prompt_field] if has_prompt else []
    if isinstance(config, ChoiceItemsConfig):
        fields += [config.choices_field, config.answer_field]
    if isinstance(config, BlankPerplexityConfig) and config.template is None:
        fields.append(config.statement_field)
    if isinstance(config, ContinuationConfig):
        fields.append(config.target_field)
    if isinstance(config, GenerationConfig) and config.match != "tests":
        fields.append(config.target_field)
    return fields


def read_items(config: ItemsBenchmarkConfig) -> list[tuple[str, dict[str, Any]]]:
    """Read the items of a benchmark.

    Args:
        config: Its config: file, number of items, and their fields.

    Returns:
        Pairs of an item's position, for error messages, and its fields.

    Raises:
        DataError: The file is missing, an item lacks a field, ids repeat, or items are too few.
    """
    fields = list_fields(config)
    rows = list(_read_unwrapped(config))
    ids: set[object] = set()
    for where, row in rows:
        _require_fields(row, fields, where)
        own = row.get("id")
        if own is None:
            continue
        if not isinstance(own, str | int | float):
            raise DataError(f"{where}: the id is {show(own)}, but must be text or a number.")
        if own in ids:
            raise DataError(f"{where}: the id {own!r} occurs twice; give each item its own.")
        ids.add(own)
    require_items(len(rows), config.name)
    return rows


def _read_unwrapped(config: ItemsBenchmarkConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    return islice(unwrap_records(read_rows(config.items), list_fields(config)), config.max_items)


def require_items(count: int, name: str) -> None:
    """Check that a benchmark has enough items for a standard error.

    Args:
        count: Number of items.
        name: Of the benchmark.

    Raises:
        DataError: There are too few.
    """
    if count < FEWEST_ITEMS:
        raise DataError(
            f"Benchmark {name!r} has {count} items; at least {FEWEST_ITEMS} are needed for an error bar."
        )


def _require_fields(row: dict[str, Any], fields: Sequence[str], where: str) -> None:
    for name in fields:
        if name not in row:
            raise DataError(f"{where} has no field {name!r}. {did_you_mean(name, row)}")


def read_rows(items: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Read the rows of an item file.

    Args:
        items: JSON lines or array, CSV or Parquet file, or `machine:NAME`.

    Returns:
        Pairs of an item's position, for error messages, and its fields.

    Raises:
        DataError: The file is missing or broken.
    """
    if items.startswith("machine:"):
        from mixopt.data.machine_text import read_machine_items

        rows = read_machine_items(items.removeprefix("machine:"))
        return [(f"{items}, item {number}", row) for number, row in enumerate(rows)]
    file = Path(items)
    if not file.is_file():
        raise DataError(f"{file} does not exist; fix the path.")
    format = find_format(file)
    if format == "plain":
        raise DataError(
            f"{file} is no file of items; give JSON lines, a JSON array, CSV or Parquet, with an ending "
            "that says so (.jsonl)."
        )
    return read_records(file, format)


def require_text(row: dict[str, Any], name: str, where: str, *, empty: bool = False) -> str:
    """Return the text in a field.

    Args:
        row: Fields of an item.
        name: Of the field.
        where: Position of the item, for messages.
        empty: Whether the text may be empty.

    Raises:
        DataError: The field is missing, or holds no text.
    """
    _require_fields(row, [name], where)
    text = row[name]
    if not isinstance(text, str) or (not text and not empty):
        not_empty = "" if empty else " that is not empty"
        raise DataError(f"{where}: field {name!r} must hold text{not_empty}.")
    return _require_whole(text, name, where)


def _require_whole(text: str, name: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: field {name!r} holds half a character, which is no text; fix or drop the item."
        ) from None
    return text


def read_choices(
    row: dict[str, Any], config: ChoiceItemsConfig, where: str
) -> tuple[list[str], int]:
    """Return the choices of an item, and the index of the right one.

    Args:
        row: Fields of the item.
        config: Names the fields of choices and answer.
        where: Position of the item, for messages.

    Raises:
        DataError: There are fewer than two choices, one is empty or not text, or there is no such index.
    """
    _require_fields(row, [config.choices_field, config.answer_field], where)
    choices, answer = row[config.choices_field], row[config.answer_field]
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{where}: an item needs a list of at least two choices.")
    for choice in choices:
        if not isinstance(choice, str) or not choice.strip():
            raise DataError(f"{where}: a choice is empty or no text; fix or drop the item.")
        _require_whole(choice, config.choices_field, where)
    count = len(choices)
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < count:
        raise DataError(
            f"{where}: the answer is {show(answer)}, but must be the index of one of {count} choices "
            f"(0 to {count - 1})."
        )
    return choices, answer


def read_item_texts(config: BenchmarkConfig) -> list[str]:
    """Read the full text of each item.

    Args:
        config: Config of the benchmark.

    Returns:
        One text per item; none for tasks of lm-evaluation-harness.

    Raises:
        DataError: The items cannot be read.
    """
    if isinstance(config, BitsPerByteConfig):
        documents = read_heldout(config.text, config.max_items)
        return [cut_text(document.text, config) for document in documents]
    if isinstance(config, ItemsBenchmarkConfig):
        rows = _read_unwrapped(config)
        return [" ".join(_texts_in(value) for value in row.values()) for _, row in rows]
    return []


def cut_text(text: str, config: BitsPerByteConfig) -> str:
    """Return the beginning of a document that is scored; a partial character at its end is dropped.

    Args:
        text: The document.
        config: Its benchmark; without `item_bytes` all of the document is scored.
    """
    return text.encode()[: config.item_bytes].decode(errors="ignore")


def _texts_in(value: object) -> str:
    if isinstance(value, str):
        return value
    return " ".join(map(_texts_in, value)) if isinstance(value, list) else ""
