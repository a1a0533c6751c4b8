"""The texts of a study: its tokenizer, its corpora, and their fingerprints on machines without them.

Keys of artifacts need the texts' fingerprints and counts only: the driver measures them once and sends
them to its workers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.config.text import HubTextConfig, MachineTextConfig, TextConfig, TokensTextConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.corpus import AnySample, Corpus, build_corpus, corpus_artifact, fingerprint_text
from mixopt.data.document import Document
from mixopt.data.hub_sample import find_hub_sample
from mixopt.data.sources import read_documents
from mixopt.data.text_sample import find_sample
from mixopt.data.token_text import TokenText, open_token_text
from mixopt.data.tokenizer import build_tokenizer, load_tokenizer
from mixopt.errors import ConfigError
from mixopt.mixture import Mixture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FILE = "fingerprint"


@dataclass(frozen=True)
class StudyInputs:
    """Fingerprints of inputs, sent to workers that may not have them or would have to read them whole.

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
    """Tokenizer and corpora of one study.

    `build` makes them; everything else raises `MissingArtifactError` where they have not been built.

    Args:
        config: The study's.
        store: Where a tokenizer trained on the study's text is kept.
        cache: Where corpora are kept.
        inputs: What the driver measured of the texts, on a worker; measured here if left out.
    """

    def __init__(
        self,
        config: StudyConfig,
        store: ArtifactStore,
        cache: ArtifactStore,
        inputs: StudyInputs | None = None,
    ) -> None:
        self._config, self._store, self._cache, self._inputs = config, store, cache, inputs

    @cached_property
    def by_domain(self) -> dict[str, TextConfig]:
        """The text of each domain that has one."""
        return {e.domain: e.text for e in self._config.experts if e.text is not None}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """A hash of each text, by domain."""
        if self._inputs is not None:
            return self._inputs.fingerprints
        return {domain: self._fingerprint(domain) for domain in self.by_domain}

    @cached_property
    def samples(self) -> Mapping[str, AnySample]:
        """The sample of each text that is larger than what the study can use, by domain.

        Texts that are tokenized already are among them, also whole ones.
        """
        samples = {domain: self._find_sample(text) for domain, text in self.by_domain.items()}
        return {domain: sample for domain, sample in samples.items() if sample is not None}

    def _find_sample(self, text: TextConfig) -> AnySample | None:
        seed = self._config.seed
        if isinstance(text, MachineTextConfig):
            return None
        limit = None if text.tokens == "all" else text.tokens or self._config.text_tokens
        if isinstance(text, TokensTextConfig):
            return open_token_text(text, limit, seed)
        if limit is None:
            return None
        if isinstance(text, HubTextConfig):
            return find_hub_sample(text, limit, seed)
        return find_sample(text, limit, seed)

    def read(self, domain: str) -> Iterator[Document]:
        """Yield the documents of a domain's text, or of its sample.

        Raises:
            DataError: The text cannot be read.
        """
        sample = self.samples.get(domain)
        yield from read_documents(self.by_domain[domain]) if sample is None else sample.read()

    def read_tokenized(self, domain: str) -> Iterator[str]:
        """Yield the texts of which a domain's corpus holds the tokens."""
        texts = (document.text for document in self.read(domain) if document.text)
        yield from islice(texts, self.counts[domain].documents)

    def _fingerprint(self, domain: str) -> str:
        sample = self.samples.get(domain)
        if sample is None:
            return fingerprint_text(self.by_domain[domain])
        # a sample is read only where its files have changed
        text = sample.source.model_dump(mode="json", exclude={"paths", "path", "tokens"})
        key = {"text": text, "tokens": sample.tokens, "seed": self._config.seed,
               "files": sample.describe_files()}  # fmt: skip
        artifact = Artifact("fingerprints", domain, key)
        folder = self._cache.find(artifact)
        if folder is None and self._cache.read_only:
            return sample.compute_fingerprint()

        def build(scratch: Path) -> None:
            (scratch / FILE).write_text(sample.compute_fingerprint())

        return ((folder or self._cache.get_or_build(artifact, build)) / FILE).read_text()

    def build(self) -> None:
        """Train the tokenizer where the base is built, and tokenize every text.

        Raises:
            DataError: A text cannot be read, or is too short.
        """
        artifact, base = self.tokenizer_artifact, self._config.base
        if artifact is not None and isinstance(base, BuiltBaseConfig):
            self._store.get_or_build(
                artifact,
                lambda folder: build_tokenizer(self._interleaved(), base).save_pretrained(folder),
            )
        for domain, text in self.by_domain.items() if self._inputs is None else ():
            artifact, sample = self.corpus_artifact(domain), self.samples.get(domain)
            if isinstance(sample, TokenText):
                sample.check_vocabulary(self.tokenizer)
            build_corpus(artifact, text, self.tokenizer, self._cache, sample)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base's tokenizer."""
        artifact, base = self.tokenizer_artifact, self._config.base
        if artifact is not None:
            return load_tokenizer(self._store.get(artifact))
        assert not isinstance(base, BuiltBaseConfig)
        return load_tokenizer(base.path, revision=base.revision)

    @cached_property
    def tokenizer_artifact(self) -> Artifact | None:
        """The artifact of the tokenizer; None where the base brings its own."""
        base = self._config.base
        if not isinstance(base, BuiltBaseConfig):
            return None
        key = {"vocabulary": base.vocabulary, "bytes": base.tokenizer_bytes,
               "context": base.context, "texts": list(self.fingerprints.values())}  # fmt: skip
        return Artifact("tokenizers", "bpe", key)

    def _interleaved(self) -> Iterator[str]:
        """Yield a document of each domain in turn, so that every domain shapes the vocabulary."""
        streams = [self.read(domain) for domain in self.by_domain]
        while streams:
            for stream in list(streams):
                document = next(stream, None)
                if document is None:
                    streams.remove(stream)
                else:
                    yield document.text

    def corpus_artifact(self, domain: str) -> Artifact:
        """Return the artifact of a domain's corpus."""
        return corpus_artifact(domain, self.fingerprints[domain], self.tokenizer)

    def open(self, domain: str) -> Corpus:
        """Return the corpus of a domain that has text.

        Raises:
            StorageError: The driver measured the texts, and its cache is not on this machine.
        """
        if self._inputs is not None:
            name = self._inputs.corpora[domain].folder.name
            return Corpus.open(self._cache.open(f"corpora/{name}"))
        return Corpus.open(self._cache.get(self.corpus_artifact(domain)))

    @cached_property
    def counts(self) -> Mapping[str, Corpus]:
        """The corpus of each domain that has text: its counts and its folder's name."""
        if self._inputs is not None:
            return self._inputs.corpora
        return {domain: self.open(domain) for domain in self.by_domain}

    @cached_property
    def available_tokens(self) -> dict[str, int]:
        """Tokens of each domain that the target run could draw on, where that is known."""
        return {
            expert.domain: expert.available_tokens or self.counts[expert.domain].available_tokens
            for expert in self._config.experts
            if expert.available_tokens or expert.domain in self.counts
        }

    @cached_property
    def natural(self) -> Mixture:
        """The natural mixture: the config's, or proportional to the available tokens.

        Raises:
            ConfigError: The config gives none, and a domain's tokens are not known.
        """
        given = self._config.search.natural
        if given is not None:
            return Mixture(given)
        for domain in self._config.domains:
            if domain not in self.available_tokens:
                raise ConfigError(
                    f"Expert {domain!r} has no text, so the natural mixture cannot be counted; give "
                    "its available_tokens, or search.natural."
                )
        return Mixture.normalised({name: float(n) for name, n in self.available_tokens.items()})
