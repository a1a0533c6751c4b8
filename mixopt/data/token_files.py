"""Files of tokens that other programs wrote, memory-mapped: Megatron, OLMo, datatrove, litdata.

Each gives the documents that begin in a range of its tokens, without reading anything else.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixopt.config.text import TokensTextConfig
from mixopt.data.litdata_files import is_chunk, list_chunks, open_chunk, read_index
from mixopt.errors import DataError, one_line
from mixopt.io.globs import drop_repeats, expand_glob

MEGATRON = b"MMIDIDX\x00\x00"
MEGATRON_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Types of a token by the code in the index."""
HEADER = len(MEGATRON) + struct.calcsize("<QBQQ")
NUMPY = b"\x93NUMPY"
PROBED = 1 << 16
"""Tokens at the beginning and in the middle of a file that tell the type of a token."""
LONGEST = 1 << 22
"""Tokens in which a separator must occur."""
SEARCHED = 1 << 14
"""Tokens in which the end of a document is searched for at a time."""

Tokens = NDArray[Any]


class TokenFile(Protocol):
    """Tokens of many documents in one file.

    Attributes:
        path: The file.
        n_tokens: Number of tokens.
        token_bytes: Bytes of a token.
    """

    path: Path
    n_tokens: int
    token_bytes: int

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Tokens]]:
        """Yield the documents that begin at tokens `start` to `stop`, each with the place of its end."""


def list_token_files(source: TokensTextConfig) -> list[Path]:
    """Find the files of tokens; of Megatron's pairs the `.bin`, of litdata's folders the chunks.

    Args:
        source: Its globs or prefixes.

    Raises:
        DataError: A glob matches nothing, or a file has no known ending.
    """
    files: list[Path] = []
    for pattern in source.paths:
        names = expand_glob(pattern) or expand_glob(f"{pattern}.bin")
        for name in names:
            _refuse_mds(Path(name))
        chunks = [str(chunk) for name in names for chunk in list_chunks(Path(name))]
        names = [name for name in names if Path(name).name != "index.json"] + chunks
        found = [Path(name).with_suffix(".bin") if name.endswith(".idx") else Path(name)
                 for name in names if not name.endswith((".index", ".metadata", ".csv.gz"))]  # fmt: skip
        found = [file for file in found if file.is_file()]
        if not found:
            inside = "; of a folder give the files in it (FOLDER/*)" * any(
                map(os.path.isdir, names)
            )
            raise DataError(
                f"No file of tokens matches {pattern}{inside}; fix the expert's `text.paths`."
            )
        files += found
    return drop_repeats(files)


def _refuse_mds(path: Path) -> None:
    """Refuse folders of MosaicML's MDS, which only its library reads."""
    index = path / "index.json" if path.is_dir() else path.with_name("index.json")
    is_shard = path.suffix in (".mds", ".json") or path.is_dir()
    if is_shard and "shards" in read_index(index):
        raise DataError(
            f"{index.parent} is a folder of MosaicML's MDS, which is not read: write its tokens, "
            "document by document and each with the separator, to an .npy by ndarray.tofile, or give "
            "the text."
        )


