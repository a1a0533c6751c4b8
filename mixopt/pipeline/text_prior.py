"""What text alone tells of mixtures before any run: the prior mean of a study's surrogate.

For each benchmark that chooses, the optimal-transport distance of a mixture's text from the benchmark's
own (projektor; see `mixopt.baselines.transport`), at mixtures all over the simplex. How distances map
to scores is left to the runs; see `mixopt.surrogates.prior_mean`. Shapes: `n` mixtures, `d` domains.
"""

from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.baselines.transport import Transport
from mixopt.io.progress import track
from mixopt.mixture import Array
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.text_samples import collect_samples, equal_weights, samples_artifact
from mixopt.trials import Trials

KIND, NAME, FILE = "text-distances", "text-prior", "distances.npz"
DRAWN = 48
"""Mixtures at which distances are measured, beside natural, uniform and the single domains."""
PER_BENCHMARK, MOST_TARGET = 48, 1024
"""Passages of each benchmark, and of all together."""
SEEDS = 1_000_005


def measure_text_prior(context: StudyContext) -> Trials:
    """Return the distances of mixtures from the text of each benchmark that chooses, as trials.

    A distance is a score for the surrogate: nearer counts as better, so the distance from a benchmark
    where higher is better is negative. Benchmarks of generated text have none, nor those of a capability
    with weight 0.

    Args:
        context: A study whose corpora are built.

    Raises:
        UserError: A domain or a benchmark has too little text.
        MissingExtraError: `mixopt[transport]` is not installed.
    """
    weights = equal_weights(context)
    most = min(MOST_TARGET, PER_BENCHMARK * len(weights))
    samples = collect_samples(context, weights, most, name=NAME)
    # a benchmark that counts for nothing has no text in the target
    metrics = tuple(t.metric for t in context.scorer.tasks if weights.get(t.metric.name, 0.0) > 0)
    domains = context.config.domains
    ratios = list_mixtures(context.corpora.natural.vector(domains), context.config.seed)
    key = {
        "ratios": ratios.tolist(), "metrics": [metric.name for metric in metrics],
        "samples": samples_artifact(context, weights, most, NAME).folder_name,
    }  # fmt: skip

    def build(folder: Path) -> None:
        transport = Transport(samples)
        progress = track(ratios, "distances of text", total=len(ratios), unit="mixture")
        rows = [transport.by_benchmark(row[None]) for row in progress]
        table = np.array([[row[metric.name][0] for metric in metrics] for row in rows])
        np.savez(folder / FILE, allow_pickle=False, distances=table)

    folder = context.store.get_or_build(Artifact(KIND, NAME, key), build)
    distances = np.load(folder / FILE)["distances"]
    signs = np.where([metric.better == "higher" for metric in metrics], -1.0, 1.0)
    return Trials.from_arrays(
        ratios, distances * signs, domains=domains, metrics=metrics,
        ids=[f"text-{number:03d}" for number in range(len(ratios))],
    )  # fmt: skip


def list_mixtures(natural: Array, seed: int) -> Array:
    """Return mixtures all over the simplex (`n x d`): single domains, natural, uniform and draws.

    Args:
        natural: The natural mixture (`d`).
        seed: Of the draws.
    """
    d = len(natural)
    drawn = np.random.default_rng([seed, SEEDS]).dirichlet(np.ones(d), DRAWN)
    return np.vstack([np.eye(d), natural, np.full(d, 1 / d), drawn])
