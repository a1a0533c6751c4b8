"""Chunks of tokens as litdata's `TokensLoader` keeps them, with the ends of their items.

A chunk is the number n of its items, n + 1 offsets in bytes (all uint32), and the items one after the
other; `index.json` beside it says how a token is stored.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import DataError
from mixopt.io.parsing import load_json, show

TORCH = {
    11: "<u1",
    12: "<i1",
    13: "<i2",
    14: "<i2",
    15: "<i4",
    16: "<i4",
    17: "<i8",
    18: "<i8",
    20: "<u2",
}
NUMPY = {0: "<i1", 1: "<i2", 2: "<i4", 3: "<i8", 4: "<u1", 5: "<u2", 6: "<u4", 7: "<u8"}
"""Types of a token by litdata's numbers for those of torch and of numpy."""
FORMAT = re.compile(r"no_header_(tensor|numpy):(\d+)")
"""How an item is stored: the numbers of a tensor or array without its shape."""


def read_index(file: Path) -> dict[str, Any]:
    """Return the content of an `index.json`, empty where there is none.

    Args:
        file: The index.
    """
    try:
        plain = load_json(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


@lru_cache(maxsize=8)
def _read_chunks(folder: Path, changed: int) -> tuple[Path, ...]:
    del changed  # a part of the key, so that a folder that is written again is read again
    chunks = read_index(folder / "index.json").get("chunks")
    listed = chunks if isinstance(chunks, list) else []
    names = [chunk.get("filename") for chunk in listed if isinstance(chunk, dict)]
    return tuple(folder / Path(name).name for name in names if isinstance(name, str))


def is_chunk(path: Path) -> bool:
    """Return whether a file is a chunk of litdata, by the index beside it.

    Args:
        path: The file.
    """
    return path.suffix == ".bin" and path in list_chunks(path.parent)


def list_chunks(folder: Path) -> list[Path]:
    """Return the chunks of a folder in their order; none where it is no folder of litdata.

    Args:
        folder: The folder.
    """
    index = folder / "index.json"
    return list(_read_chunks(folder, index.stat().st_mtime_ns)) if index.is_file() else []


def open_chunk(path: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Map the tokens of a chunk, and read where its items end.

    Args:
        path: The chunk; `index.json` is beside it.

    Returns:
        Tokens of all items, and the place after each item in tokens.

    Raises:
        DataError: The chunk is compressed, damaged, or holds something else than tokens.
    """
    config = read_index(path.with_name("index.json")).get("config")
    settings: dict[str, Any] = config if isinstance(config, dict) else {}
    for name in ("compression", "encryption"):
        if settings.get(name):
            raise DataError(
                f"{path.parent} is written by litdata with {name} ({show(settings[name])}); write it "
                "again without."
            )
    data_format = settings.get("data_format")
    stored = data_format[0] if isinstance(data_format, list) and len(data_format) == 1 else None
    match = FORMAT.fullmatch(stored) if isinstance(stored, str) else None
    dtype = {"tensor": TORCH, "numpy": NUMPY}[match[1]].get(int(match[2])) if match else None
    if dtype is None:
        raise DataError(
            f"{path.parent} is written by litdata and holds {show(data_format)}, not tokens of a "
            "TokensLoader; write it by litdata.optimize(item_loader=TokensLoader()), or give the text."
        )
    n_bytes = path.stat().st_size if path.is_file() else 0
    count = int(np.fromfile(path, "<u4", 1)[0]) if n_bytes >= 4 else 0
    if not count or n_bytes < 4 * (count + 2):
        raise DataError(f"{path} is no whole chunk of litdata; copy it again.")
    offsets = np.fromfile(path, "<u4", count + 1, offset=4).astype(np.int64)
    if int(offsets[-1]) > n_bytes or (np.diff(offsets) < 0).any():
        raise DataError(f"{path} is shorter than its offsets say; copy it again.")
    size = np.dtype(dtype).itemsize
    ends = (offsets[1:] - offsets[0]) // size
    tokens = np.memmap(path, dtype, mode="r", offset=int(offsets[0]), shape=(int(ends[-1]),))
    return tokens, ends
