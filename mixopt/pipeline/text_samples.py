"""Samples of a study's text as embeddings: of each domain, and of the benchmarks that choose.

Passages of a domain are windows at random places of its corpus; those of a benchmark are pieces of what
it scores, with their context. They are embedded by a pretrained base, or as square roots of token
shares where the base is built here. Shapes: `n` passages, `f` numbers of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.baselines.transport import LEAST_SAMPLES, TextSamples
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.corpus import Corpus
from mixopt.errors import UserError
from mixopt.mixture import Array
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.reference_models import device_of_driver

if TYPE_CHECKING:
    from mixopt.evaluation.tasks.base import Task

KIND, FILE = "text-samples", "samples.npz"
PASSAGE_TOKENS = 128
"""Tokens of a passage, or the base's context if that is shorter."""
SAMPLES, LEAST_PER_DOMAIN, MOST_PER_DOMAIN = 768, 16, 128
"""Passages of all domains together, and of each: transport takes their square in time and memory."""
TARGET_SAMPLES = 192
"""Passages of all benchmarks together."""
COUNTED = 1024
"""Numbers of an embedding by token counts: tokens are counted by their number modulo this."""


def equal_weights(context: StudyContext) -> dict[str, float]:
    """Return the weight of each benchmark that chooses: capabilities by theirs, equal inside of one."""
    search = context.config.search
    chosen = [benchmark for benchmark in context.config.benchmarks if benchmark.role == "search"]
    capabilities = [benchmark.capability for benchmark in chosen]
    weights = {
        benchmark.name: search.capability_weights.get(benchmark.capability, 1.0)
        / capabilities.count(benchmark.capability)
        for benchmark in chosen
    }
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def collect_samples(
    context: StudyContext, weights: Mapping[str, float], most: int = TARGET_SAMPLES, *, name: str
) -> TextSamples:
    """Return the samples of a study, embedded now or read.

    Args:
        context: A study whose corpora are built.
        weights: Of the benchmarks in the target, by name.
        most: Passages of all benchmarks together.
        name: What they are for.

    Raises:
        UserError: A domain or the target has too little text.
    """
    artifact = samples_artifact(context, weights, most, name)

    def build(folder: Path) -> None:
        samples = _embed(context, weights, most)
        named = {f"source-{i}": rows for i, rows in enumerate(samples.sources.values())}
        arrays: dict[str, Array] = {**named, "target": samples.target, "masses": samples.masses}
        names = np.array(samples.benchmarks)
        np.savez(folder / FILE, allow_pickle=False, benchmarks=names, **arrays)

    arrays = np.load(context.store.get_or_build(artifact, build) / FILE)
    sources = {name: arrays[f"source-{i}"] for i, name in enumerate(context.config.domains)}
    names = tuple(arrays["benchmarks"].tolist())
    return TextSamples(sources, arrays["target"], arrays["masses"], names)


def samples_artifact(
    context: StudyContext, weights: Mapping[str, float], most: int, name: str
) -> Artifact:
    """Return the artifact of a study's samples, with everything that determines them.

    Args:
        context: A study whose corpora are built.
        weights: Of the benchmarks in the target, by name.
        most: Passages of all benchmarks together.
        name: What they are for.
    """
    config, corpora = context.config, context.corpora
    is_built = isinstance(config.base, BuiltBaseConfig)
    key = {
        "corpora": {name: corpora.fingerprints.get(name) for name in config.domains},
        "tokenizer": len(corpora.tokenizer), "benchmarks": context.scorer.digests,
        "weights": dict(weights), "context": config.base.context, "seed": config.seed, "most": most,
        "base": None if is_built else context.base_model.compute_key(),
    }  # fmt: skip
    return Artifact(KIND, name, key)


def require_text(context: StudyContext) -> None:
    """Check that there is enough text for transport, before anything is embedded or trained.

    Args:
        context: A study whose corpora are built.

    Raises:
        UserError: A domain or a benchmark that chooses has too little text, or none.
    """
    length = _passage_length(context)
    rng = np.random.default_rng(0)
    for domain in context.config.domains:
        draw_passages(_open(context, domain), domain, LEAST_SAMPLES, length, rng)
    weights = equal_weights(context)
    target, _, _ = draw_target(context.scorer.tasks, weights, length, rng)
    if len(target) < LEAST_SAMPLES:
        raise UserError(
            f"The benchmarks that choose have {len(target)} passages of text together and transport "
            f"needs {LEAST_SAMPLES}; give them more items."
        )
    if not context.config.search.text_prior:
        return
    for task in context.scorer.tasks:
        n = len(_pieces(task, length))
        if weights.get(task.metric.name, 0.0) > 0 and n < LEAST_SAMPLES:
            raise UserError(
                f"The text of benchmark {task.metric.name!r} has {n} passages and transport needs "
                f"{LEAST_SAMPLES}; give it more items, or leave search.text_prior out."
            )


def _passage_length(context: StudyContext) -> int:
    return min(PASSAGE_TOKENS, context.config.base.context)


def _open(context: StudyContext, domain: str) -> Corpus:
    if domain not in context.corpora.by_domain:
        raise UserError(f"Domain {domain!r} has no text to compare; give its text.")
    return context.corpora.open(domain)