def open_token_file(
    path: Path, format: str | None, token_type: str | None, separator: int, size: int
) -> TokenFile:
    """Open a file of tokens.

    Args:
        path: The file.
        format: As a text of tokens states it; told by its ending if None.
        token_type: Type of a token (`uint16`), likewise.
        separator: Token that ends a document, in formats without an index.
        size: Size of the vocabulary.

    Raises:
        DataError: It is damaged, or has another format.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty; take it out of `text.paths`, or write it again.")
    format = _find_format(path, format)
    if format is None:
        raise DataError(
            f"{path} has no ending that tells its format (.bin with .idx, .npy, .ds); give `format`."
        )
    if format == "megatron":
        return MegatronFile(path)
    if format == "litdata":
        return IndexedTokens(path, *open_chunk(path))
    if path.suffix == ".npy" and _has_header(path):
        return PlainTokens(path, _open_array(path, token_type), separator)
    dtype = np.dtype(token_type) if token_type else _find_type(path, size)
    if path.stat().st_size % dtype.itemsize:
        raise DataError(f"{path} is no whole number of {dtype.name} tokens; correct its `dtype`.")
    tokens: Tokens = np.memmap(path, dtype, mode="r")
    if format == "datatrove":
        return IndexedTokens(path, tokens, _open_ends(path))
    return PlainTokens(path, tokens, separator)


def find_index(path: Path, format: str | None) -> Path | None:
    """Return the file that says where the documents of a file of tokens end.

    Args:
        path: The file of tokens.
        format: As for `open_token_file`.

    Returns:
        None where there is none.
    """
    known = _find_format(path, format)
    if known == "megatron":
        index = path.with_suffix(".idx")
    elif known == "litdata":
        index = path.with_name("index.json")
    elif known == "datatrove":
        index = path.with_name(f"{path.name}.index")
    else:
        return None
    return index if index.is_file() else None


def _find_format(path: Path, format: str | None) -> str | None:
    by_ending = {".bin": "megatron", ".npy": "olmo", ".ds": "datatrove"}
    return format or ("litdata" if is_chunk(path) else by_ending.get(path.suffix))


def _has_header(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(NUMPY)) == NUMPY


def _open_array(path: Path, dtype: str | None) -> Tokens:
    """Open an array that numpy.save wrote: of one dimension, or of sequences one after the other."""
    try:
        array: Tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path} is no whole array of numpy ({one_line(error)}); write it again."
        ) from None
    if array.dtype.kind not in "iu" or (dtype is not None and array.dtype.name != dtype):
        wanted = dtype or "integers"
        raise DataError(
            f"{path} holds {array.dtype.name}, not {wanted}; correct it, or its `dtype`."
        )
    if not array.size:
        raise DataError(f"{path} has no token; take it out of `text.paths`, or write it again.")
    return array.reshape(-1)


def _open_ends(path: Path) -> Tokens:
    """Open the ends of documents beside a `.ds` of datatrove and nanotron."""
    index = path.with_name(f"{path.name}.index")
    if not index.is_file():
        raise DataError(f"{path} has no {index.name} beside it; give both files.")
    n_bytes = index.stat().st_size
    if not n_bytes or n_bytes % 8:
        raise DataError(f"{index} is no whole index of documents; copy it again.")
    return np.memmap(index, "<u8", mode="r")


def _find_type(path: Path, size: int) -> np.dtype[Any]:
    """Return the type with which all tokens are of the vocabulary; the wider one where both do."""
    n_bytes = path.stat().st_size
    types: list[np.dtype[Any]] = [np.dtype("<u4")]
    if size <= 1 << 16:  # of a larger vocabulary any two bytes are a token
        types.append(np.dtype("<u2"))
    for dtype in types:
        if n_bytes % dtype.itemsize:
            continue
        tokens = np.memmap(path, dtype, mode="r")
        middle = len(tokens) // 4 * 2
        probed = np.concatenate([tokens[:PROBED], tokens[middle : middle + PROBED]])
        if len(probed) and int(probed.max()) < size:
            if dtype.itemsize == 4 and probed[::2].any() and not probed[1::2].any():
                raise DataError(
                    f"{path} holds tokens of 64 bits (every other number of 32 bits is 0); write them "
                    "as uint32 (`tokens.astype('uint32').tofile(...)`)."
                )
            return dtype
    raise DataError(
        f"{path} holds ids beyond the {size:,} tokens of the base's tokenizer, as "
        f"{' and as '.join(dtype.name for dtype in reversed(types))}; name the tokenizer that made it, "
        "and its `dtype`."
    )


class MegatronFile:
    """A pair of `.bin` and `.idx` of Megatron-LM; a document may have several sequences.

    Args:
        path: The `.bin`.

    Raises:
        DataError: The index is missing, damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        index = path.with_suffix(".idx")
        if not index.is_file():
            raise DataError(
                f"{path} has no {index.name} beside it; give both files, or say `format: olmo` where it "
                "is tokens alone, as nanoGPT writes them."
            )
        with index.open("rb") as stream:
            head = stream.read(HEADER)
        if not head.startswith(MEGATRON) or len(head) < HEADER:
            raise DataError(
                f"{index} is no index of Megatron's MMIDIDX format; preprocess it again."
            )
        version, code, n, documents = struct.unpack("<QBQQ", head[len(MEGATRON) :])
        size = HEADER + 12 * n + 8 * documents
        if version != 1 or code not in MEGATRON_TYPES or index.stat().st_size < size:
            raise DataError(f"{index} is damaged or of another version; preprocess it again.")
        if not n or documents < 2:
            raise DataError(f"{index} has no document; take it out of `text.paths`.")
        self.path, dtype = path, np.dtype(MEGATRON_TYPES[code])
        self.token_bytes = dtype.itemsize
        self._tokens = np.memmap(path, dtype, mode="r")
        self._lengths = np.memmap(index, "<i4", "r", HEADER, (n,))
        self._places = np.memmap(index, "<i8", "r", HEADER + 4 * n, (n,))
        self._documents = np.memmap(index, "<i8", "r", HEADER + 12 * n, (documents,))
        self.n_tokens = len(self._tokens)
        if int(self._places[-1]) // dtype.itemsize + int(self._lengths[-1]) > self.n_tokens:
            raise DataError(f"{path} is shorter than its index says; copy it again.")

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Tokens]]:
        """Yield the documents that begin at tokens `start` to `stop`, each with the place of its end."""
        first = np.searchsorted(self._places, np.int64(start * self.token_bytes))
        document = int(np.searchsorted(self._documents, np.int64(first)))
        while document + 1 < len(self._documents):
            here, following = self._documents[document : document + 2]
            document += 1
            if here == following:  # empty
                continue
            begin = int(self._places[here]) // self.token_bytes
            if begin >= stop:
                return
            last = following - 1
            end = int(self._places[last]) // self.token_bytes + int(self._lengths[last])
            yield end, self._tokens[begin:end]


