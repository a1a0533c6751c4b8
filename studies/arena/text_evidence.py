"""Tell what the distance of texts knows of real gains: alone, beside ensembles, and as a prior mean.

    python studies/arena/text_evidence.py measure WORLD --out OUT
    python studies/arena/text_evidence.py score WORLD [WORLD ...] [--runs 4 8 16] [--repeats 3]

`measure` samples the texts, trains nothing, and writes pool/WORLD/text.csv: the transport distance of
each mixture's text from each benchmark's. `score` prints ranks with real gains at four units, what
distances have beyond ensembles, and the regret of surrogates that are fitted to few runs of one unit,
with and without them as `search.text_prior` uses them.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from merge_evidence import left_out_error
from pooled import POOL, Pooled
from scipy.stats import spearmanr
from worlds import LENGTHS, WORLDS, World, write_study

from mixopt import Metric, Trials, fit
from mixopt.baselines.transport import Transport
from mixopt.pipeline.text_prior import MOST_TARGET, PER_BENCHMARK, list_mixtures
from mixopt.pipeline.text_samples import collect_samples, equal_weights
from mixopt.study import Study

ONE = LENGTHS[3]


def measure(world: World, out: Path) -> pd.DataFrame:
    """Return the distances of the pool's mixtures and of a design, by mixture and benchmark."""
    study = Study.load(write_study(world, out / world.name), out / world.name / "results",
                       cache=out / "cache", device="cpu")  # fmt: skip
    context = study.context
    context.corpora.build()
    weights = equal_weights(context)
    most = min(MOST_TARGET, PER_BENCHMARK * len(weights))
    samples = collect_samples(context, weights, most, name="evidence")
    pool = Pooled(world)
    design = list_mixtures(pool.natural, world.seed)
    names = [*pool.names, *(f"design-{number:02d}" for number in range(len(design)))]
    ratios = np.vstack([pool.ratios, design])
    table = pd.DataFrame(ratios, columns=[f"ratio/{name}" for name in world.domains])
    table.insert(0, "mixture", names)
    return table.assign(**Transport(samples).by_benchmark(ratios))


def evidence(pool: Pooled, text: np.ndarray) -> str:
    """Return ranks with real gains, and what distances have beyond ensembles, over benchmarks."""
    kept = [i for i, name in enumerate(pool.names) if i and not name.startswith("pure-")]
    truth = (pool.truth() - pool.truth()[0])[kept]
    ensembles = pool.ensemble_gains(LENGTHS[2], 0.6)[kept]
    found = []
    for real, ensemble, near in zip(truth.T, ensembles.T, -(text - text[0])[kept].T, strict=True):
        both = np.stack([ensemble, near], axis=1)
        beyond = [y - ensemble * (ensemble @ y) / (ensemble @ ensemble) for y in (real, near)]
        found.append([
            spearmanr(ensemble, real)[0], spearmanr(near, real)[0], np.corrcoef(*beyond)[0, 1],
            left_out_error(both, real) / left_out_error(ensemble[:, None], real),
        ])  # fmt: skip
    ranks, near, alike, error = np.array(found).T
    return (
        f"{len(kept)} mixtures, {len(found)} benchmarks: rank of ensembles {ranks.mean():.3f}, of texts "
        f"{near.mean():.3f} ({near.min():.2f} to {near.max():.2f}); correlation beyond the ensemble "
        f"{alike.mean():+.2f} ± {alike.std():.2f}; squared error with texts ÷ without: median "
        f"{np.median(error):.2f}, below 1 in {(error < 1).sum()} of {len(error)}"
    )


def fits(pool: Pooled, table: pd.DataFrame, n: int, repeat: int) -> list[dict]:
    """Return rank and regret of surrogates of `n` random runs, with and without the prior mean."""
    domains, m = pool.world.domains, len(pool.metrics)
    metrics = [Metric(f"u{column}", "lower") for column in range(m)]
    ratios = table[[f"ratio/{name}" for name in domains]].to_numpy()
    ratios = ratios / ratios.sum(axis=1, keepdims=True)  # the table has five digits
    text = table.iloc[:, 1 + len(domains) :].to_numpy()
    design = table.mixture.str.startswith("design-").to_numpy()
    prior = Trials.from_arrays(ratios[design], text[design], domains=domains, metrics=metrics)
    rng = np.random.default_rng(repeat)
    bought = ["natural", *rng.permutation(pool.names[1:])[: n - 1].tolist()]
    runs = Trials.from_arrays(
        np.stack([pool.world.compositions[name] for name in bought]),
        -np.stack([pool.gains[name, 0, ONE] for name in bought]), domains=domains, metrics=metrics,
    )  # fmt: skip
    truth = pool.truth() - pool.truth()[0]
    predicted = {"text alone": text[: len(pool.names)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if n >= 6:
            predicted["runs"] = fit(runs, target="average", seed=0).predict(pool.ratios)[0]
        both = fit(runs, target="average", prior_mean=prior, seed=0)
        predicted["runs and text"] = both.predict(pool.ratios)[0]
    rows = []
    for name, losses in predicted.items():
        gains = -(losses - losses[0])
        if name == "text alone":  # distances have no unit of their own
            gains = gains / gains.std(axis=0)
        regrets = []
        for utility in pool.world.utilities():
            values = pool.value(utility, truth)
            regrets.append(values.max() - values[int(pool.value(utility, gains).argmax())])
        ranks = [spearmanr(a, b)[0] for a, b in zip(gains.T, truth.T, strict=True)]
        rows.append({"world": pool.world.name, "runs": n, "fit": name, "rank": np.mean(ranks),
                     "regret": np.mean(regrets)})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["measure", "score"])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.verb == "measure" and args.out is None:
        parser.error("--out: name the folder of the pools")
    rows = []
    for name in args.worlds:
        path = POOL / name / "text.csv"
        if args.verb == "measure":
            measure(WORLDS[name], args.out).to_csv(path, index=False, float_format="%.5f")
            continue
        pool, table = Pooled(WORLDS[name]), pd.read_csv(path)
        text = table.iloc[:, 1 + len(pool.world.domains) :].to_numpy()
        print(f"world {name}: {evidence(pool, text[: len(pool.names)])}", flush=True)
        for n in args.runs:
            for repeat in range(args.repeats):
                rows += fits(pool, table, n, repeat)
    if rows:
        means = pd.DataFrame(rows).groupby(["world", "runs", "fit"])[["rank", "regret"]].mean()
        print(means.round(3).to_string())


if __name__ == "__main__":
    main()