def _embed(context: StudyContext, weights: Mapping[str, float], most: int) -> TextSamples:
    config = context.config
    length = _passage_length(context)
    share = SAMPLES // len(config.domains)
    n = max(LEAST_PER_DOMAIN, min(MOST_PER_DOMAIN, share))
    passages: dict[str, list[list[int]]] = {}
    for index, domain in enumerate(config.domains):
        rng = np.random.default_rng([config.seed, index])
        passages[domain] = draw_passages(_open(context, domain), domain, n, length, rng)
    rng = np.random.default_rng([config.seed, len(config.domains)])
    target, masses, names = draw_target(context.scorer.tasks, weights, length, rng, most)
    everything = [passage for own in [*passages.values(), target] for passage in own]
    if isinstance(config.base, BuiltBaseConfig):
        rows = count_tokens(everything)
    else:
        from mixopt.evaluation.text_embedding import embed_passages
        from mixopt.training.model_loading import resolve_dtype

        dtype = resolve_dtype(config.base)
        device = device_of_driver(config, context.environment.device, dtype)
        model = replace(context.base_model, device=device).load().to(device.name)
        rows = embed_passages(model, everything)
    ends = np.cumsum([len(own) for own in passages.values()])
    parts = np.split(rows, ends)
    return TextSamples(dict(zip(passages, parts[:-1], strict=True)), parts[-1], masses, names)


def draw_passages(
    corpus: Corpus, domain: str, n: int, length: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return passages of a corpus that do not overlap, as tokens.

    Args:
        corpus: The corpus.
        domain: Its name, for the message.
        n: Most passages.
        length: Tokens of each.
        rng: Chooses their places.

    Raises:
        UserError: The corpus is too small.
    """
    places = corpus.tokens // length
    if places < LEAST_SAMPLES:
        raise UserError(
            f"The text of domain {domain!r} has {corpus.tokens:,} tokens, {places} passages of "
            f"{length}, and transport needs {LEAST_SAMPLES}; give it more text."
        )
    chosen = np.sort(rng.choice(places, min(n, places), replace=False))
    return [corpus.read(int(place) * length, length).tolist() for place in chosen]


def draw_target(
    tasks: "Sequence[Task]",
    weights: Mapping[str, float],
    length: int,
    rng: np.random.Generator,
    most: int = TARGET_SAMPLES,
) -> tuple[list[list[int]], Array, tuple[str, ...]]:
    """Return passages of what benchmarks score, and weight and benchmark of each (`n`).

    Args:
        tasks: The benchmarks; those without a weight are left out.
        weights: By name.
        length: Most tokens of a passage.
        rng: Chooses them.
        most: Passages of all benchmarks together; at least `LEAST_SAMPLES` of each.

    Raises:
        UserError: No benchmark that chooses has text.
    """
    own = [task for task in tasks if weights.get(task.metric.name, 0.0) > 0]
    if not own:
        raise UserError(
            "Transport compares domains with the text of benchmarks that choose, and none has any; "
            "choose by bits_per_byte, continuations or choices."
        )
    passages: list[list[int]] = []
    masses: list[float] = []
    names: list[str] = []
    for task in own:
        pieces = _pieces(task, length)
        n = min(len(pieces), max(LEAST_SAMPLES, most // len(own)))
        passages += [pieces[i] for i in np.sort(rng.choice(len(pieces), n, replace=False))]
        masses += [weights[task.metric.name] / n] * n
        names += [task.metric.name] * n
    return passages, np.array(masses), tuple(names)


def _pieces(task: "Task", length: int) -> list[list[int]]:
    """Return the passages of a benchmark: of `length` tokens, at an end at least half as many.

    An item without such a passage keeps its longest.
    """
    by_item: dict[int, list[list[int]]] = {}
    for item, tokens in _right_requests(task):
        by_item.setdefault(item, []).extend(_cut(tokens, length))
    return [piece for pieces in by_item.values() for piece in _drop_short(pieces, length // 2)]


def _right_requests(task: "Task") -> list[tuple[int, list[int]]]:
    """Return item and tokens of the requests whose loss counts: of choices the right answers."""
    known = np.flatnonzero(task.loss_weights)
    items = np.searchsorted(task.starts, known, "right").tolist()
    requests = [task.requests[int(index)] for index in known]
    # the first token of each is the separator, which is no text
    texts = [[*request.context, *request.target][1:] for request in requests]
    return list(zip(items, texts, strict=True))


def _cut(tokens: list[int], length: int) -> list[list[int]]:
    return [tokens[start : start + length] for start in range(0, len(tokens), length)]


def _drop_short(pieces: list[list[int]], least: int) -> list[list[int]]:
    return [piece for piece in pieces if len(piece) >= least] or sorted(pieces, key=len)[-1:]


def count_tokens(passages: Sequence[Sequence[int]]) -> Array:
    """Return the square root of the share of each token in passages (`n x f`).

    Args:
        passages: Tokens of each (`n`), none empty.
    """
    rows = [np.bincount(np.array(p) % COUNTED, minlength=COUNTED) / len(p) for p in passages]
    table = np.sqrt(np.stack(rows))
    return np.asarray(table[:, table.any(axis=0)])
