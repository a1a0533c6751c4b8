"""Regret of proposals on tables whose truth is known: sparse ones, a rare domain, a weak signal.

    python studies/known-truth/truth.py --out OUT --seeds 6

A table (`tests/helpers/known_tables.py`) is fitted and proposed from. The proposal and natural are then
scored by the formula, without noise. Regret is natural's utility minus the proposal's. Its standard
error is that of three paired real runs of both mixtures.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

import numpy as np
from known_tables import KnownTable, rare, sparse, weak

from mixopt import fit, propose

KINDS: dict[str, Callable[[int], KnownTable]] = {
    "sparse, 24 domains, 48 runs": lambda seed: sparse(24, 48, 0.2, seed),
    "sparse, 64 domains, 96 runs": lambda seed: sparse(64, 96, 0.2, seed, m=1),
    "rare domain, 32 runs": lambda seed: rare(32, 0.3, seed),
    "weak, noise 5, 24 runs": lambda seed: weak(24, 5.0, seed),
    "weak, noise 2, 48 runs": lambda seed: weak(48, 2.0, seed),
}


def one(make: Callable[[int], KnownTable], seed: int) -> dict[str, float | bool]:
    """Fit one table, and return the regret of its proposal."""
    known = make(seed)
    best = propose(fit(known.trials, seed=seed), known.space, seed=seed)[0]
    assert best.decision is not None
    regret = -known.gain(best.ratios)
    return {
        "seed": seed, "regret": regret, "std_error": known.std_error, "moves": best.decision.moves,
        "harmed": regret > 2 * known.std_error, "told": best.decision.gain.mean,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("mixopt-runs/known-truth"))
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for kind, make in KINDS.items():
        rows = [one(make, 100 + seed) for seed in range(args.seeds)]
        regrets = np.array([row["regret"] for row in rows])
        error = regrets.std(ddof=1) / np.sqrt(len(regrets))
        moved, harmed = (sum(bool(row[key]) for row in rows) for key in ("moves", "harmed"))
        print(f"{kind}: regret {regrets.mean():+.3f} ± {error:.3f} (largest {regrets.max():+.3f}); "
              f"moved {moved}, above two errors {harmed} of {len(rows)}", flush=True)  # fmt: skip
        (args.out / f"{kind}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
