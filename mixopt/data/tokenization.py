"""Tokenization of a text into shards, resumable after a stop.

Beside each full shard lies a mark: the position in the text where the shard ends, and a hash chained
over all shards so far and that position. After a stop shards are verified against their marks, and
tokenization continues after the last valid one; a shard that was not full is written again.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixopt.data.document import Document, TokenDocument
from mixopt.data.tokenizer import start_token
from mixopt.errors import DataError
from mixopt.io.files import write_bytes
from mixopt.io.progress import Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TOKENIZE_BATCH, BATCH_CHARACTERS = 1024, 1 << 22
"""Documents and characters of a batch, which all cores share."""

T = TypeVar("T")
Line: TypeAlias = list[int] | NDArray[np.uint32]
"""Tokens of a document."""
Encode: TypeAlias = Callable[[list[str]], Sequence[Line]]


@dataclass(frozen=True)
class Place:
    """A position between two tokens of a text.

    Attributes:
        documents: Number of documents that end before it; empty ones are not counted.
        bytes: Bytes of UTF-8 text in these documents.
        tokens: Tokens of the next document that lie before it.
        parts: Tokens of these documents by part of the text, as pairs.
    """

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    parts: tuple[tuple[int, int], ...] = ()


def tokenize(
    documents: Iterable[Document],
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    *,
    workplace: Path,
    shard_tokens: int,
    name: str,
    max_tokens: int | None = None,
) -> "TokenizedText":
    """Tokenize a text into shards of `shard_tokens` tokens.

    Args:
        documents: The text; always the same for one `workplace`.
        tokenizer: The tokenizer; always the same for one `workplace`.
        folder: Receives the shards when all are written.
        workplace: Folder that keeps shards until then, and after a stop.
        shard_tokens: Tokens per shard; the last one may be shorter.
        name: Name of the domain.
        max_tokens: Stop after the document that reaches this number; tokenize all if None.

    Returns:
        Counts, and the type of a token.

    Raises:
        DataError: The text holds no document.
    """
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    separator = tokenizer.eos_token_id
    start = start_token(tokenizer)
    before = [] if start is None else [start]
    encode = _open_encoder(tokenizer)
    wanted = float("inf") if max_tokens is None else max_tokens
    full = (each for each in documents if each.text or isinstance(each, TokenDocument))
    with _Shards(workplace, dtype, shard_tokens) as shards:
        kept = shards.resume()
        if kept.tokens:
            log.info(
                "Tokenizing of %s goes on from document %s; %s tokens were kept.",
                name, f"{kept.documents + 1:,}", f"{shards.tokens:,}",
            )  # fmt: skip
        # closed here also after an error: the garbage collector, which may run in any thread, would wait
        # for their threads where these cannot end
        with (
            Work(f"tokenizing {name}", unit="document", done=kept.documents) as work,
            closing(_ahead(_batched(islice(full, kept.documents, None)))) as batches,
            closing(_ahead(_encode(batches, encode))) as encoded_batches,
        ):
            for batch, encoded in encoded_batches:
                for document, tokens in zip(batch, encoded, strict=True):
                    line = np.array([*before, *tokens, separator], dtype=dtype)
                    shards.write(line, document)
                    if shards.tokens >= wanted:
                        break
                work.advance(len(batch))
                if shards.tokens >= wanted:
                    break
        if not shards.tokens:
            raise DataError(f"The text of {name!r} holds no document; fix its source or its split.")
        shards.hand_over(folder)
    end = shards.place
    return TokenizedText(shards.tokens, end.documents, end.bytes, dtype.name, dict(shards.parts))


@dataclass(frozen=True)
class TokenizedText:
    """Counts of a text that was tokenized.

    Attributes:
        tokens: Number of tokens, separators included.
        documents: Number of documents, without empty ones.
        bytes: Bytes of UTF-8 text, or of tokens where these were given.
        dtype: Type of a token on disk.
        parts: Tokens by part of the text.
    """

    tokens: int
    documents: int
    bytes: int
    dtype: str
    parts: dict[int, int]


def _open_encoder(tokenizer: "PreTrainedTokenizerBase") -> Encode:
    """Return what turns texts into tokens without special ones, on all cores where that is possible."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return partial(_encode_slowly, tokenizer)
    # as transformers does before each call, but without what it makes of the result
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return partial(_encode_fast, backend)


