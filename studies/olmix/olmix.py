"""Proposals from Olmix' DCLM runs: 127 runs, 24 topics, 110 metrics, three quarters of ratios zero.

    python studies/olmix/olmix.py --tables ../shared/tables/olmix-dclm --out OUT

Surrogates are fitted to random subsets and tested on the rest. No choice in mixopt was made on these
tests, except those that RESULTS.md marks.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import yaml
from joblib import Parallel, delayed
from measuring import coverage, make_trials, ranks

from mixopt import Mixture, SearchSpace, Trials, fit, propose, read_trials
from mixopt.surrogates.registry import make_model
from mixopt.token_budget import Budget

SIZES = (16, 32, 64, 96)
RIVALS = ("regmix", "trees", "ridge_root", "gp_root")
BUDGET_TOKENS = 6_000_000_000_000
MAX_REPETITION = 4.0


def subset(trials: Trials, rows: np.ndarray) -> Trials:
    return Trials([trials[int(i)] for i in rows], trials.metrics, trials.domains)


def split(trials: Trials, n: int, seed: int) -> tuple[Trials, Trials]:
    order = np.random.default_rng(seed).permutation(len(trials))
    return subset(trials, order[:n]), subset(trials, order[n:])


def one(trials: Trials, n: int, name: str, seed: int) -> dict:
    train, rest = split(trials, n, seed)
    surrogate = fit(train, target="average", surrogates=name, seed=seed)
    ratios, truth = rest.ratios(), rest.values(rest.metrics)
    mean, _ = surrogate.predict(ratios)
    found = {
        "rank": float(np.nan_to_num(ranks(mean, truth)).mean()),
        "rank of the mean": float(
            np.nan_to_num(ranks(mean.mean(1)[:, None], truth.mean(1)[:, None]))[0]
        ),
    }
    return found | (coverage(surrogate, ratios, truth) if name == "auto" else {})


def against(trials: Trials, seeds: int, jobs: int, rivals: Sequence[str] = RIVALS) -> dict:
    found: dict = {}
    for n in SIZES:
        names = ["auto", *(r for r in rivals if r != "regmix" or n >= 41)]
        rows = Parallel(jobs)(
            delayed(one)(trials, n, name, seed) for name in names for seed in range(seeds)
        )
        found[n] = {name: rows[i * seeds : (i + 1) * seeds] for i, name in enumerate(names)}
        for what in ("rank", "rank of the mean"):
            values = {k: np.array([r[what] for r in v]) for k, v in found[n].items()}
            best = max(v.mean() for k, v in values.items() if k != "auto")
            text = "  ".join(f"{k} {v.mean():.4f} ± {v.std(ddof=1):.4f}" for k, v in values.items())
            print(f"n={n:>3}  {what}: {text}  auto − best {values['auto'].mean() - best:+.4f}")
        for level in (80, 95):
            within = np.array([r[f"within {level}"] for r in found[n]["auto"]])
            by_metric = within.mean(0)
            print(f"       within {level}%: {within.mean():.3f} (least metric {by_metric.min():.3f})",
                  flush=True)  # fmt: skip
    return found


def explosion(trials: Trials, seeds: int) -> dict:
    """Compare squared errors, in variances: the scaling law alone, unbounded, and the stacked model."""
    found: dict = {"law alone": [], "auto": []}
    for seed in range(seeds):
        train, rest = split(trials, 48, seed)
        y, truth = train.values(train.metrics), rest.values(rest.metrics)
        z, want = (y - y.mean(0)) / y.std(0), (truth - y.mean(0)) / y.std(0)
        law = make_model("effective_tokens", 0).fit(train.ratios(), z, np.zeros(z.shape))
        found["law alone"].append(float(np.square(law.predict(rest.ratios())[0] - want).mean()))
        mean, _ = fit(train, target="average", seed=seed).predict(rest.ratios())
        miss = (mean - y.mean(0)) / y.std(0) - want
        found["auto"].append(float(np.square(miss).mean()))
    for name, values in found.items():
        print(f"{name}: squared error {np.median(values):.3g} (median), {max(values):.3g} at worst")
    return found


def proposal(trials: Trials, folder: Path) -> dict:
    """Propose the mixture for 6T tokens under Olmix' own cap of four repetitions."""
    priors = yaml.safe_load((folder / "priors.yaml").read_text())["priors"]
    sizes, tokens = priors["relative_sizes"], priors["token_counts"]
    natural = Mixture.normalised({d: sizes[d] for d in trials.domains})
    caps = Budget(BUDGET_TOKENS, tokens, dict.fromkeys(tokens, MAX_REPETITION)).caps
    space = SearchSpace(trials.domains, upper=caps, prior=natural)
    surrogate = fit(trials, target="average")
    proposed = propose(surrogate, space, seed=0)[0]
    for comparison in proposed.comparisons:
        print(f"{comparison.verdict}; {len(comparison.worse)} of 110 metrics probably worse")
    for domain, ratio in sorted(proposed.ratios.items(), key=lambda item: -item[1])[:8]:
        print(f"  {domain:<28} {ratio:.3f} (natural {natural[domain]:.3f}, cap {caps[domain]:.3f})")
    return proposed.to_dict()


def large(n: int = 500, d: int = 64, m: int = 110) -> dict:
    """Measure time and memory at 64 domains x 110 metrics x 500 runs (drawn from a scaling law)."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.full(d, 0.15), n)
    worth = np.exp(1.2 * rng.normal(size=(m, d)))
    losses = 2 + (worth @ (ratios.T**0.8) + 0.05).T ** -0.3 + 0.02 * rng.normal(size=(n, m))
    trials = make_trials(ratios, losses, [f"d{i}" for i in range(d)], [f"m{i}" for i in range(m)])
    start = time.perf_counter()
    surrogate = fit(trials, target="average")
    middle = time.perf_counter()
    propose(surrogate, SearchSpace(trials.domains), seed=0)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"fit {middle - start:.1f} s, propose {end - middle:.1f} s, peak memory {peak:.2f} GB")
    return {"fit_s": middle - start, "propose_s": end - middle, "peak_gb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=Path("../shared/tables/olmix-dclm"))
    parser.add_argument("--out", type=Path, default=Path("mixopt-runs/olmix-table"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rivals", nargs="*", default=RIVALS, choices=RIVALS)
    args = parser.parse_args()
    trials = read_trials(
        ratios=args.tables / "ratios.csv", metrics=args.tables / "metrics.csv", better="lower"
    )
    args.out.mkdir(parents=True, exist_ok=True)
    parts = {
        "large": large,
        "rivals": lambda: against(trials, args.seeds, args.jobs, args.rivals),
        "explosion": lambda: explosion(trials, args.seeds),
        "proposal": lambda: proposal(trials, args.tables),
    }
    for name, part in parts.items():
        if args.only and name not in args.only:
            continue
        print(f"\n--- {name}", flush=True)
        (args.out / f"{name}.json").write_text(json.dumps(part(), indent=1) + "\n")


if __name__ == "__main__":
    main()
