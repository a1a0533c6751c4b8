"""The texts of one study: its tokenizer, its tokenized corpora, and their fingerprints.

Artifact keys need only fingerprints and token counts. The process that has the texts measures them
once and passes the result to its workers (`StudyInputs`), which may run on machines without the texts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
"""Artifact kind of tokenized corpora."""


@dataclass(frozen=True)
class StudyInputs:
    """What one process measured of a study's inputs, for workers that may not have them.

    Attributes:
        fingerprints: Hash of each text, by domain.
        corpora: Each corpus, by domain; a worker uses the name of its folder, not the path.
        base: Key of a base that the config gives.
        experts: Keys of experts that the config gives, by domain.
    """

    fingerprints: Mapping[str, str]
    corpora: Mapping[str, Corpus]
    base: str | None = None
    experts: Mapping[str, str] = field(default_factory=dict)


class StudyCorpora:
    """Tokenizer and corpora of one study; each is computed on first use and then kept.

    Args:
        config: The study's config.
        store: Holds a tokenizer that is trained here.
        cache: Holds tokenized corpora, possibly of several studies.
        inputs: What another process measured; measured here if left out.
    """

    def __init__(
        self,
        config: StudyConfig,
        store: ArtifactStore,
        cache: ArtifactStore,
        inputs: StudyInputs | None = None,
    ) -> None:
        self._config, self._store, self._cache, self._inputs = config, store, cache, inputs
        self.by_domain: dict[str, TextConfig] = {
            expert.domain: expert.text for expert in config.experts if expert.text is not None
        }
        self._fingerprints = None if inputs is None else inputs.fingerprints
        self._corpora = None if inputs is None else inputs.corpora
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of each text by domain; the texts are read once."""
        if self._fingerprints is None:
            self._fingerprints = {d: fingerprint_text(text) for d, text in self.by_domain.items()}
        return self._fingerprints

    # --- tokenizer ----------------------------------------------------------------------------

    def load_tokenizer(self) -> "PreTrainedTokenizerBase":
        """Return the base's tokenizer; train it first if the base is built here.

        Raises:
            ModelError: The given base has no usable tokenizer.
            DataError: The text is too small for the vocabulary.
        """
        if self._tokenizer is None:
            base = self._config.base
            if isinstance(base, BuiltBaseConfig):
                key = self.tokenizer_key(base)
                folder = self._store.make("tokenizers", "bpe", key, self._save_tokenizer)
                self._tokenizer = load_tokenizer(folder)
            else:
                self._tokenizer = load_tokenizer(base.path, revision=base.revision)
        return self._tokenizer

    def tokenizer_key(self, base: BuiltBaseConfig) -> dict[str, Any]:
        """Return what determines the tokenizer of a base that is built here."""
        return {
            "vocabulary": base.vocabulary,
            "bytes": base.tokenizer_bytes,
            "context": base.context,
            "texts": list(self.fingerprint().values()),
        }

    def _save_tokenizer(self, scratch: Path) -> None:
        base = self._config.base
        assert isinstance(base, BuiltBaseConfig)
        build_tokenizer(self._round_robin_documents(), base).save_pretrained(scratch)

    def _round_robin_documents(self) -> Iterator[str]:
        """Yield one document per domain in turn, so that all domains shape the vocabulary equally."""
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
        """Return the corpus of a domain that has text, ready to be read.

        It is tokenized first if the cache does not hold it.

        Raises:
            StorageError: Another process measured the texts, and its cache is not reachable here.
        """
        if self._inputs is not None:
            name = self._inputs.corpora[domain].folder.name
            return Corpus.open(self._cache.open(f"{KIND}/{name}"))
        return open_corpus(
            self.by_domain[domain], self.load_tokenizer(), name=domain, cache=self._cache,
            fingerprint=self.fingerprint()[domain],
        )  # fmt: skip

    def tokenize_all(self) -> Mapping[str, Corpus]:
        """Return the corpus of each domain that has text, tokenizing those that the cache lacks.

        On a worker the corpora carry names and counts only; `open` gives one whose tokens are readable.
        """
        if self._corpora is None:
            self._corpora = {domain: self.open(domain) for domain in self.by_domain}
        return self._corpora

    def count_available_tokens(self) -> dict[str, int]:
        """Return the tokens that the target run can draw on, for each domain where they are known."""
        return {
            expert.domain: expert.available_tokens or self.tokenize_all()[expert.domain].tokens
            for expert in self._config.experts
            if expert.available_tokens or expert.domain in self.by_domain
        }

    def natural_mixture(self) -> Mixture:
        """Return the config's natural mixture, or the one proportional to the available tokens.

        Raises:
            ConfigError: The config gives none, and the tokens of a domain are not known.
        """
        given = self._config.search.natural
        if given is not None:
            return Mixture(given)
        available = self.count_available_tokens()
        for domain in self._config.domains:
            if domain not in available:
                raise ConfigError(
                    f"Expert {domain!r} has no text, so the natural mixture cannot be counted; give "
                    "its available_tokens, or search.natural."
                )
        return Mixture.normalised({name: float(n) for name, n in available.items()})
