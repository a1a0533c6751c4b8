"""Compare replays with the goals of the arena.

    python studies/arena/replay.py D E F G H --budgets 4 8 16 32 --csv FILE
    python studies/arena/goals.py FILE [FILE ...] [--method "posterior, experts 1/2"] [--live D E F G H]

Prints, of one method: its area under regret against the best baseline's, recommendations that lose, how
often it moves where there is something to gain, whether intervals and chances hold, and the units of
training that baselines need for the same regret. Intervals are over worlds: these are drawn with
replacement, then the utilities of each. Without replays of the baselines what compares is left out.
`--live` adds what mixopt said in the live test of some worlds to intervals and chances.
"""

import argparse
from collections.abc import Callable

import live
import numpy as np
import pandas as pd
from scipy.stats import norm
from worlds import WORLDS

BASELINES = ("surrogate on runs alone", "LightGBM on runs, as RegMix", "best of random runs")
AREA = (8, 16, 32)
"""Budgets of the area under regret."""
TO_GAIN = 0.3
"""Spreads by which a pool holds something better."""
LOSS = 0.1
CHANCES = (0.8, 0.9, 0.95, 0.99, 1.0)
DRAWS = 2000


def interval(frame: pd.DataFrame, measure: Callable[[pd.DataFrame], float]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of a measure over worlds and their utilities."""
    rng, worlds = np.random.default_rng(0), frame.world.unique()
    groups = dict(list(frame.groupby(["world", "utility"])))
    utilities = {w: sorted(u for v, u in groups if v == w) for w in worlds}
    found = []
    for _ in range(DRAWS):
        drawn = [
            groups[world, utility]
            for world in rng.choice(worlds, len(worlds))
            for utility in rng.choice(utilities[world], len(utilities[world]))
        ]
        found.append(measure(pd.concat(drawn)))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def tell(what: str, frame: pd.DataFrame, measure: Callable[[pd.DataFrame], float]) -> None:
    low, high = interval(frame, measure)
    print(f"{what}: {measure(frame):.2f} [{low:.2f}, {high:.2f}]")


def tell_area(frame: pd.DataFrame, method: str) -> None:
    """Print the area under regret, and its ratio to that of the best baseline over all problems."""
    chosen = frame[frame.budget.isin(AREA)]
    areas = chosen.groupby(["world", "utility", "method"]).regret.mean().unstack("method")
    means = areas[[method, *BASELINES]].mean()
    best = means[list(BASELINES)].idxmin()
    print(means.round(3).to_string())
    paired = areas[[method, best]].reset_index()
    tell(f"area under regret, ratio to {best}", paired,
         lambda rows: rows[method].mean() / max(rows[best].mean(), 1e-9))  # fmt: skip


def tell_losses(own: pd.DataFrame) -> None:
    """Print recommendations that lose, tested at Holm's 95% against a loss of `LOSS`, and moves."""
    moved = own[own.move]
    p = norm.cdf((moved.gain + LOSS) / moved.error.clip(lower=1e-9))
    # Holm's procedure: each p in order against its share of 5%, up to the first that is above
    below = np.sort(p) <= 0.05 / np.arange(len(p), 0, -1)
    sure = len(p) if below.all() else int(below.argmin())
    lost = moved[moved.gain < -LOSS]
    print(f"recommendations: {len(own)}, of them {len(moved)} move; {len(lost)} lose more than "
          f"{LOSS:g} spreads, {sure} of them at Holm 95%")  # fmt: skip
    for row in lost.itertuples():
        print(
            f"  {row.world} {row.utility}, budget {row.budget}: {row.gain:+.2f} ± {row.error:.2f}"
        )
    there = own[own.best > TO_GAIN]
    tell(f"moves where the pool holds one better by {TO_GAIN:g} ({len(there)})", there,
         lambda rows: rows.move.mean())  # fmt: skip


def tell_calibration(own: pd.DataFrame) -> None:
    """Print z, and what intervals and chances hold, of recommendations that move."""
    moved = own[own.move & own["mean"].notna()].copy()
    moved["z"] = (moved["mean"] - moved.gain) / np.hypot(moved.said_sd, moved.error)
    tell("root mean square of z", moved, lambda rows: float(np.sqrt(np.square(rows.z).mean())))
    for share in (0.8, 0.95):
        limit = norm.ppf((1 + share) / 2)
        tell(f"inside {share:.0%}", moved, lambda rows, limit=limit: (rows.z.abs() < limit).mean())
    moved["chance"] = norm.cdf(moved["mean"] / moved.said_sd)
    for low, high in zip(CHANCES[:-1], CHANCES[1:], strict=True):
        rows = moved[(moved.chance >= low) & (moved.chance < high)]
        if len(rows):
            print(f"said {low:.0%} to {high:.0%} likely to be better: {len(rows)}, "
                  f"true {(rows.gain > 0).mean():.0%}")  # fmt: skip


def tell_tokens(frame: pd.DataFrame, method: str) -> None:
    """Print regret by units spent, and the units that baselines need for the regret of `method`."""
    curves = frame.groupby(["method", "budget"])[["spent", "regret"]].mean()
    for spent, regret in curves.loc[method].itertuples(index=False):
        needed = []
        for name in BASELINES:
            curve = curves.loc[name].sort_values("spent")
            best = np.minimum.accumulate(curve.regret.to_numpy())
            enough = np.flatnonzero(best <= regret)
            if not len(enough):
                needed.append(f"{name} more than {curve.spent.max():.1f}")
            elif not enough[0]:
                needed.append(f"{name} at most {curve.spent.min():.1f}")
            else:
                pair = slice(enough[0] - 1, enough[0] + 1)
                # regret falls along the line between two budgets
                units = np.interp(-regret, -best[pair], curve.spent.to_numpy()[pair])
                needed.append(f"{name} {units:.1f}")
        print(f"regret {regret:.2f} with {spent:.1f} units: {', '.join(needed)}")


def live_rows(worlds: list[str]) -> pd.DataFrame:
    """Return what mixopt said of its recommendations in a live test, and what they really gained."""
    frame = live.score([WORLDS[name] for name in worlds])
    own = frame[frame.method == "mixopt"].groupby(["world", "utility"]).agg(
        gain=("own_gain", "mean"), error=("own_gain", "sem"), mean=("said", "first"),
        said_sd=("said_sd", "first"), move=("moves", "first"),
    )  # fmt: skip
    return own.reset_index().astype({"move": bool})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--method", default="posterior, experts 1/2")
    parser.add_argument("--live", nargs="+", default=[], choices=WORLDS, metavar="WORLD")
    args = parser.parse_args()
    frame = pd.concat([pd.read_csv(file) for file in args.files])
    frame["move"] = frame.move.astype(bool)
    own = frame[frame.method == args.method]
    compared = set(BASELINES) <= set(frame.method)
    if compared:
        tell_area(frame, args.method)
    tell_losses(own)
    tell_calibration(own)
    if args.live:
        print(f"with the live test of {' '.join(args.live)}:")
        tell_calibration(pd.concat([own, live_rows(args.live)]))
    if compared:
        tell_tokens(frame, args.method)


if __name__ == "__main__":
    main()
