"""How natural's slope changes beyond its longest run, and whether equivalent tokens hold.

    python studies/arena/equivalent.py A

Natural's own runs are cut at a length; what they tell of longer ones is compared with the rest of them.
Every mixture's real gain at the cut is told as tokens of natural, and compared with natural's own curve
through all its lengths.
"""

import argparse

import numpy as np
from pooled import Pooled
from worlds import LENGTHS, UNIT, WORLDS

from mixopt.optimization.equivalent_tokens import (
    DRIFT_SD,
    NaturalCurve,
    find_equivalent_tokens,
)


def curves(pool: Pooled, rows: np.ndarray) -> np.ndarray:
    """Return natural's utility by seed, length and combination (`s x l x c`)."""
    table = pool.frame[pool.metrics].loc["natural"]
    scores = np.stack([table.loc[seed].to_numpy() for seed in pool.seeds("natural")])
    return -scores / pool.spreads @ rows.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", choices=WORLDS)
    pool = Pooled(WORLDS[parser.parse_args().world])
    lengths, rng = np.array(LENGTHS, float), np.random.default_rng(0)
    logs = np.log(lengths)
    for cut in (3, 4):
        last = cut + 1
        changes, inside, said, total, errors = [], 0, 0, 0, []
        for utility in pool.world.utilities():
            rows = pool.combinations(utility)
            natural = curves(pool, rows)
            mean = natural.mean(axis=0)
            early = np.polyfit(logs[cut - 2 : last], mean[cut - 2 : last], 1)[0]
            late = np.polyfit(logs[cut:], mean[cut:], 1)[0]
            middle = (logs[cut:].mean() - logs[cut - 2 : last].mean()) / np.log(2)
            if early.min() > 0 and late.min() > 0:
                changes.append(float(np.median(np.log2(late / early) / middle)))
            noise = np.sqrt(np.square(rows * pool.noise_sd).sum(axis=1))
            for seed in range(len(natural)):
                others = [s for s in range(len(natural)) if s != seed]
                curve = NaturalCurve.measure(
                    [lengths[:last]] * len(others), [natural[s, :last] for s in others], noise
                )
                for name in pool.names[1:]:
                    if seed not in pool.seeds(name):
                        continue
                    gain = pool.gains[name, seed, LENGTHS[cut]] @ rows.T
                    draws = gain + noise * rng.standard_normal((4096, len(rows)))
                    found = find_equivalent_tokens(curve, draws, lengths[cut], rng)
                    total += 1
                    # natural's own curve: where the worst combination reaches the gain
                    grown = (mean - mean[cut]).min(axis=1)
                    if isinstance(found, str):
                        continue
                    said += 1
                    truth = np.exp(
                        np.interp(
                            gain.min(),
                            np.maximum.accumulate(grown),
                            logs,
                            left=-np.inf,
                            right=np.inf,
                        )
                    )
                    if not np.isfinite(truth) or truth == 0:
                        # beyond natural's longest run, or before its first length
                        end = lengths[-1] if truth else lengths[0]
                        inside += found.high >= end if truth else found.low <= end
                        continue
                    inside += found.low <= truth <= found.high
                    errors.append(np.log(found.median / truth))
        print(
            f"natural cut at {lengths[cut] / UNIT:g} units: slope changes by 2^{np.mean(changes):+.2f} "
            f"a doubling (sd over utilities {np.std(changes):.2f}; prior sd {DRIFT_SD})\n"
            f"  said of {said} of {total} mixtures and utilities; {inside / max(said, 1):.0%} inside "
            f"95%; median error of ln tokens {np.median(errors):+.2f}, "
            f"rms {np.sqrt(np.mean(np.square(errors))):.2f} over {len(errors)}"
        )


if __name__ == "__main__":
    main()
