"""Gradient ascent: passes to the best of 1,000 random merges, and slopes as data for a surrogate.

    python studies/merge-throughput/ascent.py --study OUT_OF_SIX_DOMAINS [--items 40] --out OUT

Base and experts are those of studies/six-domains (`mixopt train studies/six-domains/six-domains.yaml
-o OUT_OF_SIX_DOMAINS`); the benchmarks are its search benchmarks, the first items of each. Utility is
the mean over capabilities of standardized losses (of the right choice where there are choices), so all
methods maximize the same function. A pass is a forward pass of one merge over all items; a forward and a
backward pass count as three, over the items that they read.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import mixopt
from mixopt import Mixture, Trials
from mixopt.config.loader import load_study
from mixopt.optimization.design import design_first_round, design_next_round
from mixopt.optimization.multistart import ascend
from mixopt.optimization.propose import propose
from mixopt.surrogates.fit import fit
from mixopt.surrogates.utility import Utility
from mixopt.trial import Score, Slope, Trial

CONFIG = Path(__file__).parents[1] / "six-domains" / "six-domains.yaml"
RANDOM, SEEDS, ROUNDS = 1000, 5, (16, 8, 8, 8)
SLOPED = (6, 8, 10, 13)
"""Numbers of trials with slopes; three times as many without slopes cost the same."""


class Bench:
    """The evaluator of the six-domains study, over the first items of each benchmark."""

    def __init__(self, output: Path, items: int) -> None:
        config = load_study(CONFIG)
        benchmarks = [
            benchmark.model_copy(update={"max_items": items})
            for benchmark in config.benchmarks
            if benchmark.role == "search"
        ]
        config = config.model_copy(update={"benchmarks": benchmarks})
        study = mixopt.Study(config, output, device="cpu", cache=output / "cache")
        search = study.open_search()
        self.evaluator, self.space = search.evaluator, search.space
        self.compositions = search.experts.compositions
        self.domains = config.domains
        self.scorer, self.engine = self.evaluator.scorer, self.evaluator.engine
        self.metrics = [replace(m, better="lower") for m in self.scorer.metrics]

    def losses(self, weights: np.ndarray) -> np.ndarray:
        flat = next(self.engine.logprobs(self.scorer, [weights.tolist()]))
        return self.scorer.losses(flat)

    def trial(
        self, name: str, weights: np.ndarray, losses: np.ndarray, slopes: tuple = ()
    ) -> Trial:
        ratios = Mixture.from_vector(self.domains, self.space.ratios(weights[None])[0])
        scores = {m.name: Score(float(v)) for m, v in zip(self.metrics, losses, strict=True)}
        return Trial(name, ratios, scores, kind="merged", slopes=slopes)

    def trials(self, rows: list[Trial]) -> Trials:
        return Trials(rows, self.metrics, self.domains)


def random_search(bench: Bench, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return 1,000 random merges and their losses, kept in OUT because they take minutes."""
    file = out / "random.npz"
    if not file.exists():
        rows = bench.space.sample(RANDOM, np.random.default_rng(0))
        losses = []
        for index, row in enumerate(rows):
            losses.append(bench.losses(row))
            if index % 100 == 99:
                print(f"  {index + 1} random merges", flush=True)
        np.savez(file, rows=rows, losses=np.stack(losses))
    arrays = np.load(file)
    return arrays["rows"], arrays["losses"]


def noise_of(bench: Bench, utility: Utility, best: np.ndarray, other: np.ndarray) -> float:
    """Return the standard error, over items, of the difference in utility of two merges."""
    flats = [next(bench.engine.logprobs(bench.scorer, [row.tolist()])) for row in (best, other)]
    parts = [bench.scorer._totals(flat) for flat in flats]
    variance = 0.0
    for place, task in enumerate(bench.scorer.tasks):
        change = task.loss_weights * (parts[1][place] - parts[0][place])
        chosen = change[task.loss_weights != 0]
        n = len(chosen)
        own = n / (n - 1) * np.square(chosen - chosen.mean()).sum()
        variance += float(utility.coefficients[place] ** 2 * own)
    return float(np.sqrt(variance))


def sampling(bench: Bench, utility: Utility, seed: int) -> list[tuple[float, float]]:
    """Return (passes, best utility) of rounds of 40 merges, with proposals by a surrogate."""
    rng = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    trials: list[Trial] = []
    curve: list[tuple[float, float]] = []
    best, passes = -np.inf, 0.0

    def score(weights: np.ndarray) -> None:
        nonlocal best, passes
        losses = bench.losses(weights)
        trials.append(bench.trial(f"t{len(trials)}", weights, losses))
        rows.append(weights)
        passes += 1
        best = max(best, float(utility.of(losses[None])[0]))
        curve.append((passes, best))

    for number, count in enumerate(ROUNDS):
        if number == 0:
            chosen = design_first_round(bench.space, count, rng)
        else:
            surrogate = fit(bench.trials(trials), use_std_errors=False, seed=seed)
            # the proposal of a user who stops here
            proposal = propose(surrogate, bench.space.space, seed=rng,
                               compositions=bench.compositions)[0]  # fmt: skip
            score(np.array(list(proposal.weights.values())))
            chosen = design_next_round(bench.space, surrogate, np.array(rows), count, rng)
        for row in chosen:
            score(row)
    surrogate = fit(bench.trials(trials), use_std_errors=False, seed=seed)
    proposal = propose(surrogate, bench.space.space, seed=rng, compositions=bench.compositions)[0]
    score(np.array(list(proposal.weights.values())))
    return curve


