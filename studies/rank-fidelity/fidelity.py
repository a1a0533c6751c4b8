"""Rank correlation of each proxy with trained runs, beside the attainable value and baselines.

python studies/rank-fidelity/fidelity.py --out OUT > tables.md

Needs the runs of runs.py and the scores of scores.py in OUT. Benchmarks of two kinds are reported
apart: `own`, held-out text of the domains in the mixture, which the domain's share alone predicts well;
and `other`: shared benchmarks, and held-out text of corpora that are left out.
"""

import argparse
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from runs import DOMAINS, EXPERTS, SEEDS, context_of, mixtures
from scores import MERGED, POWERS, evaluator_of, power, weights_of

from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.item_sampling import SampledItems, sample_items
from mixopt.mixture import Mixture
from mixopt.optimization.proxy_validation import quarter_overlap
from mixopt.surrogates.fit import fit
from mixopt.surrogates.rank_correlation import spearman, spearman_interval
from mixopt.surrogates.utility import Utility
from mixopt.trial import Metric, Score, Trial
from mixopt.trials import Trials

SMALL = 0.003
DRAWS = 8
FEWER_DRAWS = 5
COUNTS = (4, 8, 12)


@dataclass
class Target:
    """Trained mixtures of one set, and their scores.

    Attributes:
        name: Name of the set.
        ratios: Mixtures (`n x 6`).
        trained: Scores (`n x seeds x m`); lower is better in all of them.
        metrics: The benchmarks (`m`).
        own: Whether a benchmark is the own one of a domain in the mixtures (`m`).
    """

    name: str
    ratios: np.ndarray
    trained: np.ndarray
    metrics: tuple[Metric, ...]
    own: np.ndarray

    def pick(self, mask: np.ndarray) -> "Target":
        kept = tuple(m for m, keep in zip(self.metrics, mask, strict=True) if keep)
        return Target(self.name, self.ratios, self.trained[:, :, mask], kept, self.own[mask])

    @property
    def truth(self) -> np.ndarray:
        return self.trained.mean(axis=1)


def table(rows: list, names: list[str]) -> np.ndarray:
    return np.array([[results[name].score for name in names] for results in rows])


def load_target(name: str, out: Path) -> tuple[Target, list[int]]:
    evaluator = evaluator_of(name, out)
    rows = [evaluator.score(row)["merged"] for row in np.eye(evaluator.k).tolist()]
    scored = evaluator.scorer.metrics
    kept = [place for place, m in enumerate(scored) if not m.name.endswith("_probe")]
    metrics = tuple(scored[place] for place in kept)
    ratios = mixtures()[name]
    trained = table(rows, [m.name for m in metrics]).reshape(len(ratios), SEEDS, len(metrics))
    present = {domain for domain, share in zip(DOMAINS, ratios.sum(axis=0), strict=True) if share}
    own = np.array([m.own_domain in present for m in metrics])
    return Target(name, ratios, trained, metrics, own), kept


def load_proxies(target: Target, out: Path, kinds: list[str]) -> dict[str, np.ndarray]:
    """Return scores (`n x m`) of each proxy at the target's mixtures."""
    names = [metric.name for metric in target.metrics]
    evaluator = evaluator_of("experts", out)
    natural = context_of("experts", out).corpora.natural.vector(DOMAINS)
    found: dict[str, np.ndarray] = {}
    for gamma in (1.0, *POWERS):
        label = "" if gamma == 1 else f" λ^{gamma:g}"
        rows = power(target.ratios, gamma) if gamma != 1 else target.ratios
        merged = [evaluator.score(row.tolist())["merged"] for row in rows]
        found[f"merge{label}"] = table(merged, names)
        mixed = [evaluator.scorer.read(evaluator.ensemble.mix(row)) for row in rows]
        found[f"ensemble{label}"] = table(mixed, names)
    found["ensemble, posterior weights"] = table(
        [evaluator.scorer.read(mix_by_evidence(evaluator, row)) for row in target.ratios], names
    )
    corners = table([evaluator.score(row.tolist())["merged"] for row in np.eye(6)], names)
    found["Σ λ · expert's loss"] = target.ratios @ corners
    if kinds:
        for name in EXPERTS:
            if name == "experts" or name not in kinds:
                continue
            other = evaluator_of(name, out)
            rows = weights_of(name, target.ratios, natural)
            label = name.removeprefix("experts-")
            if name in MERGED:
                # some weights are negative, for which no ensemble exists
                flats = other.engine.logprobs(other.scorer, rows.tolist())
                found[f"merge, {label}"] = table([other.scorer.read(flat) for flat in flats], names)
            if "anchored" not in name:
                mixed = [other.scorer.read(other.ensemble.mix(power(row, 0.5))) for row in rows]
                found[f"ensemble λ^0.5, {label}"] = table(mixed, names)
    return found


