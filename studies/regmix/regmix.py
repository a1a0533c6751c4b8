"""Proposals from RegMix's released runs: runs needed, coverage of intervals, and speed.

    python studies/regmix/regmix.py --tables ../shared/tables/regmix --out OUT

Surrogates are fitted to 512 runs of 1M-parameter models, or to some of them; the test sets are 256
mixtures at 1M and 60M and 64 at 1B, by which nothing is chosen here. Each part prints a table and writes
JSON to OUT.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from measuring import coverage, make_trials, ranks

from mixopt import Mixture, SearchSpace, Trials, fit, propose
from mixopt.optimization.design import choose_optimal
from mixopt.surrogates.trees import RegMix

PILE_CC = 8
RANDOM_SIZES = (16, 24, 32, 40, 51, 64, 74, 80, 96, 128)
CHOSEN_SIZES = (32, 40, 51, 64, 128)
RIVAL_SIZES = (16, 32, 64, 128, 256)
RIVALS = ("regmix", "trees", "ridge_root", "gp_root")
POOL = 256
RESAMPLES = 2000
LEVELS = {"Pile-CC": 98.487, "mean of 13": 98.387}
"""Spearman x 100 of RegMix' LightGBM at 60M with all 512 runs (part `reproduce`)."""


class Tables:
    """RegMix's CSVs, joined by index; ratios as published and normalized."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw, self.losses = self.read("train_mixture_1m", "train_pile_loss_1m")
        self.ratios = self.raw / self.raw.sum(1, keepdims=True)
        self.tests = {}
        for scale in ("1m", "60m", "1B"):
            raw, losses = self.read(f"test_mixture_{scale}", f"test_pile_loss_{scale}")
            self.tests[scale] = (raw, losses)

    def read(self, mixtures: str, losses: str) -> tuple[np.ndarray, np.ndarray]:
        x = pd.read_csv(self.folder / f"{mixtures}.csv").set_index("index")
        y = pd.read_csv(self.folder / f"{losses}.csv").set_index("index")
        self.domains = [c.removeprefix("train_the_pile_") for c in x.columns]
        self.metrics = [c.removeprefix("metric/the_pile_") for c in y.columns]
        both = x.index.intersection(y.index)
        return x.loc[both].to_numpy(), y.loc[both].to_numpy()

    def test(self, scale: str) -> tuple[np.ndarray, np.ndarray]:
        raw, losses = self.tests[scale]
        return raw / raw.sum(1, keepdims=True), losses

    def trials(self, rows: np.ndarray) -> Trials:
        return make_trials(self.ratios[rows], self.losses[rows], self.domains, self.metrics)


# --- RegMix's own numbers ----------------------------------------------------------------------


def reproduce(tables: Tables) -> dict:
    """Return Spearman of RegMix's LightGBM as published: early stopping on the 1M test runs."""
    model = RegMix(validation=tables.tests["1m"])
    model.fit(tables.raw, tables.losses, np.zeros(tables.losses.shape))
    found = {}
    for scale, (raw, losses) in tables.tests.items():
        each = 100 * ranks(model.predict(raw)[0], losses)
        found[scale] = {"Pile-CC": each[PILE_CC], "mean of 13": float(each.mean())}
        print(f"{scale:>4}  Pile-CC {each[PILE_CC]:.2f}  mean of 13 {each.mean():.2f}")
    return found


def official(tables: Tables) -> np.ndarray:
    """Return the predictions of the same LightGBM for the 60M test."""
    model = RegMix(validation=tables.tests["1m"])
    model.fit(tables.raw, tables.losses, np.zeros(tables.losses.shape))
    return model.predict(tables.tests["60m"][0])[0]


# --- runs needed -------------------------------------------------------------------------------


