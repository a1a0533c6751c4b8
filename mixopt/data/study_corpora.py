"""The texts of a study: its tokenizer, its corpora, and their fingerprints on machines without them.

Keys of artifacts need the texts' fingerprints and counts only: the driver measures them once and sends
them to its workers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heapreplace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.buckets import BucketConfig
from mixopt.config.study import StudyConfig
from mixopt.config.text import HubTextConfig, MachineTextConfig, TextConfig, TokensTextConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.corpus import (
    AnySample,
    Corpus,
    build_corpus,
    corpus_artifact,
    fingerprint_text,
    fingerprint_tokenizer,
)
from mixopt.data.document import Document
from mixopt.data.hub_sample import find_hub_sample
from mixopt.data.sources import read_documents
from mixopt.data.text_sample import find_sample
from mixopt.data.text_split import (
    PerplexityModel,
    TextSplit,
    build_bucket,
    find_split,
    fingerprint_bucket,
    make_measure,
    split_artifact,
)
from mixopt.data.token_text import TokenText, open_token_text
from mixopt.data.tokenizer import build_tokenizer, load_tokenizer
from mixopt.errors import ConfigError
from mixopt.io.file_limit import raise_file_limit
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
        sources: Fingerprints of the texts before they are split, in order; those by domain if empty.
    """

    fingerprints: Mapping[str, str]
    corpora: Mapping[str, Corpus]
    base: str | None = None
    experts: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[str] = ()


