"""Datasets of the `datasets` library: a saved one, a local folder, or one of the hub, as rows."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixopt.config.text import HubTextConfig
from mixopt.errors import DataError, one_line, require_extra

log = logging.getLogger(__name__)


def open_dataset(source: HubTextConfig) -> Any:
    """Open a dataset: a saved one, or any other as a stream of rows.

    Args:
        source: Names it.

    Raises:
        DataError: It cannot be loaded.
    """
    require_extra("hub")
    import datasets

    saved = Path(source.path)
    if not saved.is_dir() and "/" not in source.path:
        raise DataError(
            f"Dataset {source.path!r} is no folder and no OWNER/NAME of the hub; fix its path."
        )
    try:
        if (saved / "state.json").is_file() or (saved / "dataset_dict.json").is_file():
            rows = datasets.load_from_disk(source.path)  # saved by Dataset.save_to_disk
            rows = rows[source.split] if isinstance(rows, datasets.DatasetDict) else rows
        else:
            options = {"split": source.split, "revision": source.revision, "streaming": True}
            rows = datasets.load_dataset(source.path, source.name, **options)
        return rows
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"Dataset {source.path!r} cannot be loaded ({one_line(error)}); fix its path, name or split."
        ) from None


def each_row(rows: Any, path: str) -> Iterator[Any]:
    """Yield the rows of a dataset.

    Args:
        rows: The dataset.
        path: Its name, for messages.

    Raises:
        DataError: It cannot be read.
    """
    try:
        yield from rows
    except DataError:
        raise
    except Exception as error:  # libraries of file formats raise errors of many types
        raise DataError(f"Dataset {path!r} cannot be read ({one_line(error)}); fix it.") from error


def describe_version(source: HubTextConfig) -> Any:
    """Return what changes with the content of a dataset, without reading it.

    Args:
        source: Names it.

    Returns:
        Of a folder name, size and time of the last change of each file; of a dataset of the hub the
        commit, or None where the hub cannot be asked.
    """
    folder = Path(source.path)
    if folder.is_dir():
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        found = [(file.relative_to(folder).as_posix(), file.stat()) for file in files]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(source.path, revision=source.revision, timeout=10).sha
    except (
        Exception
    ) as error:  # offline, or a mirror that cannot tell, by errors of several libraries
        log.info("The commit of dataset %r is not known (%s); its sample is kept by its size.",
                 source.path, one_line(error))  # fmt: skip
        return None
