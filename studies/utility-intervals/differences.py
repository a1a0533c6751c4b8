"""Do intervals of a difference between two mixtures hold the difference of runs that were not fitted?

    python studies/utility-intervals/differences.py --tables ../shared/tables --seeds 4

Decisions rest on such differences. Random runs of the tables and utilities of `cells.py` are fitted; the
other runs are compared with the one of them that is nearest to the mean mixture, and with one drawn at
random. A measured difference has the noise of two runs, which the interval leaves out. Steps of a
formula, where trees predict best, are a third table: its truth has no noise. Prints, by table and
number of runs, the root mean square of z and the shares inside 80% and 95%.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cells import open_tables
from joblib import Parallel, delayed

from mixopt import Trials, fit
from mixopt.estimate import Z80, Z95
from mixopt.mixture import Array

RUNS = (16, 32, 64)
STEPS, NOISE = 400, 0.3
"""Mixtures of the table of steps, and the noise of a run in its metric's unit."""


def steps(ratios: Array) -> Array:
    """Return losses that jump where a domain has enough (`n`)."""
    return np.asarray(1.0 * (ratios[:, 0] > 0.3) + 0.5 * (ratios[:, 1] > 0.25))


def noisy_steps() -> Trials:
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), STEPS)
    scores = steps(ratios) + rng.normal(0, NOISE, STEPS)
    return Trials.from_arrays(ratios, scores[:, None], domains=list("abcd"),
                              metrics={"loss": "lower"})  # fmt: skip


def tables(folder: Path) -> Iterator[tuple[str, Trials]]:
    """Yield the name of a table and its runs."""
    yield "steps", noisy_steps()
    for table, utility, trials in open_tables(folder):
        yield f"{table}, {utility}", trials


def measure(name: str, trials: Trials, n: int, seed: int) -> Array:
    """Return z of each other run's difference from the two references (`k`)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(trials))
    surrogate = fit(trials[order[:n]], target="average", seed=seed)
    rest = trials[order[n:]]
    ratios = rest.ratios()
    truth = -steps(ratios) if name == "steps" else surrogate.observed_utilities(rest)
    central = int(np.linalg.norm(ratios - ratios.mean(axis=0), axis=1).argmin())
    found = []
    for place in (central, int(rng.integers(len(rest)))):
        others = np.arange(len(rest)) != place
        mean, std = surrogate.utility_difference(ratios[others], ratios[place])
        found.append((truth[others] - truth[place] - mean) / np.maximum(std, 1e-12))
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=Path("../shared/tables"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", help="a table, such as 'steps'; all if left out")
    args = parser.parse_args()
    for name, trials in tables(args.tables):
        if args.only not in (None, name):
            continue
        for n in RUNS:
            each = Parallel(args.jobs)(
                delayed(measure)(name, trials, n, seed) for seed in range(args.seeds)
            )
            z = np.concatenate(each)
            inside = [float((np.abs(z) <= width).mean()) for width in (Z80, Z95)]
            print(f"{name}, {n} runs: rms z {np.sqrt(np.mean(z**2)):.2f}, {inside[0]:.3f} inside 80%, "
                  f"{inside[1]:.3f} inside 95%", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