class StudyCorpora:
    """Tokenizer and corpora of one study.

    `build` makes them; everything else raises `MissingArtifactError` where they have not been built.

    Args:
        config: The study's.
        store: Where a tokenizer trained on the study's text is kept.
        cache: Where corpora are kept.
        inputs: What the driver measured of the texts, on a worker; measured here if left out.
        models: Measure perplexity, for texts that are split by it.
    """

    def __init__(
        self,
        config: StudyConfig,
        store: ArtifactStore,
        cache: ArtifactStore,
        inputs: StudyInputs | None = None,
        models: PerplexityModel | None = None,
    ) -> None:
        self._config, self._store, self._cache, self._inputs = config, store, cache, inputs
        self.models = models
        raise_file_limit()  # a tokenizer reads the texts of all domains in turn

    @cached_property
    def by_domain(self) -> dict[str, TextConfig]:
        """The text of each domain that has one."""
        return {e.domain: e.text for e in self._config.experts if e.text is not None}

    @cached_property
    def buckets(self) -> dict[str, BucketConfig]:
        """The bucket that each domain of a split text is."""
        return {e.domain: e.bucket for e in self._config.experts if e.bucket is not None}

    def _source_of(self, domain: str) -> str:
        bucket = self.buckets.get(domain)
        return domain if bucket is None else bucket.group

    @cached_property
    def sources(self) -> dict[str, TextConfig]:
        """The text of each domain that has one, by the domain's name or that of the split text."""
        return {self._source_of(domain): text for domain, text in self.by_domain.items()}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """A hash of each text, by domain."""
        if self._inputs is not None:
            return self._inputs.fingerprints
        found = {}
        for domain in self.by_domain:
            found[domain] = self.source_fingerprints[self._source_of(domain)]
            bucket = self.buckets.get(domain)
            if bucket is not None:
                reference = self._reference_of(bucket)
                found[domain] = fingerprint_bucket(found[domain], bucket, reference)
        return found

    @cached_property
    def source_fingerprints(self) -> Mapping[str, str]:
        """A hash of each text before it is split, by its name."""
        return {name: self._fingerprint(name) for name in self.sources}

    def _reference_of(self, bucket: BucketConfig) -> str | None:
        """Return the identity of the model whose perplexity splits the text."""
        if bucket.split.by != "perplexity":
            return None
        assert self.models is not None
        return self.models.compute_key(bucket.split.reference)

    @cached_property
    def samples(self) -> Mapping[str, AnySample]:
        """The sample of each text that is larger than what the study can use, by its name.

        Texts that are tokenized already are among them, also whole ones.
        """
        limits = {
            self._source_of(expert.domain): self._config.text_tokens_of(expert)
            for expert in self._config.experts
        }
        samples = {
            name: self._find_sample(text, limits[name]) for name, text in self.sources.items()
        }
        return {name: sample for name, sample in samples.items() if sample is not None}

    def _find_sample(self, text: TextConfig, usable: int) -> AnySample | None:
        seed = self._config.seed
        if isinstance(text, MachineTextConfig):
            return None
        limit = None if text.tokens == "all" else text.tokens or usable
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
            MissingArtifactError: The domain is a bucket, and its text has not been split.
        """
        bucket = self.buckets.get(domain)
        if bucket is None:
            yield from self._read_source(domain)
            return
        number = self.open_split(bucket).buckets
        for index, document in zip(number.tolist(), self.read_counted(bucket.group), strict=False):
            if index == bucket.index:
                yield document

    def _read_source(self, name: str) -> Iterator[Document]:
        sample = self.samples.get(name)
        yield from read_documents(self.sources[name]) if sample is None else sample.read()

    def read_counted(self, name: str) -> Iterator[Document]:
        """Yield the documents of a text before it is split; empty ones have no tokens and are left out.

        Args:
            name: Of the text, as in `sources`.
        """
        return (document for document in self._read_source(name) if document.text)

    def read_tokenized(self, domain: str) -> Iterator[str]:
        """Yield the texts of which a domain's corpus holds the tokens."""
        texts = (document.text for document in self.read(domain) if document.text)
        yield from islice(texts, self.counts[domain].documents)

    def open_split(self, bucket: BucketConfig) -> TextSplit:
        """Return which bucket each document of a split text is in.

        Args:
            bucket: One of the buckets.

        Raises:
            MissingArtifactError: It has not been split.
        """
        return TextSplit.open(self._cache.get(self._split_artifact(bucket)))

    def _split_artifact(self, bucket: BucketConfig) -> Artifact:
        whole = self._source_artifact(bucket.group)
        return split_artifact(whole, bucket.split, self._reference_of(bucket))

    def _source_artifact(self, name: str) -> Artifact:
        return corpus_artifact(name, self.source_fingerprints[name], self._tokenizer_fingerprint)

    def _fingerprint(self, name: str) -> str:
        sample = self.samples.get(name)
        if sample is None:
            return fingerprint_text(self.sources[name])
        # a sample is read only where its files have changed
        text = sample.source.model_dump(mode="json", exclude={"paths", "path", "tokens"})
        key = {"text": text, "tokens": sample.tokens, "seed": self._config.seed,
               "files": sample.describe_files()}  # fmt: skip
        artifact = Artifact("fingerprints", name, key)
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
        if self._inputs is not None:
            return
        for name, text in self.sources.items():
            sample = self.samples.get(name)
            if isinstance(sample, TokenText):
                sample.check_vocabulary(self.tokenizer)
            if name in self.by_domain and name not in self.buckets:
                build_corpus(self.corpus_artifact(name), text, self.tokenizer, self._cache, sample)
        for domain, bucket in self.buckets.items():
            self._build_bucket(domain, bucket)

    def _build_bucket(self, domain: str, bucket: BucketConfig) -> None:
        artifact, group = self.corpus_artifact(domain), bucket.group
        if self._cache.find(artifact) is not None:
            return
        whole = build_corpus(self._source_artifact(group), self.sources[group], self.tokenizer,
                             self._cache, self.samples.get(group))  # fmt: skip
        tokenizer = self.tokenizer
        hidden = "" if tokenizer.split_special_tokens else str(tokenizer.eos_token)

        def build(scratch: Path) -> None:
            find_split(
                whole, islice(self.read_counted(group), whole.documents), bucket.split, group,
                measure=make_measure(bucket.split, group, self.models),
                separator=(tokenizer.eos_token_id, hidden),
            ).save(scratch)  # fmt: skip

        split = TextSplit.open(self._cache.get_or_build(self._split_artifact(bucket), build))
        build_bucket(artifact, whole, split, bucket.index, self._cache)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base's tokenizer."""
        artifact, base = self.tokenizer_artifact, self._config.base
        if artifact is not None:
            return load_tokenizer(self._store.get(artifact))
        assert not isinstance(base, BuiltBaseConfig)
        return load_tokenizer(base.path, revision=base.revision)

    @cached_property
    def _tokenizer_fingerprint(self) -> str:
        return fingerprint_tokenizer(self.tokenizer)

    @cached_property
    def tokenizer_artifact(self) -> Artifact | None:
        """The artifact of the tokenizer; None where the base brings its own."""
        base = self._config.base
        if not isinstance(base, BuiltBaseConfig):
            return None
        key = {"vocabulary": base.vocabulary, "bytes": base.tokenizer_bytes,
               "context": base.context, "texts": list(self._texts_of_tokenizer)}  # fmt: skip
        return Artifact("tokenizers", "bpe", key)

    @property
    def _texts_of_tokenizer(self) -> Iterable[str]:
        if self._inputs is not None:
            return self._inputs.sources or self._inputs.fingerprints.values()
        return self.source_fingerprints.values()

    def _interleaved(self) -> Iterator[str]:
        """Yield the next document of the domain with the fewest bytes so far.

        Every domain then shapes the vocabulary, also where documents of one are much longer.
        """
        streams = [self._read_source(name) for name in self.sources]
        heap = [(0, number) for number in range(len(streams))]
        while heap:
            n_bytes, number = heap[0]
            document = next(streams[number], None)
            if document is None:
                heappop(heap)
            else:
                heapreplace(heap, (n_bytes + len(document.text.encode()), number))
                yield document.text

    def corpus_artifact(self, domain: str) -> Artifact:
        """Return the artifact of a domain's corpus."""
        return corpus_artifact(domain, self.fingerprints[domain], self._tokenizer_fingerprint)

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
        found = {}
        for expert in self._config.experts:
            name, given = expert.domain, expert.available_tokens
            if given and expert.bucket is not None:
                given = max(1, round(given * self._share_of_kept(name)))
            if given or name in self.counts:
                found[name] = given or self.counts[name].available_tokens
        return found

    def _share_of_kept(self, domain: str) -> float:
        """Return the share of a bucket in the tokens of all buckets of its text."""
        group = self.buckets[domain].group
        kept = [self.counts[d].tokens for d, b in self.buckets.items() if b.group == group]
        return self.counts[domain].tokens / sum(kept)

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