def random_rows(tables: Tables, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(len(tables.ratios))[:n]


def chosen_rows(tables: Tables, n: int, seed: int) -> np.ndarray:
    """Choose from a pool of 256 runs; the pools of seeds 2k and 2k+1 are disjoint."""
    order = np.random.default_rng(seed // 2).permutation(len(tables.ratios))
    pool = order[:POOL] if seed % 2 == 0 else order[POOL : 2 * POOL]
    return pool[choose_optimal(tables.ratios[pool], n)]


def fit_and_test(tables: Tables, rows: np.ndarray, reference: np.ndarray, seed: int) -> dict:
    """Return all statistics of one fit that the tables need."""
    surrogate = fit(tables.trials(rows), target="average", seed=seed)
    out: dict = {}
    for scale in ("60m", "1m"):
        ratios, truth = tables.test(scale)
        mean, _ = surrogate.predict(ratios)
        each = ranks(mean, truth)
        out[scale] = {"Pile-CC": each[PILE_CC], "mean of 13": float(each.mean())}
        if scale == "1m":
            out |= coverage(surrogate, ratios, truth)
            continue
        spread = truth.mean(1).std()
        best = int(mean.mean(1).argmin())
        out["regret mean of 13 (sd)"] = float((truth.mean(1)[best] - truth.mean(1).min()) / spread)
        best = int(mean[:, PILE_CC].argmin())
        out["regret Pile-CC (nats)"] = float(truth[best, PILE_CC] - truth[:, PILE_CC].min())
        out["better"] = bootstrap(mean, reference, truth, seed)
    return out


def bootstrap(ours: np.ndarray, theirs: np.ndarray, truth: np.ndarray, seed: int) -> dict:
    """Return the probability over resampled test mixtures that our Spearman is higher."""
    rng = np.random.default_rng(seed)
    wins = np.zeros((RESAMPLES, 2))
    for index in range(RESAMPLES):
        rows = rng.integers(len(truth), size=len(truth))
        a, b = quick_ranks(ours[rows], truth[rows]), quick_ranks(theirs[rows], truth[rows])
        wins[index] = a[PILE_CC] > b[PILE_CC], a.mean() > b.mean()
    return {"Pile-CC": float(wins[:, 0].mean()), "mean of 13": float(wins[:, 1].mean())}


def quick_ranks(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Spearman by column; ties, which resampling causes, are broken alike on both sides."""
    a = predicted.argsort(0, kind="stable").argsort(0, kind="stable").astype(float)
    b = truth.argsort(0, kind="stable").argsort(0, kind="stable").astype(float)
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))


def curve(
    tables: Tables, choose: Callable, sizes: tuple[int, ...], seeds: int, jobs: int
) -> dict[int, list[dict]]:
    reference = official(tables)
    found: dict[int, list[dict]] = {}
    for n in sizes:
        found[n] = Parallel(jobs)(
            delayed(fit_and_test)(tables, choose(tables, n, seed), reference, seed)
            for seed in range(seeds)
        )
        print_size(n, found[n])
    return found


def print_size(n: int, runs: list[dict]) -> None:
    def column(*keys: str) -> str:
        values = np.array([walk(run, keys) for run in runs], dtype=float)
        return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"

    within = [np.array([run[f"within {level}"] for run in runs]) for level in (80, 95)]
    print(
        f"n={n:>3}  60M Pile-CC {column('60m', 'Pile-CC')}  13 {column('60m', 'mean of 13')}  "
        f"1M Pile-CC {column('1m', 'Pile-CC')}  13 {column('1m', 'mean of 13')}\n"
        f"       regret 13 {column('regret mean of 13 (sd)')} sd  Pile-CC "
        f"{column('regret Pile-CC (nats)')} nats  P(better) Pile-CC {column('better', 'Pile-CC')} "
        f"13 {column('better', 'mean of 13')}\n       within 80% {within[0].mean():.3f} (least "
        f"target {within[0].mean(0).min():.3f})  95% {within[1].mean():.3f} (least "
        f"{within[1].mean(0).min():.3f})",
        flush=True,
    )


def walk(value: dict, keys: tuple[str, ...]) -> float:
    for key in keys:
        value = value[key]
    return value  # type: ignore[return-value]


def crossing(found: dict[int, list[dict]], scale: str, what: str, level: float) -> float:
    """Return the runs at which the mean over seeds reaches `level`, interpolated; NaN if never."""
    sizes = sorted(found)
    means = [100 * np.mean([run[scale][what] for run in found[n]]) for n in sizes]
    for (n0, m0), (n1, m1) in pairs(list(zip(sizes, means, strict=True))):
        if m0 < level <= m1:
            return n0 + (n1 - n0) * (level - m0) / (m1 - m0)
    return float(sizes[0]) if means[0] >= level else float("nan")


def pairs(items: list) -> Iterator[tuple]:
    return zip(items[:-1], items[1:], strict=True)


# --- intervals ---------------------------------------------------------------------------------


def intervals(tables: Tables, seeds: int, jobs: int) -> dict:
    """Return the coverage of intervals for the runs of the same table that were not fitted."""

    def one(rows: np.ndarray, rest: np.ndarray, seed: int) -> dict:
        surrogate = fit(tables.trials(rows), target="average", seed=seed)
        return coverage(surrogate, tables.ratios[rest], tables.losses[rest])

    found: dict = {}
    everything = np.arange(len(tables.ratios))
    for choose in (random_rows, chosen_rows):
        for n in (32, 64, 128):
            picks = [choose(tables, n, seed) for seed in range(seeds)]
            runs = Parallel(jobs)(
                delayed(one)(rows, np.setdiff1d(everything, rows), seed)
                for seed, rows in enumerate(picks)
            )
            found[f"{choose.__name__} {n}"] = runs
            texts = []
            for level in (80, 95):
                within = np.array([run[f"within {level}"] for run in runs])
                texts.append(
                    f"{level}% {within.mean():.3f} (least target {within.mean(0).min():.3f})"
                )
            print(f"{choose.__name__} n={n:>3}  within {'  '.join(texts)}", flush=True)
    return found


# --- against other surrogates ------------------------------------------------------------------


def rival(tables: Tables, n: int, name: str, seed: int) -> list[float]:
    """Return the mean Spearman over the 13 losses, at 1M and at 60M."""
    trials = tables.trials(random_rows(tables, n, seed))
    surrogate = fit(trials, target="average", surrogates=name, seed=seed)
    return [
        float(
            np.nan_to_num(ranks(surrogate.predict(tables.test(s)[0])[0], tables.test(s)[1])).mean()
        )
        for s in ("1m", "60m")
    ]


def against(tables: Tables, seeds: int, jobs: int, rivals: Sequence[str] = RIVALS) -> dict:
    found: dict = {}
    for n in RIVAL_SIZES:
        # with RegMix's settings LightGBM is constant below 41 runs, which fit() refuses
        names = ["auto", *(r for r in rivals if r != "regmix" or n >= 41)]
        rows = Parallel(jobs)(
            delayed(rival)(tables, n, name, seed) for name in names for seed in range(seeds)
        )
        by_name = dict(zip(names, np.array(rows).reshape(len(names), seeds, 2), strict=True))
        found[n] = {name: values.mean(0).tolist() for name, values in by_name.items()}
        best = np.max([v.mean(0) for k, v in by_name.items() if k != "auto"], axis=0)
        margin = by_name["auto"].mean(0) - best
        text = "  ".join(f"{k} {v.mean(0)[0]:.4f}/{v.mean(0)[1]:.4f}" for k, v in by_name.items())
        print(f"n={n:>3}  {text}  auto − best {margin[0]:+.4f}/{margin[1]:+.4f}", flush=True)
    return found


# --- speed -------------------------------------------------------------------------------------


def speed(tables: Tables, repeats: int = 5) -> dict:
    """Measure seconds on one core for 64 runs; compare the utility with a million simulated mixtures."""
    trials = tables.trials(random_rows(tables, 64, 0))
    natural = Mixture.from_vector(tables.domains, tables.ratios.mean(0))
    space = SearchSpace(tuple(tables.domains), prior=natural)
    times = []
    for index in range(repeats + 1):
        start = time.perf_counter()
        surrogate = fit(trials, target="average", seed=index)
        middle = time.perf_counter()
        proposal = propose(surrogate, space, seed=index)[0]
        times.append((middle - start, time.perf_counter() - middle))
    fitting, proposing = np.array(times[1:]).T  # the first includes imports
    rng, best, start = np.random.default_rng(0), -np.inf, time.perf_counter()
    prior = space.prior_vector()
    for index in range(100):
        concentration = (prior, 17 * prior, np.full(17, 0.3), np.ones(17))[index % 4]
        draws = rng.dirichlet(np.maximum(concentration, 1e-3), 10_000)
        best = max(best, float(surrogate.expected_utility(draws).max()))
    simulated = time.perf_counter() - start
    print(
        f"fit {fitting.mean():.2f} ± {fitting.std():.2f} s, propose {proposing.mean():.2f} ± "
        f"{proposing.std():.2f} s; a million simulated mixtures take {simulated:.0f} s\n"
        f"utility proposed {proposal.utility.mean:.5f}, best of a million {best:.5f}"
    )
    return {
        "fit_s": fitting.tolist(), "propose_s": proposing.tolist(), "simulate_s": simulated,
        "utility": proposal.utility.mean, "best_simulated": best,
    }  # fmt: skip


def plot(out: Path) -> None:
    """Draw learning curves at 60M, a line for each way to choose runs, bands of one sd."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for axis, (what, level) in zip(axes, LEVELS.items(), strict=True):
        for name in ("random", "chosen"):
            found = json.loads((out / f"{name}.json").read_text())
            sizes = sorted(map(int, found))
            values = np.array([[100 * r["60m"][what] for r in found[str(n)]] for n in sizes])
            mean, sd = values.mean(1), values.std(1, ddof=1)
            axis.plot(sizes, mean, marker="o", markersize=3, label=f"{name} runs")
            axis.fill_between(sizes, mean - sd, mean + sd, alpha=0.2)
        axis.axhline(level, color="0.3", linestyle="--", label="RegMix' LightGBM, 512 runs")
        axis.set(title=f"60M, {what}", xlabel="runs", ylabel="Spearman x 100", ylim=(95, 99.2))
    axes[1].legend()
    figure.savefig(out / "curves.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=Path("../shared/tables/regmix"))
    parser.add_argument("--out", type=Path, default=Path("mixopt-runs/regmix-table"))
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rivals", nargs="*", default=RIVALS, choices=RIVALS)
    args = parser.parse_args()
    tables = Tables(args.tables)
    args.out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], dict]] = {
        "reproduce": lambda: reproduce(tables),
        "random": lambda: curve(tables, random_rows, RANDOM_SIZES, args.seeds, args.jobs),
        "chosen": lambda: curve(tables, chosen_rows, CHOSEN_SIZES, args.seeds, args.jobs),
        "rivals": lambda: against(tables, max(4, args.seeds // 2), args.jobs, args.rivals),
        "intervals": lambda: intervals(tables, args.seeds, args.jobs),
        "speed": lambda: speed(tables),
    }
    for name, part in parts.items():
        if args.only and name not in args.only:
            continue
        print(f"\n--- {name}", flush=True)
        found = part()
        (args.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        if name in ("random", "chosen"):
            for what, level in LEVELS.items():
                needed = crossing(found, "60m", what, level)
                print(f"runs to equal LightGBM with 512 at 60M, {what}: {needed:.0f}")
    if (args.out / "random.json").exists() and (args.out / "chosen.json").exists():
        plot(args.out)


if __name__ == "__main__":
    main()
