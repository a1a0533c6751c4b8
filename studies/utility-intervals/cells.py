"""Do intervals of the utility hold the utility of runs that were not fitted?

    python studies/utility-intervals/cells.py --tables ../shared/tables --seeds 8

A cell is a table, a utility and a number of runs: RegMix's 512 runs at 1M (17 domains; the mean of its
13 losses, and of every fourth) and Olmix' 127 (24 domains; the mean of every ninth of 110 metrics, and
of every 37th). Random runs are fitted, and the others are predicted. Prints the share of utilities
inside 80% and 95%, its standard error over seeds, and how many cells are within 3 points.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
STUDIES = Path(__file__).parents[1]
sys.path[:0] = [str(STUDIES), str(STUDIES / "regmix")]

import numpy as np
import regmix
from joblib import Parallel, delayed

from mixopt import Trials, fit, read_trials
from mixopt.estimate import Z95

SIZES = {"regmix": (16, 32, 64, 128, 256), "olmix": (16, 32, 64, 96)}
CLOSE = 0.03


def open_tables(folder: Path) -> Iterator[tuple[str, str, Trials]]:
    """Yield table, name of the utility, and all runs with the metrics that it is the mean of."""
    table = regmix.Tables(folder / "regmix")
    everything = table.trials(np.arange(len(table.ratios)))
    yield from (("regmix", f"mean of {len(range(0, 13, step))}", every(everything, step))
                for step in (1, 4))  # fmt: skip
    files = folder / "olmix-dclm"
    swarm = read_trials(ratios=files / "ratios.csv", metrics=files / "metrics.csv", better="lower")
    yield from (("olmix", f"mean of {len(range(0, 110, step))}", every(swarm, step))
                for step in (9, 37))  # fmt: skip


def every(trials: Trials, step: int) -> Trials:
    """Return the runs with each `step`-th metric."""
    metrics = trials.metrics[::step]
    return Trials.from_arrays(
        trials.ratios(), trials.values(metrics), domains=trials.domains,
        metrics={metric.name: metric.better for metric in metrics},
    )  # fmt: skip


def measure(trials: Trials, n: int, seed: int) -> tuple[float, float]:
    """Return the shares of the other runs' utilities inside 80% and 95%."""
    order = np.random.default_rng(seed).permutation(len(trials))
    surrogate = fit(trials[order[:n]], target="average", seed=seed)
    rest = trials[order[n:]]
    mean, std = surrogate.predict_utility(rest.ratios())
    miss = np.abs(mean - surrogate.observed_utilities(rest))
    critical = surrogate.utility_critical_values
    half80 = Z95 * critical.half80[0] / critical.half95[0]
    return float((miss <= half80 * std).mean()), float((miss <= Z95 * std).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=Path("../shared/tables"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", help="a utility, such as 'olmix, mean of 3'; all if left out")
    args = parser.parse_args()
    close = np.zeros(2, dtype=int)
    cells = 0
    for table, utility, trials in open_tables(args.tables):
        if args.only not in (None, f"{table}, {utility}"):
            continue
        for n in SIZES[table]:
            found = np.array(Parallel(args.jobs)(
                delayed(measure)(trials, n, seed) for seed in range(args.seeds)
            ))  # fmt: skip
            share, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
            close += np.abs(share - [0.8, 0.95]) <= CLOSE
            cells += 1
            print(f"{table}, {utility}, {n} runs: {share[0]:.3f} ± {error[0]:.3f} inside 80%, "
                  f"{share[1]:.3f} ± {error[1]:.3f} inside 95%", flush=True)  # fmt: skip
    print(f"within {CLOSE:.0%}: {close[0]} and {close[1]} of {cells} cells")


if __name__ == "__main__":
    main()
