"""Replay methods on the pools: what each recommends within a budget, and what that really gains.

    python studies/arena/replay.py A B C [--repeats 10] [--budgets 4 8 16 32] [--csv FILE]

A method may only buy runs of the pool. Its recommendation is scored by the mean gain at four units over
the seeds of the pool. Prints, by method and budget, means over worlds, utilities and repeats: gain over
natural, regret against the best mixture of the pool, share of "move", and z of what it said. `goals.py`
reads the CSV.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd
from methods import (
    CONFIRMED,
    SHIPPED,
    Method,
    best_observed,
    ensemble,
    heuristic,
    merges,
    posterior,
    stay,
    surrogate,
    uniform,
)
from pooled import POOL, Pooled
from worlds import LENGTHS, WORLDS, Utility

from mixopt.surrogates.gain_model import GainPrior

FREE: dict[str, Method] = {"natural": stay, "uniform": uniform, "person's heuristic": heuristic}
BUDGETS = (8, 16, 32)


def methods(prior: GainPrior) -> dict[str, Method]:
    return {
        "best of random runs": best_observed,
        "LightGBM on runs, as RegMix": surrogate("trees"),
        "surrogate on runs alone": surrogate("auto"),
        "posterior, experts 1/8": posterior(prior, LENGTHS[0]),
        "posterior, experts 1/2": posterior(prior, LENGTHS[2]),
        "posterior, rule as shipped": posterior(prior, LENGTHS[2], rule=SHIPPED),
        "posterior, as shipped with confirmation": posterior(prior, LENGTHS[2], rule=CONFIRMED),
    }


def replay(
    pool: Pooled, utility: Utility, repeats: int, only: str | None, budgets: Sequence[int] = BUDGETS
) -> list[dict]:
    """Return a row for each recommendation of each method."""
    values = pool.value(utility, pool.truth())
    values = values - values[0]
    rng, advised = np.random.default_rng(0), []
    for name, method in FREE.items():
        advised.append((name, 0, method(pool, utility, 0, rng)))
    for tokens in (LENGTHS[0], LENGTHS[2]):
        name = f"ensemble, experts of {tokens // 1536} steps"
        advised.append((name, 0, ensemble(tokens)(pool, utility, 0, rng)))
    if (POOL / pool.world.name / "merges.csv").exists():
        for gamma, label in ((1.0, "as MergeMix"), (0.7, "λ^0.7")):
            advice = merges(LENGTHS[2], gamma)(pool, utility, 0, rng)
            advised.append((f"merges of 75 steps, {label}", 0, advice))
    for name, method in methods(GainPrior()).items():
        if only is None or only in name:
            # the posterior draws no run at random; others draw those of a smaller budget first
            for repeat in range(1 if name.startswith("posterior") else repeats):
                advised += [
                    (name, budget, method(pool, utility, budget, np.random.default_rng(repeat)))
                    for budget in budgets
                ]
    rows = []
    for name, budget, advice in advised:
        gain = values[pool.names.index(advice.name)]
        rows.append({
            "world": pool.world.name, "utility": utility.name, "method": name, "budget": budget,
            "gain": gain, "regret": values.max() - gain, "move": advice.name != "natural",
            "mean": advice.mean, "spent": advice.spent, "best": values.max(),
            # the truth is a mean over few seeds and has an error of its own
            "said_sd": advice.sd, "error": pool.error(utility, advice.name),
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--part", default="item")
    parser.add_argument("--only")
    parser.add_argument("--csv")
    args = parser.parse_args()
    rows = []
    for world in args.worlds:
        pool = Pooled(WORLDS[world], args.part)
        for utility in pool.world.utilities():
            rows += replay(pool, utility, args.repeats, args.only, args.budgets)
    frame = pd.DataFrame(rows)
    if args.csv:
        frame.to_csv(args.csv, index=False)
    frame["z"] = (frame["mean"] - frame["gain"]) / np.hypot(frame["said_sd"], frame["error"])
    table = frame.groupby(["method", "budget"], sort=False).agg(
        gain=("gain", "mean"), regret=("regret", "mean"), worst=("gain", "min"), move=("move", "mean"),
        rms_z=("z", lambda z: np.sqrt(np.square(z).mean())), mean_z=("z", "mean"),
        spent=("spent", "mean"),
    )  # fmt: skip
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
