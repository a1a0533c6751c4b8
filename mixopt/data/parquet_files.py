"""Parquet files, read a batch of rows at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixopt.data.remote_files import TextFile
from mixopt.errors import DataError, did_you_mean, one_line

PARQUET_ROWS = 1024
TEXT_TYPES = ("STRING", "JSON")
"""Logical types of columns that may hold a record as JSON text."""


def read_parquet(file: TextFile, columns: list[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a Parquet file, a batch at a time.

    Args:
        file: The file.
        columns: Columns to read, as for `open_parquet`; all if None.

    Returns:
        Iterator of pairs: position of the row, for error messages, and its fields.

    Raises:
        DataError: The file does not exist, is no Parquet, or lacks a column.
    """
    table = open_parquet(file, columns)
    stored = find_columns(table, columns)
    yield from read_batches(table.iter_batches(batch_size=PARQUET_ROWS, columns=stored), file)


def open_parquet(file: TextFile, columns: list[str] | None, **options: Any) -> Any:
    """Open a Parquet file.

    Args:
        file: The file.
        columns: Columns that it must have, or paths into the JSON text of a column.
        options: Of `pyarrow.parquet.ParquetFile`.

    Raises:
        DataError: The file does not exist, is no Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise DataError(f"{file} does not exist; fix the path.")
    try:
        local = isinstance(file, Path)
        table = pq.ParquetFile(file if local else file.open("rb"), **options)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file} is not a Parquet file ({one_line(error)}); replace it.") from None
    for name in columns or []:
        if _find_column(table, name) is None:
            hint = did_you_mean(name, _list_names(table))
            raise DataError(f"{file} has no column {name!r}. {hint}")
    return table


def find_columns(table: Any, columns: list[str] | None) -> list[str] | None:
    """Return the columns of a Parquet file in which fields lie, each once.

    Args:
        table: The file, opened with these columns.
        columns: Columns, or paths into the JSON text of a column (`meta.lang` in `meta`); all if None.
    """
    if columns is None:
        return None
    return list(dict.fromkeys(_find_column(table, name) or name for name in columns))


def _find_column(table: Any, name: str) -> str | None:
    """Return the column of a field: of that name or path, else of text that a record may be in."""
    if any(name == one or one.startswith(f"{name}.") for one in _list_names(table)):
        return name
    texts = {c.path for c in table.schema if c.logical_type.type in TEXT_TYPES}
    parts = name.split(".")
    outer = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next((path for path in outer if path in texts), None)


def _list_names(table: Any) -> list[str]:
    return [*table.schema_arrow.names, *(column.path for column in table.schema)]


def read_batches(
    batches: Iterator[Any], file: TextFile, *, before: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of record batches.

    Args:
        batches: Of a Parquet file.
        file: The file, for messages.
        before: Number of rows before the first batch.

    Raises:
        DataError: The file is damaged.
    """
    import pyarrow as pa

    number = before
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{file} is damaged after row {number} ({one_line(error)}); fetch it again."
            ) from None
        if batch is None:
            return
        for row in rows:
            number += 1
            yield f"{file}, row {number}", row
