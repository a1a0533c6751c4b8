"""Tell whether ensembles of short experts rank the mixtures that a study on a pretrained model trained.

    python studies/smollm/ranks.py OUT/results [MORE/results ...] [--gammas 0.4 0.6 0.8 1.0]

Reads log-probabilities that studies of smollm.py kept in a folder of results, whichever of them trained
a mixture; trains and scores nothing and writes nothing there. Artifacts are found by what their
manifests say, not by the key that this version would give them, so results of other versions can be
read as long as they have the same benchmarks.

Shapes: `n` mixtures beside natural, `k` experts, `d` domains, `m` benchmarks, `t` tokens.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixopt import Study
from mixopt.artifacts.artifact import ArtifactRecord
from mixopt.evaluation.scorer import Scorer
from mixopt.merging.ensemble import Ensemble
from mixopt.optimization.objective import draw_around
from mixopt.surrogates.ensemble import GAMMA, response_weights
from mixopt.surrogates.gain_model import SAME, GainPrior
from mixopt.surrogates.rank_correlation import spearman

DRAWS = 256
"""Mixtures around natural whose ensembles give a benchmark its spread."""
BOOTSTRAPS = 2000
BEYOND = 2.0
"""A gain counts as beyond the noise from so many differences of natural's seeds."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was trained, and what ensembles of the experts say of it.

    Attributes:
        names: Of the benchmarks that choose (`m`).
        ratios: The mixtures (`n x d`).
        real: Gains over natural of the same seed, positive is better, in bits per byte (`n x m`).
        said: Gains of the ensembles (`n x m`).
        difference: Of natural's two seeds at the runs' length, absolute (`m`); NaN with one seed.
        noise: Root mean square of such differences over natural's lengths (`m`).
        spread: Half the range of the middle 68% of ensembles around natural (`m`).
        length: Tokens of a run ÷ tokens of an expert.
    """

    names: list[str]
    ratios: np.ndarray
    real: np.ndarray
    said: np.ndarray
    difference: np.ndarray
    noise: np.ndarray
    spread: np.ndarray
    length: float


@dataclass(frozen=True, eq=False)
class World:
    """The benchmarks, the domains and the natural mixture (`d`) of studies."""

    scorer: Scorer
    domains: tuple[str, ...]
    natural: np.ndarray


@dataclass(frozen=True, eq=False)
class Trained:
    """A run at one of its lengths: ratios (`d`), seed, tokens and scores (`m`)."""

    ratios: np.ndarray
    seed: int
    tokens: int
    scores: np.ndarray


def records(artifacts: Path, kind: str) -> Iterator[ArtifactRecord]:
    """Yield the manifests of a kind of artifacts."""
    found = map(ArtifactRecord.read, sorted((artifacts / kind).glob("[!.]*")))
    return (record for record in found if record is not None)


def read_world(results: Path, **options: Any) -> World:
    """Return the world of the study that wrote a folder last.

    Args:
        results: The folder.
        options: Of `Study`, such as its cache.
    """
    study = Study.load(results / "recipe.yaml", results, device="cpu", **options)
    given = study.config.search.natural
    if given is None:
        raise SystemExit(f"{results}/recipe.yaml states no natural mixture; set search.natural.")
    domains = tuple(study.config.domains)
    natural = np.array([given.get(domain, 0.0) for domain in domains])
    return World(study.context.scorer, domains, natural / natural.sum())


def read_evidence(results: Path, world: World, gamma: float = GAMMA) -> Evidence:
    """Return the gains of everything that was trained and scored in a folder of results.

    Args:
        results: Of one or several studies with the same base, experts and benchmarks.
        world: What they have in common.
        gamma: γ of the ensembles' weights λ^γ.
    """
    scorer, domains, natural = world.scorer, world.domains, world.natural
    metrics = [task.metric for task in scorer.tasks if task.metric.role == "search"]
    signs = np.array([-1.0 if metric.better == "lower" else 1.0 for metric in metrics])

    def read(logprobs: np.ndarray) -> np.ndarray:
        scored = scorer.read(logprobs)
        return signs * [scored[metric.name].score for metric in metrics]

    artifacts = results / "artifacts"
    flats: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
    for record in records(artifacts, "logprobs"):
        if record.key["benchmarks"] == scorer.digest:
            flat = np.load(record.folder / "logprobs.npy")
            flats.setdefault(tuple(record.key["experts"]), {})[record.key["expert"]] = flat
    experts = [each for each in flats.values() if len(each) == len(domains) > 1]
    if len(experts) != 1:
        raise SystemExit(
            f"{results} has scores of {len(experts)} sets of {len(domains)} experts on the benchmarks "
            "of its recipe.yaml, and one is needed."
        )
    ensemble = Ensemble([experts[0][place] for place in range(len(domains))])
    runs = list(read_runs(artifacts, domains, flats, read))

    def said(ratios: np.ndarray) -> np.ndarray:
        return np.array(
            [read(ensemble.mix(row.tolist())) for row in response_weights(ratios, gamma)]
        )

    around = said(draw_around(natural, DRAWS, np.random.default_rng(0)))
    low, high = np.percentile(around, [16, 84], axis=0)
    longest = max(run.tokens for run in runs)
    naturals = {(run.seed, run.tokens): run.scores for run in runs if is_natural(run, natural)}
    others = [
        run for run in runs if not is_natural(run, natural) and (run.seed, run.tokens) in naturals
    ]
    at_end = [run for run in others if run.tokens == longest]
    if not at_end:
        raise SystemExit(f"{results} has no mixture that was trained beside natural of its seed.")
    differences = seed_differences(naturals)
    expert_tokens = {read_tokens(record.folder) for record in records(artifacts, "experts")}
    return Evidence(
        [metric.name for metric in metrics],
        ratios := np.stack([run.ratios for run in at_end]),
        np.stack([run.scores - naturals[run.seed, run.tokens] for run in at_end]),
        said(ratios) - said(natural[None]),
        differences.get(longest, np.full(len(metrics), np.nan)),
        np.sqrt(np.mean(np.square([*differences.values()]), axis=0))
        if differences
        else np.full(len(metrics), np.nan),
        (high - low) / 2,
        longest / max(expert_tokens),
    )  # fmt: skip


def read_runs(artifacts: Path, domains: Sequence[str], flats: dict, read) -> Iterator[Trained]:  # noqa: ANN001
    """Yield runs at each length that was scored."""
    for record in records(artifacts, "runs"):
        ratios = np.array([record.key["ratios"].get(domain, 0.0) for domain in domains])
        tokens, steps = read_tokens(record.folder), record.key["step"][-1]
        for experts, scored in flats.items():
            name, _, step = experts[0].partition("/")
            if len(experts) == 1 and name == record.folder.name:
                read_so_far = tokens * int(step) // steps if step else tokens
                yield Trained(ratios, record.key["seed"], read_so_far, read(scored[0]))


def read_tokens(folder: Path) -> int:
    """Return the tokens that a trained model has read."""
    return int(json.loads((folder / "outcome.json").read_text())["tokens"])


def is_natural(run: Trained, natural: np.ndarray) -> bool:
    """Return whether a run was trained on natural."""
    return bool(np.abs(run.ratios - natural).max() < SAME)


def seed_differences(naturals: dict[tuple[int, int], np.ndarray]) -> dict[int, np.ndarray]:
    """Return how far natural's first two seeds differ (`m`), by tokens."""
    by_tokens: dict[int, list[np.ndarray]] = {}
    for (_, tokens), scores in sorted(naturals.items()):
        by_tokens.setdefault(tokens, []).append(scores)
    return {
        tokens: np.abs(some[1] - some[0]) for tokens, some in by_tokens.items() if len(some) > 1
    }


