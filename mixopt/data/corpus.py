"""Corpora: text tokenized once into memory-mapped shards.

A corpus is an artifact keyed by the content of the text and the tokenizer, so that equal text is
tokenized once and changed text is tokenized again. No corpus is held in memory.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import FilesTextConfig, TextConfig
from mixopt.data.availability import Availability
from mixopt.data.hub_sample import HubSample
from mixopt.data.sources import read_documents
from mixopt.data.text_files import describe_format, hash_file, list_files
from mixopt.data.text_sample import TextSample
from mixopt.data.token_text import TokenText
from mixopt.data.tokenization import tokenize
from mixopt.data.tokenizer import start_token
from mixopt.errors import DataError
from mixopt.mixture import Mixture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AnySample: TypeAlias = TextSample | TokenText | HubSample
SHARD_TOKENS = 1 << 27
"""Tokens per shard file: at most 512 MiB, and the most that is tokenized again after a stop."""

OPEN_SHARDS = 256
"""Shards that are mapped at a time, of all corpora; each takes a descriptor of the process."""


@dataclass(frozen=True)
class Corpus:
    """Tokens of one domain: all documents in one sequence, each followed by the separator token.

    Attributes:
        folder: Folder of `shard-*.bin` and `corpus.json`.
        tokens: Number of tokens, separators included.
        documents: Number of documents.
        bytes: Bytes of UTF-8 text.
        dtype: Type of a token on disk, uint16 where the vocabulary allows.
        available: Of a text of which a sample was read: its tokens in all.
    """

    folder: Path
    tokens: int
    documents: int
    bytes: int
    dtype: str
    available: Availability | None = None

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open the corpus in `folder`."""
        plain = json.loads((folder / "corpus.json").read_text())
        if "available" in plain:
            plain["available"] = Availability(**plain["available"])
        return cls(folder=folder, **plain)

    @property
    def available_tokens(self) -> int:
        """Tokens of the whole text, estimated where a sample of it was read."""
        return self.tokens if self.available is None else self.available.tokens

    @property
    def tokens_per_document(self) -> float:
        """Mean tokens per document, which converts shares of tokens to shares of documents."""
        return self.tokens / self.documents

    @cached_property
    def _shards(self) -> list[tuple[Path, int]]:
        """Files of the shards, in order, and the times of their last changes."""
        files = sorted(self.folder.glob("shard-*.bin"))
        return [(file, file.stat().st_mtime_ns) for file in files]

    def read(self, start: int, length: int) -> NDArray[np.int64]:
        """Return tokens `start` to `start + length` (`length`), across shards."""
        parts, stop = [], start + length
        for index in range(start // SHARD_TOKENS, (stop - 1) // SHARD_TOKENS + 1):
            offset = index * SHARD_TOKENS
            shard = _map_shard(*self._shards[index], self.dtype)
            parts.append(shard[max(0, start - offset) : stop - offset])
        return np.concatenate(parts).astype(np.int64)


@lru_cache(maxsize=OPEN_SHARDS)
def _map_shard(file: Path, changed: int, dtype: str) -> NDArray[Any]:
    """Map a shard into memory, which keeps a descriptor open; few are mapped at a time."""
    del changed  # a part of the key, so that a file that is written again is read again
    return np.memmap(file, dtype=dtype, mode="r")


def corpus_artifact(name: str, fingerprint: str, tokenizer: str) -> Artifact:
    """Return the artifact of a domain's text under a tokenizer.

    Args:
        name: Of the domain.
        fingerprint: Of the text, by `fingerprint_text`.
        tokenizer: Of the base, by `fingerprint_tokenizer`.

    Returns:
        Artifact of kind `corpora`.
    """
    key = {"text": fingerprint, "tokenizer": tokenizer}
    return Artifact("corpora", name, key)


def build_corpus(
    artifact: Artifact,
    source: TextConfig,
    tokenizer: "PreTrainedTokenizerBase",
    cache: ArtifactStore,
    sample: "AnySample | None" = None,
) -> Corpus:
    """Return the corpus of `source`, tokenized now unless `cache` has it.

    Args:
        artifact: Its name, by `corpus_artifact`.
        source: The text.
        tokenizer: Of the base.
        cache: Where corpora are kept.
        sample: Of a text that is not read whole, or is tokenized already; only this is kept.

    Returns:
        The opened corpus.

    Raises:
        DataError: The text cannot be read, or holds no document.
    """

    def build(scratch: Path) -> None:
        # only here: a remote store asks its URL for saved work, and of several processes one builds
        workplace = cache.work_folder(artifact)
        documents = read_documents(source) if sample is None else sample.read_for_corpus()
        counts = tokenize(
            documents, tokenizer, scratch,
            workplace=workplace, shard_tokens=SHARD_TOKENS, name=artifact.name,
            max_tokens=None if sample is None else sample.tokens,
        )  # fmt: skip
        plain = asdict(counts)
        del plain["parts"]
        if sample is not None and sample.tokens is not None:
            plain["available"] = asdict(sample.estimate(counts.documents, counts.parts))
        (scratch / "corpus.json").write_text(json.dumps(plain))

    return Corpus.open(cache.get_or_build(artifact, build))


def fingerprint_text(source: TextConfig) -> str:
    """Hash the config of a text and the content that it names.

    Args:
        source: The text; the content of its files counts, not their paths.

    Returns:
        Hash of 128 bits, in hexadecimal.
    """
    config = source.model_dump_json(exclude={"paths", "tokens"})
    digest = hashlib.blake2b(config.encode(), digest_size=16)
    if isinstance(source, FilesTextConfig):
        for file in list_files(source):
            # how the file is read counts too
            digest.update(f"{describe_format(file)} {hash_file(file)} ".encode())
    else:
        for document in read_documents(source):
            content = document.text.encode()
            digest.update(f"{len(content)} ".encode())  # document boundaries count
            digest.update(content)
            digest.update(b"" if document.value is None else repr(document.value).encode())
    return digest.hexdigest()


def fingerprint_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash what determines the tokens of a text.

    Args:
        tokenizer: Its truncation and padding do not count, as texts are tokenized without.

    Returns:
        Hash of 128 bits, in hexadecimal.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (backend.truncation is not None or backend.padding is not None):
        backend = type(backend).from_str(backend.to_str())
        backend.no_truncation()
        backend.no_padding()
    vocabulary = sorted(tokenizer.get_vocab().items()) if backend is None else []
    text = json.dumps(vocabulary) if backend is None else backend.to_str()
    rules = f"{text} {tokenizer.bos_token_id} {tokenizer.eos_token_id}"
    # keys of other tokenizers stay as they were
    if getattr(tokenizer, "split_special_tokens", False):
        rules += " split_special_tokens"
    if tokenizer.bos_token_id not in {None, tokenizer.eos_token_id, start_token(tokenizer)}:
        rules += " without its start token"
    return hashlib.blake2b(rules.encode(), digest_size=16).hexdigest()


def count_epochs(corpora: Mapping[str, Corpus], ratios: Mixture, tokens: int) -> dict[str, float]:
    """Return how often the tokens of each domain are read (epochs); what is not read is left out.

    Args:
        corpora: Corpus of each domain (`d`).
        ratios: Share of each domain in the tokens (`d`).
        tokens: Tokens of the training.
    """
    return {name: ratios[name] * tokens / corpora[name].tokens for name in ratios if ratios[name]}


def check_epochs(
    corpora: Mapping[str, Corpus], ratios: Mixture, *, tokens: int, max_epochs: float, what: str
) -> dict[str, float]:
    """Count how often the tokens of each domain are read (epochs).

    Args:
        corpora: Corpus of each domain (`d`).
        ratios: Share of each domain in the tokens (`d`).
        tokens: Tokens of the training.
        max_epochs: Most epochs that are allowed.
        what: Names the tokens in the error message.

    Returns:
        Epochs by domain; domains that are not read are left out.

    Raises:
        DataError: A domain would be read more than `max_epochs` times.
    """
    epochs = count_epochs(corpora, ratios, tokens)
    for name, count in epochs.items():
        if count > max_epochs:
            sampled = corpora[name].available is not None
            more = "read more of it (`tokens` of its text)" if sampled else "give it more text"
            raise DataError(
                f"Domain {name!r} has {corpora[name].tokens:,} tokens{' in its sample' * sampled}, so "
                f"{what} would read them {count:.1f} times (allowed: {max_epochs:g}); {more}, train on "
                "fewer tokens, or raise max_epochs."
            )
    return epochs
