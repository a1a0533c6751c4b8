"""The texts of a study: its tokenizer, its corpora, and what is known of them where they do not lie.

Keys of units need the texts' fingerprints and counts alone. The process that has the texts measures
them once and hands what it found to its workers, which may be on machines without them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.config.text import TextConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.corpus import Corpus, fingerprint_text, open_corpus
from mixopt.data.sources import read_documents
from mixopt.data.tokenizer import build_tokenizer, load_tokenizer
from mixopt.errors import ConfigError
from mixopt.mixture import Mixture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KIND = "corpora"
"""Kind of the units that corpora are."""


@dataclass(frozen=True)
class StudyInputs:
    """What a worker is told of inputs that it may not have, or would read for long to know.

    Attributes:
        fingerprints: Of each text, by domain.
        corpora: Each corpus, by domain; of its folder the name alone counts.
        base: The key of a base that was given.
        experts: The keys of experts that were given, by domain.
    """

    fingerprints: Mapping[str, str]
    corpora: Mapping[str, Corpus]
    base: str | None = None
    experts: Mapping[str, str] = field(default_factory=dict)


class StudyCorpora:
    """Tokenizer and corpora of one recipe.

    Args:
        recipe: The study's.
        store: Where a tokenizer is kept that is trained here.
        cache: Where corpora are kept.
        handed: What another process found of the texts; measured if left out.
    """

    def __init__(
        self,
        recipe: StudyConfig,
        store: ArtifactStore,
        cache: ArtifactStore,
        handed: StudyInputs | None = None,
    ) -> None:
        self._recipe, self._store, self._cache, self._handed = recipe, store, cache, handed

    @cached_property
    def by_domain(self) -> dict[str, TextConfig]:
        """The text of each domain that has one."""
        return {e.domain: e.text for e in self._recipe.experts if e.text is not None}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """A hash of each text, by domain."""
        if self._handed is not None:
            return self._handed.fingerprints
        return {domain: fingerprint_text(text) for domain, text in self.by_domain.items()}

    # --- tokenizer ----------------------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base's tokenizer; trained now where the base is built."""
        base = self._recipe.base
        if not isinstance(base, BuiltBaseConfig):
            return load_tokenizer(base.path, revision=base.revision)
        folder = self._store.make(
            "tokenizers", "bpe", self.tokenizer_key(base), self._save_tokenizer
        )
        return load_tokenizer(folder)

    def tokenizer_key(self, base: BuiltBaseConfig) -> dict[str, Any]:
        """What determines the tokenizer of a base that is built."""
        return {
            "vocabulary": base.vocabulary,
            "bytes": base.tokenizer_bytes,
            "context": base.context,
            "texts": list(self.fingerprints.values()),
        }

    def _save_tokenizer(self, scratch: Path) -> None:
        base = self._recipe.base
        assert isinstance(base, BuiltBaseConfig)
        build_tokenizer(self._documents_in_turn(), base).save_pretrained(scratch)

    def _documents_in_turn(self) -> Iterator[str]:
        """A document of each domain in turn, so that each shapes the vocabulary alike."""
        streams = [iter(read_documents(text)) for text in self.by_domain.values()]
        while streams:
            for stream in list(streams):
                document = next(stream, None)
                if document is None:
                    streams.remove(stream)
                else:
                    yield document.text

    # --- corpora ------------------------------------------------------------------------------

    def open(self, domain: str) -> Corpus:
        """The corpus of a domain that has text, tokenized now unless the cache has it.

        Raises:
            StorageError: Another process measured the texts, and its cache is not here.
        """
        if self._handed is not None:
            name = self._handed.corpora[domain].folder.name
            return Corpus.open(self._cache.open(f"{KIND}/{name}"))
        return open_corpus(
            self.by_domain[domain], self.tokenizer, name=domain, cache=self._cache,
            fingerprint=self.fingerprints[domain],
        )  # fmt: skip

    @cached_property
    def counts(self) -> Mapping[str, Corpus]:
        """The corpus of each domain that has text, to be counted and named, not read."""
        if self._handed is not None:
            return self._handed.corpora
        return {domain: self.open(domain) for domain in self.by_domain}

    @cached_property
    def available_tokens(self) -> dict[str, int]:
        """Tokens of each domain that the target run could draw on, where that is known."""
        return {
            expert.domain: expert.available_tokens or self.counts[expert.domain].tokens
            for expert in self._recipe.experts
            if expert.available_tokens or expert.domain in self.counts
        }

    @cached_property
    def natural(self) -> Mixture:
        """The natural mixture: the recipe's, or proportional to the available tokens.

        Raises:
            RecipeError: The recipe gives none, and a domain's tokens are not known.
        """
        given = self._recipe.search.natural
        if given is not None:
            return Mixture(given)
        for domain in self._recipe.domains:
            if domain not in self.available_tokens:
                raise ConfigError(
                    f"Expert {domain!r} has no text, so the natural mixture cannot be counted; give "
                    "its available_tokens, or search.natural."
                )
        return Mixture.normalised({name: float(n) for name, n in self.available_tokens.items()})
