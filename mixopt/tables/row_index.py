"""The index of a data frame as columns: notebooks keep names of runs, sizes and seeds there."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError
from mixopt.io.field_names import is_id
from mixopt.tables.run_ids import find_id_column

if TYPE_CHECKING:
    import pandas as pd

UNNAMED_IDS = "index"
"""Column of an index of texts without a name; `reset_index` calls it so too."""


def index_as_columns(
    frame: "pd.DataFrame",
    where: str,
    id_column: str | None = None,
    ignore: Collection[str] = (),
) -> "pd.DataFrame":
    """Return a table whose index is in its columns; positions of rows are left out.

    Args:
        frame: One row per run (`n` rows).
        where: Name of the table.
        id_column: Column that names the runs, if the user names it.
        ignore: Columns that are left out, and domains.

    Returns:
        The table with a column for each named level that is not a column already. Texts without a
        name are ids if no column is called as ids are.

    Raises:
        TrialsError: One of several levels holds text and has no name.
    """
    import pandas as pd

    index = frame.index
    texts = [
        any(isinstance(one, str) for one in index.get_level_values(place).unique())
        for place in range(index.nlevels)
    ]
    unnamed = [place for place, name in enumerate(index.names) if name is None]
    if index.nlevels > 1 and any(texts[place] for place in unnamed):
        raise TrialsError(
            f"{where} has an index of {index.nlevels} levels, and one that holds text has no name; name "
            "the levels (frame.index.names = ['model_size', 'run'], say), or drop them by "
            "reset_index(drop=True)."
        )
    columns = set(map(str, frame.columns))
    names = [None if name is None else str(name).strip() for name in index.names]
    if isinstance(index, pd.RangeIndex) and not is_id(names[0] or "", id_column):
        names = [None]  # positions, whatever they are called
    elif unnamed and texts[0] and id_column is None and find_id_column(frame, ignore) is None:
        names = [UNNAMED_IDS]
    kept = {
        name: index.get_level_values(place)
        for place, name in enumerate(names)
        if name is not None and name not in columns
    }
    frame = frame.reset_index(drop=True)
    for place, (name, cells) in enumerate(kept.items()):
        frame.insert(place, name, cells)
    return frame