class IndexedTokens:
    """Tokens with the ends of their documents.

    Args:
        path: The file.
        tokens: Of all documents, one after the other.
        ends: Place after each document, in tokens.

    Raises:
        DataError: There are fewer tokens, or more.
    """

    def __init__(self, path: Path, tokens: Tokens, ends: Tokens) -> None:
        self.path, self.token_bytes = path, tokens.itemsize
        self._tokens, self._ends = tokens, ends
        self.n_tokens = len(self._tokens)
        if int(self._ends[-1]) != self.n_tokens:
            how = "shorter" if int(self._ends[-1]) > self.n_tokens else "longer"
            raise DataError(
                f"{path} is {how} than its index says; correct `dtype`, or copy both files again."
            )

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Tokens]]:
        """Yield the documents that begin at tokens `start` to `stop`, each with the place of its end."""
        document = int(np.searchsorted(self._ends, np.uint64(start))) if start else 0
        begin = int(self._ends[document - 1]) if document else 0
        if start and begin < start:  # the document that `start` is in
            begin, document = int(self._ends[document]), document + 1
        while begin < stop and document < len(self._ends):
            end = int(self._ends[document])
            yield end, self._tokens[begin:end]
            begin, document = end, document + 1


class PlainTokens:
    """Tokens without an index, such as OLMo's `.npy`: a document ends with the separator.

    Args:
        path: The file.
        tokens: Its content.
        separator: Token that ends a document.

    Raises:
        DataError: The separator does not occur.
    """

    def __init__(self, path: Path, tokens: Tokens, separator: int) -> None:
        self.path, self.token_bytes = path, tokens.itemsize
        self._tokens, self._separator = tokens, separator
        self.n_tokens = len(self._tokens)
        if self.n_tokens > LONGEST and not (tokens[:LONGEST] == separator).any():
            raise DataError(
                f"{path} has no separator (token {separator}, the tokenizer's end of text) in its first "
                f"{LONGEST:,} tokens, so its documents are not known; name the tokenizer that made it, "
                "or write the separator after each document."
            )

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Tokens]]:
        """Yield the documents that begin at tokens `start` to `stop`, each with the place of its end."""
        stop = min(stop, self.n_tokens)
        begin = self._find_end(start - 1, stop) if start else 0
        while begin < stop:
            end = self._find_end(begin, self.n_tokens)
            yield end, self._tokens[begin:end]
            begin = end

    def _find_end(self, start: int, stop: int) -> int:
        """Return the place after the next separator from `start` on, or `stop`."""
        for at in range(start, stop, SEARCHED):
            found = np.flatnonzero(self._tokens[at : min(at + SEARCHED, stop)] == self._separator)
            if len(found):
                return at + int(found[0]) + 1
        return stop
