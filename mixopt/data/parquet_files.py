"""Parquet files, read a batch of rows at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixopt.data.remote_files import TextFile
from mixopt.errors import DataError, did_you_mean, one_line

PARQUET_ROWS = 1024


def read_parquet(file: TextFile, columns: list[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a Parquet file, a batch at a time.

    Args:
        file: The file.
        columns: Columns to read; all if None.

    Returns:
        Iterator of pairs: position of the row, for error messages, and its fields.

    Raises:
        DataError: The file does not exist, is no Parquet, or lacks a column.
    """
    table = open_parquet(file, columns)
    yield from read_batches(table.iter_batches(batch_size=PARQUET_ROWS, columns=columns), file)


def open_parquet(file: TextFile, columns: list[str] | None, **options: Any) -> Any:
    """Open a Parquet file.

    Args:
        file: The file.
        columns: Columns that it must have.
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
        known = [*table.schema_arrow.names, *(column.path for column in table.schema)]
        if not any(name == one or one.startswith(f"{name}.") for one in known):
            hint = did_you_mean(name, known)
            raise DataError(f"{file} has no column {name!r}. {hint}")
    return table


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
