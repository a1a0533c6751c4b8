"""Parquet files, read a batch of rows at a time."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from mixopt.data.remote_files import TextFile
from mixopt.errors import DataError, did_you_mean, one_line

PARQUET_ROWS = 1024
SAMPLE_ROWS = 64
"""Rows of a row group that are decoded at a time where a few of them are read."""
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


def count_column_bytes(table: Any, number: int, columns: list[str] | None) -> int:
    """Return the bytes of a row group that its columns are unpacked to.

    Args:
        table: The file.
        number: Of the row group.
        columns: As `find_columns` returns them; all if None.
    """
    group = table.metadata.row_group(number)
    chunks = [group.column(index) for index in range(group.num_columns)]
    if columns is not None:
        beginnings = tuple(f"{column}." for column in columns)
        chunks = [chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(beginnings)]
    return sum(chunk.total_uncompressed_size for chunk in chunks)


def read_rows(
    table: Any, file: TextFile, number: int, columns: list[str] | None, places: Sequence[int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a few rows of a row group.

    What is before a row must be decoded, but only the rows themselves are converted and held.

    Args:
        table: The file.
        file: Its path, for messages.
        number: Of the row group.
        columns: As `find_columns` returns them; all if None.
        places: Number of each row in the group, each once, in the order in which they are returned.

    Returns:
        Iterator of pairs: position of the row in the file, for messages, and its fields.

    Raises:
        DataError: The file is damaged.
    """
    before = sum(table.metadata.row_group(i).num_rows for i in range(number))
    batches = table.iter_batches(SAMPLE_ROWS, row_groups=[number], columns=columns)
    chosen = {before + place for place in places}
    rows = read_batches(batches, file, before=before, chosen=chosen)
    found = dict(zip(sorted(chosen), rows, strict=True))
    return (found.pop(before + place) for place in places)


def read_batches(
    batches: Iterator[Any],
    file: TextFile,
    *,
    before: int = 0,
    chosen: Collection[int] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of record batches.

    Args:
        batches: Of a Parquet file.
        file: The file, for messages.
        before: Number of rows before the first batch.
        chosen: Numbers of the rows that are read, from 0 on; batches are read up to the last of them.
            All if None.

    Raises:
        DataError: The file is damaged.
    """
    import pyarrow as pa

    number, last = before, None if chosen is None else max(chosen, default=-1)
    while last is None or number <= last:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else _convert(batch, number, chosen)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{file} is damaged after row {number} ({one_line(error)}); fetch it again."
            ) from None
        if batch is None:
            return
        for place, row in rows:
            yield f"{file}, row {place + 1}", row
        number += batch.num_rows


def _convert(
    batch: Any, before: int, chosen: Collection[int] | None
) -> list[tuple[int, dict[str, Any]]]:
    """Return the chosen rows of a batch, each with its number in the file."""
    if chosen is None:
        return list(enumerate(batch.to_pylist(), start=before))
    places = [place for place in range(batch.num_rows) if before + place in chosen]
    return [(before + place, batch.slice(place, 1).to_pylist()[0]) for place in places]