# --- what is told ------------------------------------------------------------------------------


def measure(real: np.ndarray, said: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    """Return how well ensembles rank mixtures, natural among them with gains of 0.

    Args:
        real: Gains in spreads (`n x m`).
        said: Gains of the ensembles in spreads (`n x m`).
        kept: The pairs that count (`n x m`).
    """
    by_benchmark = [
        rank_with_natural(real[:, j], said[:, j], kept[:, j]) for j in range(kept.shape[1])
    ]
    known = [rank for rank in by_benchmark if np.isfinite(rank)]
    some_real, some_said = real[kept], said[kept]
    return {
        "by benchmark": float(np.mean(known)) if known else np.nan,
        "all pairs": spearman(some_real, some_said),
        "signs": float(np.mean(some_real * some_said > 0)) if kept.any() else np.nan,
        "scale": float(some_real @ some_said / (some_said @ some_said)) if kept.any() else np.nan,
    }


def rank_with_natural(real: np.ndarray, said: np.ndarray, kept: np.ndarray) -> float:
    """Return Spearman's correlation over the mixtures that count, and natural, in one benchmark."""
    return spearman(np.append(real[kept], 0.0), np.append(said[kept], 0.0))


def intervals(
    real: np.ndarray, said: np.ndarray, kept: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return 95% intervals of `measure` over resampled mixtures."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        rows = rng.integers(0, len(real), len(real))
        drawn.append(measure(real[rows], said[rows], kept[rows]))
    return {
        name: tuple(np.nanpercentile([each[name] for each in drawn], [2.5, 97.5]))
        for name in (drawn[0] if len(real) > 1 else ())
    }


def chances(real: np.ndarray, said: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    """Return how often a measure is as high where mixtures, natural among them, are mixed up."""
    rng, drawn = np.random.default_rng(0), []
    found, all_said = measure(real, said, kept), np.vstack([np.zeros(said.shape[1]), said])
    for _ in range(BOOTSTRAPS):
        mixed = all_said[rng.permutation(len(all_said))]
        drawn.append(measure(real, mixed[1:] - mixed[0], kept))
    return {
        name: float(np.mean([each[name] >= value - 1e-9 for each in drawn]))
        for name, value in found.items()
    }


def report(evidence: Evidence, domains: Sequence[str]) -> None:
    """Print tables of gains by benchmark, and of ranks."""
    n = len(evidence.real)
    print(f"{n} mixtures beside natural, {len(evidence.names)} benchmarks that choose, runs of "
          f"{evidence.length:g} times an expert's tokens\n")  # fmt: skip
    for number, row in enumerate(evidence.ratios, start=1):
        parts = sorted(zip(row, domains, strict=True), reverse=True)
        print(f"- mixture {number}: {', '.join(f'{r:.0%} {d}' for r, d in parts if r >= 0.005)}")
    columns = [f"{number}: real, said" for number in range(1, n + 1)]
    print("\n| benchmark | natural's seeds differ, all lengths | spread | " + " | ".join(columns)
          + " | Spearman |\n" + "|---" * (n + 4) + "|")  # fmt: skip
    everything = np.ones_like(evidence.real, dtype=bool)
    for j, name in enumerate(evidence.names):
        pairs = [f"{r:+.4f}, {s:+.4f}" for r, s in
                 zip(evidence.real[:, j], evidence.said[:, j], strict=True)]  # fmt: skip
        rank = rank_with_natural(evidence.real[:, j], evidence.said[:, j], everything[:, j])
        print(f"| {name} | {evidence.difference[j]:.4f}, {evidence.noise[j]:.4f} | "
              f"{evidence.spread[j]:.4f} | {' | '.join(pairs)} | {rank:+.2f} |")  # fmt: skip
    real, said = evidence.real / evidence.spread, evidence.said / evidence.spread
    print("\n| pairs | n | Spearman by benchmark, mean | over all pairs | right signs | real ÷ said |\n"
          "|---|---|---|---|---|---|")  # fmt: skip
    beyond = np.abs(evidence.real) > BEYOND * evidence.noise
    for title, kept in (("all", everything), (f"gains beyond {BEYOND:g} x the noise", beyond)):
        found, around = measure(real, said, kept), intervals(real, said, kept)
        chance = chances(real, said, kept)
        cells = []
        for name, value in found.items():
            interval = "[{:.2f}, {:.2f}]".format(*around[name]) if name in around else ""
            cells.append(f"{value:.2f} {interval} p {chance[name]:.3f}")
        print(f"| {title} | {kept.sum()} | {' | '.join(cells)} |")
    print(f"\nGains in spreads; 95% over resampled mixtures, of which there are {n}: such intervals are "
          f"too narrow where they are few. p: how often as high with mixtures, natural among them, "
          f"permuted ({BOOTSTRAPS:,} times). Expected of real ÷ said: "
          f"{GainPrior().growth_to(evidence.length):.2f}.")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--gammas", nargs="*", type=float, default=[], help="compare exponents γ")
    args = parser.parse_args()
    for results in args.results:
        print(f"## {results}\n")
        world = read_world(results)
        report(read_evidence(results, world), world.domains)
        for gamma in args.gammas:
            found = read_evidence(results, world, gamma)
            real, said = found.real / found.spread, found.said / found.spread
            values = measure(real, said, np.ones_like(real, dtype=bool))
            print(f"γ {gamma:g}: " + ", ".join(f"{name} {v:.2f}" for name, v in values.items()))


if __name__ == "__main__":
    main()
