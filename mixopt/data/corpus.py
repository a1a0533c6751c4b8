"""Corpora: text tokenized once into memory-mapped shards, and batches drawn from them by ratios.

A corpus is a folder under a cache, keyed by the text's content and the tokenizer: the same text
is never tokenized twice, and changed text is never mistaken for it. No corpus is held in memory.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import FilesTextConfig, TextConfig
from mixopt.data.sources import hash_file, list_files, read_documents
from mixopt.data.tokenization import tokenize
from mixopt.errors import DataError
from mixopt.mixture import Mixture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHARD_TOKENS = 1 << 27
"""Tokens per shard file: half a GiB at most, and what a stop costs at most of tokenizing."""


@dataclass(frozen=True)
class Corpus:
    """Tokens of one domain: documents, each ended by the separator token, in one long line.

    Attributes:
        folder: Holds `shard-*.bin` and `corpus.json`.
        tokens: Tokens, separators included.
        documents: Documents.
        bytes: Bytes of UTF-8 text.
        dtype: Type of a token on disk, uint16 where the vocabulary allows.
    """

    folder: Path
    tokens: int
    documents: int
    bytes: int
    dtype: str

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """The corpus that lies in `folder`."""
        return cls(folder=folder, **json.loads((folder / "corpus.json").read_text()))

    @property
    def tokens_per_document(self) -> float:
        """Mean tokens of a document: what turns shares of tokens into shares of documents."""
        return self.tokens / self.documents

    @cached_property
    def _shards(self) -> list[NDArray[Any]]:
        files = sorted(self.folder.glob("shard-*.bin"))
        return [np.memmap(file, dtype=self.dtype, mode="r") for file in files]

    def read(self, start: int, length: int) -> NDArray[np.int64]:
        """Tokens `start` to `start + length`, across shard borders."""
        parts, stop = [], start + length
        for index in range(start // SHARD_TOKENS, (stop - 1) // SHARD_TOKENS + 1):
            offset = index * SHARD_TOKENS
            parts.append(self._shards[index][max(0, start - offset) : stop - offset])
        return np.concatenate(parts).astype(np.int64)


def corpus_artifact(name: str, fingerprint: str, tokenizer: "PreTrainedTokenizerBase") -> Artifact:
    """Return the artifact of a domain's text under a tokenizer.

    Args:
        name: Of the domain.
        fingerprint: Of the text, by `fingerprint_text`.
        tokenizer: Of the base.
    """
    key = {"text": fingerprint, "tokenizer": fingerprint_tokenizer(tokenizer)}
    return Artifact("corpora", name, key)


def build_corpus(
    artifact: Artifact,
    source: TextConfig,
    tokenizer: "PreTrainedTokenizerBase",
    cache: ArtifactStore,
) -> Corpus:
    """Return the corpus of `source`, tokenized now unless `cache` has it.

    Args:
        artifact: Its name, by `corpus_artifact`.
        source: The text.
        tokenizer: Of the base.
        cache: Where corpora are kept.

    Raises:
        DataError: The text cannot be read, or holds no document.
    """

    def build(scratch: Path) -> None:
        # only here: a remote store asks its URL for saved work, and of several processes one builds
        work_folder = cache.work_folder(artifact)
        counts = tokenize(
            read_documents(source), tokenizer, scratch,
            workplace=work_folder, shard_tokens=SHARD_TOKENS, name=artifact.name,
        )  # fmt: skip
        (scratch / "corpus.json").write_text(json.dumps(counts))

    return Corpus.open(cache.get_or_build(artifact, build))


def fingerprint_text(source: TextConfig) -> str:
    """A hash of what `source` says and of the content that it names."""
    # where the files lie does not matter, only what is in them
    told = source.model_dump_json(exclude={"paths"})
    digest = hashlib.blake2b(told.encode(), digest_size=16)
    if isinstance(source, FilesTextConfig):
        for file in list_files(source):
            ending = "".join(file.suffixes[-2:])  # decides how the file is read
            digest.update(f"{ending} {hash_file(file)} ".encode())
    else:
        for document in read_documents(source):
            content = document.text.encode()
            digest.update(f"{len(content)} ".encode())  # where documents are cut matters
            digest.update(content)
    return digest.hexdigest()


def fingerprint_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """A hash of what `tokenizer` makes of text: its vocabulary, rules and separator."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = (
        backend.to_str()
        if backend is not None
        else json.dumps(sorted(tokenizer.get_vocab().items()))
    )
    told = f"{text} {tokenizer.bos_token_id} {tokenizer.eos_token_id}"
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def check_epochs(
    corpora: Mapping[str, Corpus], ratios: Mixture, *, tokens: int, max_epochs: float, what: str
) -> dict[str, float]:
    """How often each domain's tokens would be read, by domain.

    Raises:
        DataError: Some domain would be read more than `max_epochs` times.
    """
    epochs = {name: ratios[name] * tokens / corpora[name].tokens for name in ratios if ratios[name]}
    for name, count in epochs.items():
        if count > max_epochs:
            raise DataError(
                f"Domain {name!r} has {corpora[name].tokens:,} tokens, so {what} would read them "
                f"{count:.1f} times (allowed: {max_epochs:g}); give it more text, train on fewer "
                "tokens, or raise max_epochs."
            )
    return epochs