def mix_by_evidence(evaluator: MergeEvaluator, weights: np.ndarray) -> np.ndarray:
    """Return log-probabilities (`t`) of the ensemble weighted by each expert's posterior probability.

    The prior is `weights`; the evidence at a token is the target text before it.
    """
    each = np.stack(evaluator.expert_logprobs).astype(float)
    sizes = np.array([len(request.target) for request in evaluator.scorer.requests])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    before = np.cumsum(each, axis=1) - each
    before -= np.repeat(before[:, starts], sizes, axis=1)
    belief = np.log(np.maximum(weights, 1e-300))[:, None] + before
    belief -= np.logaddexp.reduce(belief, axis=0)
    return np.logaddexp.reduce(each + belief, axis=0)


def utilities(scores: np.ndarray, metrics: tuple[Metric, ...]) -> np.ndarray:
    """Return the utility: mean over capabilities of standardized scores (`n`)."""
    rows = [
        Trial(str(i), Mixture({"a": 1.0}),
              {m.name: Score(float(v)) for m, v in zip(metrics, row, strict=True)})
        for i, row in enumerate(scores)
    ]  # fmt: skip
    trials = Trials(rows, metrics, ("a",))
    return Utility.standardized(trials, metrics).of(scores)


def attainable(first: np.ndarray, second: np.ndarray) -> float:
    """Return the rank correlation of a noise-free proxy with the mean of two seeds."""
    ceiling = max(spearman(first, second), 0.0)
    return float(np.sqrt(2 * ceiling / (1 + ceiling)))


def describe(target: Target, proxies: dict[str, np.ndarray], title: str) -> list[dict]:
    """Print each proxy's rank correlations, beside those that are attainable."""
    metrics, truth = target.metrics, target.truth
    reach = np.array([attainable(*target.trained[:, :, m].T) for m in range(len(metrics))])
    by_seed = [utilities(target.trained[:, seed], metrics) for seed in range(SEEDS)]
    whole = utilities(truth, metrics)
    print(f"\n### {title}\n")
    print(f"{len(truth)} mixtures x {SEEDS} seeds, {len(metrics)} benchmarks. Seed against seed: mean "
          f"{np.mean([spearman(*target.trained[:, :, m].T) for m in range(len(metrics))]):.2f}, utility "
          f"{spearman(*by_seed):.2f}; attainable: mean {reach.mean():.2f}, utility "
          f"{attainable(*by_seed):.2f}.\n")  # fmt: skip
    print(
        "| proxy | mean Spearman | share of attainable | utility [95%] | best quarter | regret, sd |"
    )
    print("|---|---|---|---|---|---|")
    rows = []
    for name, scores in proxies.items():
        ranks = [spearman(scores[:, m], truth[:, m]) for m in range(len(metrics))]
        guess = utilities(scores, metrics)
        rho = spearman(guess, whole)
        low, high = spearman_interval(rho, len(whole))
        regret = whole.max() - whole[guess.argmax()]
        share = np.mean(ranks) / reach.mean()
        print(f"| {name} | {np.mean(ranks):.3f} | {share:.2f} | {rho:+.2f} [{low:+.2f}, {high:+.2f}] | "
              f"{quarter_overlap(guess, whole):.0%} | {regret:.2f} |")  # fmt: skip
        rows.append({"proxy": name, "mean": float(np.mean(ranks)), "share": share, "utility": rho})
    return rows


