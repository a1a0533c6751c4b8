"""Rows that are spread over the row groups of a Parquet file.

Parquet is decoded from the beginning of a row group on. Of files with many of them the beginnings of
some are spread over the file well enough; of others rows all over each are read, in an order of which
every beginning is spread evenly, and what lies between is decoded and dropped.
"""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mixopt.data.parquet_files import count_column_bytes, find_columns, open_parquet, read_rows
from mixopt.data.remote_files import RemoteFile, TextFile
from mixopt.data.sample import PARTS, spread_order

FEW_GROUPS = 16
"""Row groups of a file above which the beginnings of some are spread over it well enough."""
DECODED, DECODED_REMOTE = 1 << 31, 1 << 29
"""Bytes that are decoded, about, to read rows all over the row groups of files with few of them."""
HELD = 1 << 27
"""Bytes of rows that are held at a time, about."""
SEED_STEP = 1_000_003
"""Step of the seed from a row group to the next, so that not the same places of each are read."""


class RowGroups:
    """Row groups of a file, whose rows are read in an order of their own.

    Args:
        file: The file.
        needed: Columns, or paths into the JSON text of a column.
        seed: Of the order.

    Attributes:
        n_groups: Number of row groups.
        n_rows: Number of rows.

    Raises:
        DataError: The file is no Parquet, or lacks a column.
    """

    def __init__(self, file: TextFile, needed: list[str], seed: int) -> None:
        self._file, self._seed = file, seed
        self._table: Any = open_parquet(file, needed, buffer_size=1 << 16, pre_buffer=False)
        self._columns = find_columns(self._table, needed)
        self.n_groups: int = self._table.metadata.num_row_groups
        self.n_rows: int = self._table.metadata.num_rows
        self._reach = 0.0

    def set_reach(self, n_files: int, n_groups: int, least: float) -> None:
        """Set how far rows are spread, which must be the same in each call.

        Args:
            n_files: Number of files that are read.
            n_groups: Row groups of this file that are read at first.
            least: Bytes that may be decoded of all files in any case.
        """
        if self.n_groups > FEW_GROUPS:
            return
        most = DECODED_REMOTE if isinstance(self._file, RemoteFile) else DECODED
        self._reach = max(most, least) / (n_groups * min(n_files, PARTS))

    def count_rows(self, group: int) -> int:
        """Return the number of rows of a row group."""
        return int(self._table.metadata.row_group(group).num_rows)

    def is_cut(self, group: int) -> bool:
        """Return whether a row group is so large that the first rows are spread over a part of it."""
        return self._reach > 0 and self._count_block(group) < self.count_rows(group)

    def _row_bytes(self, group: int) -> float:
        n_bytes = count_column_bytes(self._table, group, self._columns)
        return max(1, n_bytes) / max(1, self.count_rows(group))

    def _count_block(self, group: int) -> int:
        """Return the rows over which the first ones are spread; 1 where they are just the first ones."""
        rows = max(1, self.count_rows(group))
        return min(rows, max(1, int(self._reach / self._row_bytes(group))))

    def _order(self, group: int) -> Iterator[int]:
        """Yield each row of a row group once, spread over one block of rows after the other."""
        rows, block = self.count_rows(group), self._count_block(group)
        seed = self._seed + SEED_STEP * group
        for start in range(0, rows, block):
            yield from (start + place for place in spread_order(min(block, rows - start), seed))

    def read(
        self, group: int, before: int, n_bytes: float
    ) -> Iterator[tuple[int, tuple[str, dict[str, Any]]]]:
        """Read rows of a row group.

        Args:
            group: Its number.
            before: Rows of its order that were read.
            n_bytes: Bytes that are wanted, about; of more than half of its rows all are read.

        Returns:
            Iterator of pairs: number of the row in the group, and its position, for messages, with its
            fields.

        Raises:
            DataError: The file is damaged.
        """
        # by rows: a number of bytes that ends with a long text would hold too many long ones
        wanted = math.ceil(n_bytes / self._row_bytes(group))
        if 2 * wanted > self.count_rows(group):
            wanted = self.count_rows(group)
        places = list(islice(self._order(group), before, before + wanted))
        held = max(1, int(HELD / self._row_bytes(group)))
        for start in range(0, len(places), held):
            some = places[start : start + held]
            found = read_rows(self._table, self._file, group, self._columns, some)
            yield from zip(some, found, strict=True)
