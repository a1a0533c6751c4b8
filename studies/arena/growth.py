"""Choose how gains grow with the tokens, by what a few short runs predict of long ones.

    python studies/arena/growth.py A B [--tokens 115200]

A study buys runs of one unit and states gains at four. For each scale and growth of the prior, runs of
one unit of random mixtures are given to the gain model, and its predictions at four units are compared
with what the pool's mixtures, the pure ones left out, really gained. Prints the mean log score over
worlds by number of runs, best first, and of the best, and of those that `--only` names, what was said
and what is real.
"""

import argparse
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from methods import gain_model, observe
from pooled import TARGET, Pooled
from scipy.stats import norm
from worlds import LENGTHS, WORLDS

from mixopt.surrogates.gain_model import GainPrior, Mixtures

SCALES = (0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
GROWTHS = (0.15, 0.2, 0.25, 0.3, 0.4)
GROWTH_SDS = (0.05, 0.1)
RUNS = (0, 2, 4, 8)
REPEATS = 3
ONE = LENGTHS[3]
SAID = 0.3
"""Gains that are said to be larger than this are compared with the real ones."""


def score(
    pool: Pooled, priors: list[GainPrior], tokens: int, noise_sd: np.ndarray | None = None
) -> pd.DataFrame:
    """Return a row for each prior and number of runs, means over utilities, mixtures and repeats.

    Args:
        pool: The world's runs.
        priors: To compare.
        tokens: Of the experts.
        noise_sd: Of a paired difference by benchmark (`m`); that of the pool's seeds if left out.
    """
    gains = pool.ensemble_gains(tokens, 0.6)
    names = [name for name in pool.names[1:] if not name.startswith("pure")]
    places = [pool.names.index(name) for name in names]
    utilities = [utility for utility in pool.world.utilities() if not utility.worst]
    combinations = np.stack([pool.combinations(utility)[0] for utility in utilities])
    truth = pool.truth()[places] @ combinations.T
    errors = np.array([[pool.error(u, name) for u in utilities] for name in names])
    asked = Mixtures(pool.ratios[places], np.full(len(names), float(TARGET)), gains[places])
    model, rows = gain_model(pool, GainPrior(), tokens), []
    model = model if noise_sd is None else replace(model, noise_sd=noise_sd)
    for prior, count in product(priors, RUNS):
        for repeat in range(REPEATS if count else 1):
            drawn = np.random.default_rng([repeat, count]).permutation(names)[:count]
            runs = observe(pool, [(name, 0, ONE) for name in drawn], gains) if count else None
            known = replace(model, prior=prior).condition(runs)
            mean, covariance = known.gains(asked, combinations)
            sd = np.sqrt(np.einsum("iaia->ia", covariance) + errors**2)
            z, large = (mean - truth) / sd, mean > SAID
            rows.append({
                "world": pool.world.name, "scale": prior.scale, "growth": prior.growth,
                "growth_sd": prior.growth_sd, "runs": count,
                "score": norm.logpdf(truth, mean, sd).mean(), "said": mean[large].mean(),
                "real": truth[large].mean(), "rms_z": np.sqrt(np.square(z).mean()),
                "inside_80": (np.abs(z) < norm.ppf(0.9)).mean(),
                "inside_95": (np.abs(z) < norm.ppf(0.975)).mean(),
            })  # fmt: skip
    numbers = ["world", "scale", "growth", "growth_sd", "runs"]
    return pd.DataFrame(rows).groupby(numbers).mean().reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--tokens", type=int, default=LENGTHS[2])
    parser.add_argument("--only", nargs=3, type=float, action="append", metavar="NUMBER",
                        help="scale, growth and its standard deviation, instead of all")  # fmt: skip
    args = parser.parse_args()
    triples = args.only or list(product(SCALES, GROWTHS, GROWTH_SDS))
    priors = [GainPrior(scale=a, growth=b, growth_sd=c) for a, b, c in triples]
    frame = pd.concat([score(Pooled(WORLDS[name]), priors, args.tokens) for name in args.worlds])
    numbers = ["scale", "growth", "growth_sd"]
    table = frame.groupby([*numbers, "runs"]).score.mean().unstack("runs")
    table["mean"] = table.mean(axis=1)
    table = table.sort_values("mean", ascending=False)
    print(table.head(12).round(3).to_string())
    shown = [table.index[0], *(tuple(t) for t in args.only or [])]
    for triple in dict.fromkeys(shown):
        own = frame[(frame[numbers] == list(triple)).all(axis=1)]
        print(own.set_index([*numbers, "world", "runs"]).round(2).to_string())


if __name__ == "__main__":
    main()