def climbing(bench: Bench, utility: Utility, seed: int) -> list[tuple[float, float]]:
    """Return (passes, best utility) of gradient ascent from a start that no score has chosen."""
    natural, _ = bench.space.weights_for(bench.space.space.prior_vector())
    starts = [natural, bench.space.centre, *bench.space.sample(SEEDS, np.random.default_rng(seed))]
    curve: list[tuple[float, float]] = []
    best, passes = -np.inf, 0.0

    def climbed(weights: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, passes
        measured = bench.engine.slopes(bench.scorer, weights.tolist())
        value = float(utility.of(measured.losses[None])[0])
        passes += measured.passes
        best = max(best, value)
        curve.append((passes, best))
        return value, utility.coefficients @ measured.by_weight

    ascend(climbed, bench.space, starts[seed % len(starts)], evaluations=14)
    return curve


def passes_to(curve: list[tuple[float, float]], goal: float) -> float:
    return next((passes for passes, best in curve if best >= goal), float("inf"))


def surrogate_errors(
    bench: Bench, utility: Utility, rows: np.ndarray, losses: np.ndarray, seed: int
) -> list:
    """Return errors of the utility and of the metrics on random merges, with and without slopes."""
    rng = np.random.default_rng(100 + seed)
    order = rng.permutation(len(rows))
    test = order[200:]
    truth, scale = losses[test], losses.std(0)
    usual = utility.of(losses).std()
    compositions = list(bench.compositions.values())
    found = []
    sloped: list[Trial] = []
    for n in SLOPED:
        for place in order[len(sloped) : n]:
            measured = bench.engine.slopes(bench.scorer, rows[place].tolist())
            ways = measured.by_weight - (measured.by_weight @ rows[place])[:, None]
            slopes = tuple(
                Slope(
                    row, {m.name: float(w) for m, w in zip(bench.metrics, ways[:, k], strict=True)}
                )
                for k, row in enumerate(compositions)
            )
            sloped.append(bench.trial(f"t{place}", rows[place], losses[place], slopes))
        cost = measured.passes
        many = round(n * cost)
        tables = {
            "slopes": sloped[:n],
            "none, as many trials": [replace(t, slopes=()) for t in sloped[:n]],
            "none, equal cost": [bench.trial(f"t{p}", rows[p], losses[p]) for p in order[:many]],
        }
        for name, table in tables.items():
            surrogate = fit(bench.trials(table), use_std_errors=False, seed=seed)
            mean, _ = surrogate.predict(bench.space.ratios(rows[test]))
            miss = utility.of(mean) - utility.of(truth)
            errors = {
                "metrics": float(np.sqrt(np.square((mean - truth) / scale).mean())),
                "utility": float(np.sqrt(np.square(miss).mean()) / usual),
            }
            found.append({"trials": n, "passes": n * cost, "what": name, **errors})
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.study, args.items)
    rows, losses = random_search(bench, args.out)
    table = bench.trials(
        [bench.trial(f"r{i}", r, v) for i, (r, v) in enumerate(zip(rows, losses, strict=True))]
    )
    utility = Utility.standardized(table, bench.metrics)
    utilities = utility.of(losses)
    best = int(utilities.argmax())
    noise = noise_of(bench, utility, rows[best], rows[int(np.argsort(utilities)[-20])])
    goal = float(utilities[best] - noise)
    print(f"{bench.scorer.count_tokens()} tokens a pass; best of {RANDOM} random merges "
          f"{utilities[best]:+.3f} sd, noise {noise:.3f}, goal {goal:+.3f}", flush=True)  # fmt: skip
    ensembles = bench.evaluator.ensemble
    start = time.perf_counter()
    for row in rows:
        bench.scorer.losses(ensembles.mix(row))
    mixed = len(rows) / (time.perf_counter() - start)
    print(f"ensembles: {mixed:.0f} mixtures a second over {bench.scorer.n_targets} scored tokens")
    curves = {"sampling": [], "gradient": []}
    for seed in range(SEEDS):
        curves["sampling"].append(sampling(bench, utility, seed))
        curves["gradient"].append(climbing(bench, utility, seed))
        for name, some in curves.items():
            reached, (passes, most) = passes_to(some[-1], goal), some[-1][-1]
            print(f"  seed {seed} {name}: {reached:.1f} passes to the goal, best {most:+.3f} after "
                  f"{passes:.1f}", flush=True)  # fmt: skip
    errors = [surrogate_errors(bench, utility, rows, losses, seed) for seed in range(SEEDS)]
    print("trials  passes  what                    metrics (sd)      utility (sd)")
    for place in range(len(errors[0])):
        cells = [run[place] for run in errors]
        columns = [
            f"{np.mean([c[k] for c in cells]):.3f} ± {np.std([c[k] for c in cells]):.3f}"
            for k in ("metrics", "utility")
        ]
        one = cells[0]
        print(
            f"{one['trials']:>6}  {one['passes']:>6.1f}  {one['what']:<22}  {'   '.join(columns)}"
        )
    result = {
        "goal": goal,
        "noise": noise,
        "best": float(utilities[best]),
        "ensembles a second": mixed,
        "curves": curves,
        "errors": errors,
    }
    (args.out / "ascent.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
