"""All surrogates, and the laws of others, on the two shared tables of runs, from 16 to 256 runs.

    python studies/arena/tables.py fit --out OUT [--tables regmix olmix] [--models olmix_law] [--seeds 4]
    python studies/arena/tables.py show --out OUT

`fit` fits each model to random subsets and tests on other runs: RegMix's 256 mixtures at 60M, what is
left of Olmix' 127. It writes OUT/tables.csv after each fit, and goes on after a kill. `show` prints mean
rank correlation over metrics, and regret: what the mixture that is ranked first by the mean of the
metrics misses of the best, in standard deviations over the test runs.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "regmix")]

import numpy as np
import pandas as pd
from measuring import ranks
from regmix import Tables
from sklearn.linear_model import BayesianRidge

from mixopt import Metric, Trials, fit, read_trials
from mixopt.baselines.d_optimal import features
from mixopt.baselines.log_linear_law import fit_log_linear_law
from mixopt.errors import TrialsError
from mixopt.surrogates.registry import SURROGATES

SHARED = Path(__file__).resolve().parents[3] / "shared" / "tables"
SIZES = (16, 32, 64, 128, 256)
LAWS = ("olmix_law", "d_optimal_linear", "every_model")
"""Olmix's own fit of the log-linear law; the linear model of Marin's design; every surrogate stacked."""
MODELS = ("auto", *SURROGATES, *LAWS)
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def split_regmix(n: int, seed: int) -> Split:
    """Return ratios and losses of `n` runs at 1M, and of the test at 60M."""
    tables = Tables(SHARED / "regmix")
    rows = np.random.default_rng(seed).permutation(len(tables.ratios))[:n]
    return (tables.ratios[rows], tables.losses[rows], *tables.test("60m"))


def split_olmix(n: int, seed: int) -> Split:
    """Return ratios and losses of `n` runs, and of the others."""
    folder = SHARED / "olmix-dclm"
    trials = read_trials(
        ratios=folder / "ratios.csv", metrics=folder / "metrics.csv", better="lower"
    )
    ratios, values = trials.ratios(), trials.values(trials.metrics)
    order = np.random.default_rng(seed).permutation(len(ratios))
    own, rest = order[:n], order[n:]
    return ratios[own], values[own], ratios[rest], values[rest]


TABLES = {"regmix": split_regmix, "olmix": split_olmix}
LARGEST = {"regmix": 256, "olmix": 96}


def predict(model: str, split: Split, seed: int, restarts: int) -> np.ndarray | None:
    """Return the losses of the test (`q x m`); None where the model needs more runs or fewer domains."""
    ratios, losses, asked, _ = split
    n, d = ratios.shape
    if model == "d_optimal_linear":
        return _bayesian_linear(ratios, losses, asked)
    if model == "olmix_law":
        try:
            law = fit_log_linear_law(
                ratios, losses, [None] * losses.shape[1], np.random.default_rng(seed),
                restarts=restarts,
            )  # fmt: skip
        except TrialsError:
            return None
        return law.losses(asked)
    names: str | list[str] = model
    if model == "every_model":
        names = [name for name in SURROGATES if _fits(name, n, d)]
    elif model != "auto" and not _fits(model, n, d):
        return None
    metrics = [Metric(f"u{column}", "lower") for column in range(losses.shape[1])]
    domains = [f"d{place}" for place in range(d)]
    trials = Trials.from_arrays(
        ratios / ratios.sum(axis=1, keepdims=True), losses, domains=domains, metrics=metrics
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(trials, target="average", surrogates=names, seed=seed).predict(asked)[0]


def _fits(name: str, n: int, d: int) -> bool:
    spec = SURROGATES[name]
    return n >= spec.min_trials(d) and d <= spec.max_domains


def _bayesian_linear(ratios: np.ndarray, losses: np.ndarray, asked: np.ndarray) -> np.ndarray:
    one = np.ones(ratios.shape[1])  # tables do not tell epochs
    terms, others = features(ratios, one), features(asked, one)
    mean, spread = terms.mean(axis=0), terms.std(axis=0)
    terms, others = ((each - mean) / np.where(spread > 1e-8, spread, 1) for each in (terms, others))
    return np.stack([BayesianRidge().fit(terms, y).predict(others) for y in losses.T], axis=1)


def test(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return rank correlation over metrics and of their mean, and regret of the mean."""
    own, real = predicted.mean(axis=1), truth.mean(axis=1)
    return {
        "rank": float(np.nan_to_num(ranks(predicted, truth)).mean()),
        "rank_of_mean": float(np.nan_to_num(ranks(own[:, None], real[:, None]))[0]),
        "regret": float((real[own.argmin()] - real.min()) / real.std()),
    }


def fit_all(args: argparse.Namespace, path: Path) -> None:
    """Fit what is not in the table yet."""
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()
    keys = ["table", "runs", "seed", "model"]
    seen = set() if done.empty else set(done[keys].itertuples(index=False, name=None))
    for table in args.tables:
        for n in (size for size in args.sizes if size <= LARGEST[table]):
            for seed in range(args.seeds):
                split = TABLES[table](n, seed)
                for model in args.models:
                    if (table, n, seed, model) in seen:
                        continue
                    start = time.monotonic()
                    predicted = predict(model, split, seed, args.restarts)
                    row = {"table": table, "runs": n, "seed": seed, "model": model}
                    if predicted is not None:
                        row |= test(predicted, split[3]) | {"seconds": time.monotonic() - start}
                    done = pd.concat([done, pd.DataFrame([row])])
                    done.to_csv(path, index=False, float_format="%.5f")
                    print(row, flush=True)


def show(path: Path) -> None:
    """Print means over seeds by table, model and runs, the best model of most runs first."""
    table = pd.read_csv(path)
    for name, own in table.groupby("table"):
        for what in ("rank", "rank_of_mean", "regret"):
            means = own.pivot_table(index="model", columns="runs", values=what, dropna=False)
            means = means.sort_values(means.columns[-1], ascending=what == "regret")
            print(
                f"\n{name}: {what}, mean over {own.seed.nunique()} seeds\n{means.round(3).to_string()}"
            )
        seconds = own.groupby("model").seconds.sum().sum()
        print(f"{name}: {seconds / 3600:.2f} core-hours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["fit", "show"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--restarts", type=int, default=30,
                        help="starts of each fit of Olmix's law; 300 as published")  # fmt: skip
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "tables.csv"
    if args.verb == "fit":
        fit_all(args, path)
    else:
        show(path)


if __name__ == "__main__":
    main()
