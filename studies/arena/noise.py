"""The noise of a paired difference beside that of natural's seeds, on the development worlds.

    python studies/arena/noise.py A B C

A study trains natural with two seeds before it buys a run, and other mixtures with one. Mixtures that
`optimum.py` trained with two seeds tell how much the gain over natural with the same seed differs by
the seed; natural's seeds tell how much a score does. Prints the ratio of the variances by world: 2 if
two runs with one seed had nothing in common. Then it prints how well the gain model predicts four
units from runs of one unit (as `growth.py` does), with the noise that is usual, with that of two
seeds of natural, and with that of all seeds of the pool.
"""

import argparse

import numpy as np
import pandas as pd
from compare import run_name
from growth import ONE, score
from optimum import FOLDER as OPTIMUM
from pooled import POOL, TARGET, Pooled
from worlds import LENGTHS, WORLDS, World

from mixopt.pipeline.seed_noise import USUAL_NOISE, measure_noise
from mixopt.surrogates.gain_model import GainPrior


def measure_variances(world: World) -> pd.DataFrame:
    """Return the variance of natural's score and of a paired gain by benchmark, in (bits per byte)²."""
    trained = pd.read_csv(OPTIMUM / f"{world.name}.csv").set_index(["run", "seed"])
    natural = run_name(world, world.natural)
    pool = pd.read_csv(POOL / world.name / "runs.csv")
    own = pool[(pool["run"] == "natural") & (pool["tokens"] == TARGET)]
    same = own[[f"{name}.item" for name in trained.columns]].to_numpy()
    scores = np.vstack([same, trained.loc[natural].to_numpy()])
    gains = trained.loc[natural] - trained
    repeated = [each for run, each in gains.groupby("run") if run != natural and len(each) > 1]
    paired = np.mean([each.var(ddof=1).to_numpy() for each in repeated], axis=0)
    columns = {"natural": scores.var(axis=0, ddof=1), "paired": paired}
    return pd.DataFrame(columns, index=trained.columns).assign(
        seeds=len(scores), mixtures=len(repeated)
    )


def compare_noises(world: World) -> pd.DataFrame:
    """Return the scores of the gain model's predictions by noise and number of runs."""
    pool, tables = Pooled(world), []
    natural = pool.frame[pool.metrics].loc["natural"].xs(ONE, level="tokens")
    difference = (natural.loc[1] - natural.loc[0]).to_numpy() / pool.spreads
    noises = {
        "usual": measure_noise(None, np.full(len(difference), np.nan), USUAL_NOISE),
        "two seeds of natural": measure_noise(None, difference, USUAL_NOISE),
        "all seeds": pool.noise_sd,
    }
    for name, noise in noises.items():
        table = score(pool, [GainPrior()], LENGTHS[2], noise)
        rms = float(np.sqrt(np.square(noise).mean()))
        tables.append(table.assign(noise=name, noise_rms=rms))
    return pd.concat(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", choices=["A", "B", "C"])
    worlds = [WORLDS[name] for name in parser.parse_args().worlds]
    for world in worlds:
        found = measure_variances(world)
        ratio = found["paired"] / found["natural"]
        logs = np.log(found[["paired", "natural"]])
        print(
            f"{world.name}: {found.seeds.iloc[0]} seeds of natural, {found.mixtures.iloc[0]} mixtures; "
            f"paired / natural: mean {found['paired'].mean() / found['natural'].mean():.2f}, "
            f"median {ratio.median():.2f}, correlation of logarithms over benchmarks "
            f"{logs.corr().iloc[0, 1]:.2f}"
        )
    table = pd.concat([compare_noises(world) for world in worlds])
    columns = ["noise_rms", "score", "rms_z", "inside_80", "inside_95"]
    print(
        table.groupby(["noise", "world", "runs"], sort=False)[columns].mean().round(2).to_string()
    )
    print(table[table.runs > 0].groupby("noise", sort=False)[columns].mean().round(3).to_string())


if __name__ == "__main__":
    main()
