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


def collect_samples(context: StudyContext, weights: Mapping[str, float]) -> TextSamples:
    """Return the samples of a study, embedded now or read.

    Args:
        context: A study whose corpora are built.
        weights: Of the benchmarks in the target, by name.

    Raises:
        UserError: A domain or the target has too little text.
    """
    config, corpora = context.config, context.corpora
    is_built = isinstance(config.base, BuiltBaseConfig)
    key = {
        "corpora": {name: corpora.fingerprints.get(name) for name in config.domains},
        "tokenizer": len(corpora.tokenizer), "benchmarks": context.scorer.digests,
        "weights": dict(weights), "context": config.base.context, "seed": config.seed,
        "base": None if is_built else context.base_model.compute_key(),
    }  # fmt: skip

    def build(folder: Path) -> None:
        samples = _embed(context, weights)
        named = {f"source-{i}": rows for i, rows in enumerate(samples.sources.values())}
        arrays: dict[str, Array] = {**named, "target": samples.target, "masses": samples.masses}
        np.savez(folder / FILE, allow_pickle=False, **arrays)

    arrays = np.load(context.store.get_or_build(Artifact(KIND, "all", key), build) / FILE)
    sources = {name: arrays[f"source-{i}"] for i, name in enumerate(config.domains)}
    return TextSamples(sources, arrays["target"], arrays["masses"])


def _embed(context: StudyContext, weights: Mapping[str, float]) -> TextSamples:
    config = context.config
    length = min(PASSAGE_TOKENS, config.base.context)
    share = SAMPLES // len(config.domains)
    n = max(LEAST_PER_DOMAIN, min(MOST_PER_DOMAIN, share))
    passages: dict[str, list[list[int]]] = {}
    for index, domain in enumerate(config.domains):
        if domain not in context.corpora.by_domain:
            raise UserError(f"Domain {domain!r} has no text to compare; give its text.")
        rng = np.random.default_rng([config.seed, index])
        passages[domain] = draw_passages(context.corpora.open(domain), domain, n, length, rng)
    rng = np.random.default_rng([config.seed, len(config.domains)])
    target, masses = draw_target(context.scorer.tasks, weights, length, rng)
    everything = [passage for own in [*passages.values(), target] for passage in own]
    if isinstance(config.base, BuiltBaseConfig):
        rows = count_tokens(everything)
    else:
        from mixopt.evaluation.text_embedding import embed_passages

        device = device_of_driver(config, context.environment.device)
        model = replace(context.base_model, device=device).load().to(device.name)
        rows = embed_passages(model, everything)
    ends = np.cumsum([len(own) for own in passages.values()])
    parts = np.split(rows, ends)
    return TextSamples(dict(zip(passages, parts[:-1], strict=True)), parts[-1], masses)


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
    tasks: "Sequence[Task]", weights: Mapping[str, float], length: int, rng: np.random.Generator
) -> tuple[list[list[int]], Array]:
    """Return passages of what benchmarks score, and the weight of each passage (`n`).

    Args:
        tasks: The benchmarks; those without a weight are left out.
        weights: By name.
        length: Most tokens of a passage.
        rng: Chooses them.

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
    for task in own:
        pieces = [piece for request in _right_requests(task) for piece in _cut(request, length)]
        n = min(len(pieces), max(LEAST_SAMPLES, TARGET_SAMPLES // len(own)))
        passages += [pieces[i] for i in np.sort(rng.choice(len(pieces), n, replace=False))]
        masses += [weights[task.metric.name] / n] * n
    return passages, np.array(masses)


def _right_requests(task: "Task") -> list[list[int]]:
    """Return the tokens of the requests whose loss counts: of choices the right answers."""
    known = np.flatnonzero(task.loss_weights)
    requests = [task.requests[int(index)] for index in known]
    return [[*request.context, *request.target] for request in requests]


def _cut(tokens: list[int], length: int) -> list[list[int]]:
    return [tokens[start : start + length] for start in range(0, len(tokens), length)]


def count_tokens(passages: Sequence[Sequence[int]]) -> Array:
    """Return the square root of the share of each token in passages (`n x f`).

    Args:
        passages: Tokens of each (`n`), none empty.
    """
    rows = [np.bincount(np.array(p) % COUNTED, minlength=COUNTED) / len(p) for p in passages]
    table = np.sqrt(np.stack(rows))
    return np.asarray(table[:, table.any(axis=0)])