def _encode_slowly(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> Sequence[Line]:
    encoded: Sequence[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    return encoded


def _encode_fast(backend: Any, texts: list[str]) -> Sequence[Line]:
    return [each.ids for each in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _encode(
    batches: Iterable[list[Document]], encode: Encode
) -> Iterator[tuple[list[Document], Sequence[Line]]]:
    for batch in batches:
        if isinstance(batch[0], TokenDocument):
            yield (
                batch,
                [document.tokens for document in batch if isinstance(document, TokenDocument)],
            )
        else:
            yield batch, encode([document.text for document in batch])


def _batched(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += (
            document.tokens.nbytes if isinstance(document, TokenDocument) else len(document.text)
        )
        if len(batch) == TOKENIZE_BATCH or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ahead(values: Iterator[T]) -> Generator[T, None, None]:
    """Yield the values of an iterator; a thread computes the next one meanwhile. It is to be closed."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, values, None)
        while (value := following.result()) is not None:
            following = pool.submit(next, values, None)
            yield value


class _Shards:
    """Writes shards of exactly `size` tokens, the last one shorter, and a mark for each full one.

    As a context manager it leaves full shards and their marks on errors, and removes the unfinished one.

    Args:
        folder: Folder of the shards; created with the first of them.
        dtype: Type of a token.
        size: Tokens of a full shard.

    Attributes:
        tokens: Tokens in all shards.
        parts: Tokens of the documents that have ended, by part of the text.
        place: Position in the text up to which it has been written.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], size: int) -> None:
        self.tokens, self.place = 0, Place()
        self.parts: dict[int, int] = {}
        self._folder, self._dtype, self._size = folder, dtype, size
        self._hash = f"{dtype.name} {size}"  # the first hash of the chain
        self._digest = self._begin_hash()
        self._stream: BinaryIO | None = None
        self._begun: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if kind is None or self._begun is None:
            return
        with suppress(OSError):  # a full disk has raised an error already
            self._close()
        with suppress(OSError):
            self._begun.unlink(missing_ok=True)
            self._folder.rmdir()  # only if nothing was kept

    def resume(self) -> Place:
        while self._resume_next():
            pass
        return self.place

    def write(self, tokens: NDArray[Any], document: Document) -> None:
        at = self.place.tokens
        while at < len(tokens):
            part = tokens[at : at + self._size - self.tokens % self._size]
            stream = self._stream or self._open()
            content = part.tobytes()
            stream.write(content)
            self._digest.update(content)
            at += len(part)
            self.tokens += len(part)
            if self.tokens % self._size == 0:
                parts = tuple(self.parts.items())
                self._keep(Place(self.place.documents, self.place.bytes, at, parts))
        is_text = not isinstance(document, TokenDocument)
        n_bytes = len(document.text.encode()) if is_text else tokens.nbytes
        self.place = Place(self.place.documents + 1, self.place.bytes + n_bytes)
        self.parts[document.part] = self.parts.get(document.part, 0) + len(tokens)

    def hand_over(self, folder: Path) -> None:
        self._close()
        # the last one first: where files are moved, the first ones are still here after a stop
        for number in reversed(range(-(-self.tokens // self._size))):
            file = self._file(number)
            try:
                os.link(file, folder / file.name)
            except OSError:  # a file system without links
                file.rename(folder / file.name)

    def _resume_next(self) -> bool:
        file = self._file(self.tokens // self._size)
        try:
            expected, _, place = _mark_of(file).read_bytes().partition(b"\n")
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, self._begin_hash)
        except FileNotFoundError:
            return False
        except OSError as error:  # a disk that fails
            log.warning("%s cannot be read (%s) and is written again.", file, error.strerror)
            return False
        digest.update(place)
        if digest.hexdigest().encode() != expected:
            log.warning("%s is damaged and is written again.", file)
            return False
        self._hash = digest.hexdigest()
        self.tokens += self._size
        self.place = Place(**json.loads(place))
        self.parts = {int(part): int(count) for part, count in self.place.parts}
        return True

    def _open(self) -> BinaryIO:
        self._begun = self._file(self.tokens // self._size)
        self._folder.mkdir(parents=True, exist_ok=True)
        # never overwritten in place: by a link it may be a file of a corpus too
        self._begun.unlink(missing_ok=True)
        self._stream, self._digest = self._begun.open("wb"), self._begin_hash()
        return self._stream

    def _keep(self, place: Place) -> None:
        assert self._begun is not None
        self._close()
        encoded = json.dumps(asdict(place)).encode()
        self._digest.update(encoded)
        self._hash = self._digest.hexdigest()
        write_bytes(_mark_of(self._begun), self._hash.encode() + b"\n" + encoded)
        self._begun = None

    def _close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def _begin_hash(self) -> hashlib.blake2b:
        return hashlib.blake2b(self._hash.encode(), digest_size=16)

    def _file(self, number: int) -> Path:
        return self._folder / f"shard-{number:05d}.bin"


def _mark_of(shard: Path) -> Path:
    return shard.with_suffix(".mark")