def by_benchmark(target: Target, proxies: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    """Print attainable rank correlations by benchmark, and those of some proxies."""
    print(f"\n### {target.name}: by benchmark\n")
    print("| benchmark | capability | seed against seed | attainable | " + " | ".join(names) + " |")
    print("|---|---|---|---|" + "---|" * len(names))
    for place, metric in enumerate(target.metrics):
        first, second = target.trained[:, :, place].T
        ranks = [spearman(proxies[name][:, place], target.truth[:, place]) for name in names]
        cells = " | ".join(f"{rank:+.2f}" for rank in ranks)
        print(
            f"| {metric.name}{' (own)' if target.own[place] else ''} | {metric.capability} | "
            f"{spearman(first, second):+.2f} | {attainable(first, second):.2f} | {cells} |"
        )


def regret_by_cost(target: Target, proxies: dict[str, np.ndarray], out: Path) -> None:
    """Print the regret of the mixture chosen among the trained ones, by training tokens.

    RegMix's method: fit n trained mixtures (one seed each) and take the best predicted, here by our
    surrogate models (LightGBM as published predicts a constant below 40 runs). The proxies, which cost
    the experts' tokens only, are beside it.
    """
    run = 300_000
    whole = Utility.standardized(
        Trials(to_trials(target.ratios, target.truth, target.metrics, "trained", "t"),
               target.metrics, DOMAINS), target.metrics)  # fmt: skip
    truth = whole.of(target.truth)
    curve: dict[int, list[float]] = {}
    for draw in range(FEWER_DRAWS):
        rng = np.random.default_rng(100 + draw)
        order = rng.permutation(len(truth))
        for count in (6, 9, 12, 15, 18, 21, 24):
            picked = order[:count]
            runs = target.trained[picked, rng.integers(0, SEEDS, count)]
            real = to_trials(target.ratios[picked], runs, target.metrics, "trained", "t")
            trials = Trials(real, target.metrics, DOMAINS)
            fitted = fit(trials, use_std_errors=False)
            guess = whole.of(fitted.predict(target.ratios)[0])
            curve.setdefault(count * run, []).append(float(truth.max() - truth[guess.argmax()]))
    print("\n### Regret of the best predicted of the 24, in sd of utility, by training tokens\n")
    print("| | " + " | ".join(f"{t / 1e6:.1f}M" for t in curve) + " |")
    print("|---|" + "---|" * len(curve))
    cells = [f"{np.mean(v):.2f} ± {np.std(v):.2f}" for v in curve.values()]
    print(f"| fitted to real runs | {' | '.join(cells)} |")
    for name in ("merge λ^0.7", "ensemble λ^0.7", "merge", "ensemble"):
        guess = whole.of(proxies[name])
        print(f"\n{name}: {truth.max() - truth[guess.argmax()]:.2f} with the experts' "
              f"{6 * run / 1e6:.1f}M tokens.")  # fmt: skip
    print(f"\nAt random: {truth.max() - truth.mean():.2f}; natural: {truth.max() - truth[0]:.2f}.")
    names = ("merge λ^0.7", "ensemble λ^0.7")
    points = {name: truth.max() - truth[whole.of(proxies[name]).argmax()] for name in names}
    draw_curve(curve, points, 6 * run, out)


def draw_curve(curve: dict, points: dict, tokens: int, out: Path) -> None:
    """Draw the curve and the proxies' points into OUT/regret.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    errors = [np.std(v) / np.sqrt(len(v)) for v in curve.values()]
    means = [np.mean(v) for v in curve.values()]
    axes.errorbar([t / 1e6 for t in curve], means, errors, label="fitted to real runs")
    for name, regret in points.items():
        axes.plot(tokens / 1e6, regret, "o", label=name)
    axes.set(xlabel="training tokens, millions", ylabel="regret, sd of utility")
    axes.legend()
    figure.savefig(out / "regret.png", dpi=120)


def with_part_of_the_items(target: Target, out: Path) -> None:
    """Print how a share of the items ranks merges: with control variates, and by plain means."""
    from scipy.stats import kendalltau

    evaluator = evaluator_of("experts", out)
    experts = [evaluator.score(row)["merged"] for row in np.eye(evaluator.k).tolist()]
    rows = power(target.ratios, 0.7).tolist()
    whole = [evaluator.score(row)["merged"] for row in rows[12:]]
    print("\n### A share of the items against all of them\n\nKendall's tau over 12 merges, mean over "
          "benchmarks and 2 draws.\n")  # fmt: skip
    print("| share | control variates | plain mean of the same items |\n|---|---|---|")
    for share in (0.5, 0.25):
        taus: dict[str, list[float]] = {"estimated": [], "plain": []}
        for seed in range(2):
            items = SampledItems(evaluator, rows[:12], share, seed)
            scored = [results["merged"] for results in evaluator.evaluate(rows[12:], items)]
            _, draws = sample_items(evaluator.scorer.tasks, experts, share, seed)
            for task, draw in zip(evaluator.scorer.tasks, draws, strict=True):
                name, drawn = task.metric.name, draw.items
                truth = [results[name].score for results in whole]
                estimated = [results[name].score for results in scored]
                plain = [r[name].values[drawn].sum() / r[name].sizes[drawn].sum() for r in whole]
                taus["estimated"].append(kendalltau(truth, estimated).statistic)
                taus["plain"].append(kendalltau(truth, plain).statistic)
        print(f"| {share:g} | {np.mean(taus['estimated']):.2f} | {np.mean(taus['plain']):.2f} |")


def learning_curve(out: Path) -> None:
    """Print γ by the experts' learning curves: a domain's loss falls in proportion to tokens^γ."""
    falls = []
    for name in ("experts-0.5x", "experts", "experts-2x"):
        evaluator = evaluator_of(name, out)
        base = evaluator.score_base()
        corners = [evaluator.score(row.tolist())["merged"] for row in np.eye(6)]
        falls.append([
            base[f"{domain}_heldout"].score - corner[f"{domain}_heldout"].score
            for domain, corner in zip(DOMAINS, corners, strict=True)
        ])  # fmt: skip
    slopes = np.polyfit(np.log([0.5, 1, 2]), np.log(falls), 1)[0]
    by_domain = ", ".join(
        f"{domain} {slope:.2f}" for domain, slope in zip(DOMAINS, slopes, strict=True)
    )
    print(f"\nγ by the experts' own learning curves (0.5, 1 and 2 times the tokens): {by_domain}; "
          f"mean {slopes.mean():.2f}.")  # fmt: skip


def log_ratio(target: Target) -> np.ndarray:
    """Return −log of the own domain's share for each benchmark (`n x m`), which must have one."""
    places = [DOMAINS.index(str(metric.own_domain)) for metric in target.metrics]
    return -np.log(target.ratios[:, places] + SMALL)


def to_trials(ratios, scores, metrics, kind, prefix):
    return [
        Trial(f"{prefix}{i}", Mixture.normalised(dict(zip(DOMAINS, ratio.tolist(), strict=True))),
              {m.name: Score(float(v)) for m, v in zip(metrics, row, strict=True)}, kind=kind)
        for i, (ratio, row) in enumerate(zip(ratios, scores, strict=True))
    ]  # fmt: skip


def with_real_runs(target: Target, out: Path, gamma: float) -> None:
    """Print ranks by the proxy, by surrogates of a few trained runs, and by surrogates of both."""
    evaluator = evaluator_of("experts", out)
    names = [metric.name for metric in target.metrics]
    grid = np.random.default_rng(5).dirichlet(np.ones(6), 58)
    grid = np.vstack([np.eye(6), grid])
    rows = [evaluator.scorer.read(evaluator.ensemble.mix(power(row, gamma))) for row in grid]
    ensembles = to_trials(grid, table(rows, names), target.metrics, "ensembled", "e")
    proxy = [
        evaluator.scorer.read(evaluator.ensemble.mix(power(row, gamma))) for row in target.ratios
    ]
    proxy = table(proxy, names)
    kinds = {"own": target.own, "other": ~target.own}
    found: dict[tuple[str, str, int], list[float]] = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        for count in COUNTS:
            order = rng.permutation(len(target.ratios))
            picked, rest = order[:count], order[count:]
            runs = target.trained[picked, rng.integers(0, SEEDS, count)]
            real = to_trials(target.ratios[picked], runs, target.metrics, "trained", "t")
            guesses = {"proxy alone": proxy[rest]}
            both = fit(Trials(ensembles + real, target.metrics, DOMAINS), use_std_errors=False)
            guesses["both"] = both.predict(target.ratios[rest])[0]
            if count >= 6:
                alone = fit(Trials(real, target.metrics, DOMAINS), use_std_errors=False)
                guesses["runs alone"] = alone.predict(target.ratios[rest])[0]
            for name, guess in guesses.items():
                for kind, mask in kinds.items():
                    ranks = [
                        spearman(guess[:, m], target.truth[rest, m]) for m in np.flatnonzero(mask)
                    ]
                    found.setdefault((kind, name, count), []).append(float(np.mean(ranks)))
    print("\n### With trained runs (fit; mean Spearman over the runs left out, "
          f"{DRAWS} draws, ± sd over draws)\n")  # fmt: skip
    print("| target | predicted by | " + " | ".join(f"{c} runs" for c in COUNTS) + " |")
    print("|---|---|" + "---|" * len(COUNTS))
    for kind, mask in kinds.items():
        picked = target.pick(mask)
        seeds = [picked.trained[:, :, m].T for m in range(len(picked.metrics))]
        for name in ("runs alone", "proxy alone", "both"):
            cells = [
                f"{np.mean(v):.3f} ± {np.std(v):.3f}" if (v := found.get((kind, name, c))) else "–"
                for c in COUNTS
            ]
            print(f"| {kind} | {name} | {' | '.join(cells)} |")
        reach = np.mean([attainable(*pair) for pair in seeds])
        print(f"| {kind} | attainable | {' | '.join([f'{reach:.3f}'] * len(COUNTS))} |")


def law_alone(target: Target) -> None:
    """Print how the effective-token law, fitted to as many runs as there are experts, ranks the rest."""
    found: dict[str, list[float]] = {"own": [], "other": []}
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(target.ratios))
        picked, rest = order[: len(DOMAINS)], order[len(DOMAINS) :]
        runs = target.trained[picked, rng.integers(0, SEEDS, len(picked))]
        real = to_trials(target.ratios[picked], runs, target.metrics, "trained", "t")
        fitted = fit(Trials(real, target.metrics, DOMAINS), surrogates="effective_tokens",
                     use_std_errors=False)  # fmt: skip
        guess = fitted.predict(target.ratios[rest])[0]
        ranks = np.array([
            spearman(guess[:, m], target.truth[rest, m]) for m in range(len(target.metrics))
        ])  # fmt: skip
        found["own"].append(float(ranks[target.own].mean()))
        found["other"].append(float(ranks[~target.own].mean()))
    print(f"\n### The effective-token law on {len(DOMAINS)} real runs, the experts' cost ({DRAWS} "
          "draws, ± sd)\n")  # fmt: skip
    for kind, ranks in found.items():
        print(f"{kind}: mean Spearman {np.mean(ranks):.3f} ± {np.std(ranks):.3f}\n")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(mixtures()))
    parser.add_argument("--experts", default=",".join(EXPERTS))
    parser.add_argument(
        "--ranks-alone", action="store_true", help="leave out the parts that fit surrogates"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    kept = {}
    for name in args.sets.split(","):
        target, _ = load_target(name, args.out)
        proxies = load_proxies(target, args.out, args.experts.split(",") if name == "six" else [])
        own, other = target.pick(target.own), target.pick(~target.own)
        cut = {k: v[:, target.own] for k, v in proxies.items()}
        cut["log of the own share (no training)"] = log_ratio(own)
        kept[f"{name} own"] = describe(own, cut, f"{name}: the domains' own text")
        rest = {k: v[:, ~target.own] for k, v in proxies.items()}
        kept[f"{name} other"] = describe(other, rest, f"{name}: no domain's own")
        if name == "six":
            shown = ("merge", "merge λ^0.7", "ensemble", "ensemble λ^0.7")
            by_benchmark(target, proxies, shown)
        if name == "six" and "experts-2x" in args.experts.split(","):
            learning_curve(args.out)
        if name == "six":
            law_alone(target)
        if name == "six" and not args.ranks_alone:
            with_real_runs(target, args.out, 0.7)
            regret_by_cost(other, rest, args.out)
            with_part_of_the_items(target, args.out)
    (args.out / "fidelity.json").write_text(json.dumps(kept, indent=2))


if __name__ == "__main__":
    main()
