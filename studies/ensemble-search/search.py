"""Time from scored experts to a proposal: reading, spreads, search, bootstrap draws and candidates.

    OMP_NUM_THREADS=1 python studies/ensemble-search/search.py [--experts 8] [--tokens N] [--worst]
        [--reference FILE.npz]

The log-probabilities are synthetic and seeded: tokens from sure to surprising, experts that share most
of what they know, and each is better in the benchmarks of its domain. All times are CPU seconds of this
process, with wall seconds beside them. The floor of one evaluation of loss and gradient is the time in
which the experts' probabilities are read once, at the bandwidth that summing them reaches here.
`--reference` writes losses, gradients and choices, or compares them with those in the file.
"""

import argparse
import resource
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mixopt import Metric, SearchSpace
from mixopt.merging.ensemble import Ensemble
from mixopt.optimization.ensemble_search import EnsembleSearch
from mixopt.optimization.objective import DRAWS, Objective, draw_around
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.gains import BOOTSTRAPS
from mixopt.surrogates.ensemble import GAMMA, EnsembleModel, response_weights

PER_ITEM = 60
BYTES = 4
"""Bytes of a token."""
CANDIDATES = 32
MANY = 100


@dataclass
class Timer:
    """CPU and wall seconds by part."""

    parts: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str):
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.parts[name] = time.process_time() - cpu, time.perf_counter() - wall

    def show(self) -> None:
        for name, (cpu, wall) in self.parts.items():
            print(f"{name:<44}{cpu:8.2f} s CPU {wall:8.2f} s wall")


def synthesize(k: int, t: int, m: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return log-probabilities (`k x t`), metric and item of each token, and sizes of the items."""
    rng = np.random.default_rng(seed)
    items = np.arange(t) // PER_ITEM
    metrics = (np.arange(items[-1] + 1) * m // (items[-1] + 1))[items]
    # a third of the tokens is nearly sure, as the ends of words are
    surprise = rng.gamma(0.5, 5.0, t)
    logprobs = np.empty((k, t), np.float32)
    for expert in range(k):
        own = (metrics + expert) % k == 0
        item_effect = 0.15 * rng.standard_normal(items[-1] + 1)[items]
        factor = np.exp(0.25 * rng.standard_normal(t) + item_effect - 0.25 * own + 0.1)
        logprobs[expert] = -np.minimum(surprise * factor, 25.0)
    sizes = np.bincount(items).astype(float) * BYTES
    return logprobs, metrics, items, sizes


def bandwidth(array: np.ndarray) -> float:
    """Return the bytes per CPU second at which an array larger than the cache is summed."""
    flat, best = array.ravel(), np.inf
    for _ in range(5):
        start = time.process_time()
        np.dot(flat, flat)
        best = min(best, time.process_time() - start)
    return flat.nbytes / best


def evaluation(run: Callable[[], object], repeats: int = 9) -> float:
    """Return the median CPU seconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times))


def peak() -> float:
    """Return the process's peak memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--metrics", type=int, default=16)
    parser.add_argument("--worst", action="store_true", help="the worst capability counts")
    parser.add_argument("--reference", type=Path)
    asked = parser.parse_args()
    k, m = asked.experts, asked.metrics
    logprobs, metric_of, items, sizes = synthesize(k, asked.tokens, m)
    before, timer = peak(), Timer()
    domains = tuple(f"d{number}" for number in range(k))
    metrics = tuple(Metric(f"m{n}", "lower", capability=f"c{n % k}") for n in range(m))
    bits = 1 / np.log(2) / np.bincount(metric_of, weights=np.full(len(items), BYTES))[metric_of]
    natural = 0.5 ** np.arange(1, k + 1)
    natural /= natural.sum()
    rng = np.random.default_rng(1)
    starts = np.flatnonzero(np.diff(items, prepend=-1))

    with timer.part("the experts' probabilities"):
        ensemble = Ensemble(list(logprobs))
        model = EnsembleModel.of(logprobs, bits, metric_of, items, sizes)

    def scores(weights: np.ndarray) -> np.ndarray:
        totals = np.add.reduceat(ensemble.mix(weights.tolist()), starts)
        return (
            -np.bincount(metric_of[starts], totals)
            / np.log(2)
            / np.bincount(metric_of[starts], sizes)
        )

    around = response_weights(draw_around(natural, DRAWS, rng), GAMMA)
    with timer.part(f"unit: scores and losses of {DRAWS} ensembles"):
        spread = np.stack([scores(row) for row in around])
        losses = np.stack([model.losses(row) for row in around])
    assert np.allclose(spread, losses, rtol=1e-5)
    objective = Objective.measure(metrics, losses, np.zeros(m), worst=asked.worst)
    utility = objective.utility(model.losses(response_weights(natural, GAMMA)))
    search = EnsembleSearch(model, utility, WeightSpace.of_domains(SearchSpace(domains)), GAMMA)
    with timer.part("search from two starts"):
        leader = search.maximize([natural])
    with timer.part(f"{BOOTSTRAPS} bootstrap draws"):
        few = search.bootstrap(leader, BOOTSTRAPS, np.random.default_rng(2))
    with timer.part(f"scores of {CANDIDATES} candidates"):
        for row in draw_around(natural, CANDIDATES, rng):
            scores(response_weights(row, GAMMA))
    cpu = sum(part[0] for part in timer.parts.values())
    print(f"{k} experts x {asked.tokens:,} tokens, {m} benchmarks{', worst' * asked.worst}")
    timer.show()
    print(f"{'from scored experts to a proposal':<44}{cpu:8.2f} s CPU")
    print(f"peak memory above the log-probabilities: {peak() - before:,.0f} MB")
    many = Timer()
    with many.part(f"{MANY} bootstrap draws (not in the sum)"):
        draws = search.bootstrap(leader, MANY, np.random.default_rng(3))
    many.show()
    speed, weights = bandwidth(model.probabilities), response_weights(leader, GAMMA)
    floor = model.probabilities.nbytes / speed
    both = evaluation(lambda: model.losses_and_jacobian(weights))
    alone = evaluation(lambda: model.losses(weights))
    print(
        f"read {speed / 1e9:.1f} GB/s; one evaluation with gradient {1e3 * both:.1f} ms, without "
        f"{1e3 * alone:.1f} ms; floor {1e3 * floor:.1f} ms ({both / floor:.1f} times)"
    )
    print(f"leader {np.round(leader, 3).tolist()}, utility {search.value(leader):.6f}")
    loss, jacobian = model.losses_and_jacobian(response_weights(natural, GAMMA))
    found = {"loss": loss, "jacobian": jacobian, "leader": leader, "few": few,
             "sd": draws.std(axis=0), "mean": draws.mean(axis=0)}  # fmt: skip
    if asked.reference and asked.reference.exists():
        for name, value in np.load(asked.reference).items():
            print(f"  {name}: differs by at most {np.abs(found[name] - value).max():.1e}")
    elif asked.reference:
        np.savez(asked.reference, **found)


if __name__ == "__main__":
    main()
