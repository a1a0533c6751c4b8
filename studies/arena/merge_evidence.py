"""Tell what merges know of real gains beyond ensembles of the same experts.

    python studies/arena/merge_evidence.py WORLD [--tokens 115200]

Needs pool/WORLD/merges.csv of `merges.py`. Pure mixtures are left out: there a merge is the run itself.
Prints, for each response exponent: ranks with the truth, the correlation of what merges and real gains
have beyond the scaled ensemble, and by how much merges lower the squared error of left-out mixtures.
"""

import argparse

import numpy as np
from pooled import Pooled
from scipy.stats import spearmanr
from worlds import LENGTHS, WORLDS

RESPONSES = (0.7, 1.0)


def left_out_error(features: np.ndarray, truth: np.ndarray) -> float:
    """Return the squared error of each mixture's gain by least squares on the others (`n x f`)."""
    total = 0.0
    for place in range(len(truth)):
        others = np.arange(len(truth)) != place
        weights = np.linalg.lstsq(features[others], truth[others], rcond=None)[0]
        total += float(truth[place] - features[place] @ weights) ** 2
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--tokens", type=int, default=LENGTHS[2])
    args = parser.parse_args()
    pool = Pooled(WORLDS[args.world])
    kept = [i for i, name in enumerate(pool.names) if i and not name.startswith("pure-")]
    truth = (pool.truth() - pool.truth()[0])[kept]
    ensembles = pool.ensemble_gains(args.tokens, 0.6)[kept]
    print(f"{len(kept)} mixtures, {truth.shape[1]} benchmarks")
    for response in RESPONSES:
        merges = pool.merge_gains(args.tokens, response)[kept]
        found = []
        for real, ensemble, merge in zip(truth.T, ensembles.T, merges.T, strict=True):
            both = np.stack([ensemble, merge], axis=1)
            beyond = [y - ensemble * (ensemble @ y) / (ensemble @ ensemble) for y in (real, merge)]
            found.append([
                spearmanr(ensemble, real)[0], spearmanr(merge, real)[0], np.corrcoef(*beyond)[0, 1],
                left_out_error(both, real) / left_out_error(ensemble[:, None], real),
            ])  # fmt: skip
        ranks, merged, alike, error = np.array(found).T
        print(f"γ {response}: rank of ensembles {ranks.mean():.3f}, of merges {merged.mean():.3f}; "
              f"correlation beyond the ensemble {alike.mean():+.2f} ± {alike.std():.2f}; squared error "
              f"with merges ÷ without: median {np.median(error):.2f}, below 1 in {(error < 1).sum()} "
              f"of {len(error)}")  # fmt: skip


if __name__ == "__main__":
    main()
