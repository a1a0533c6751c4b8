"""Train the mixture that is proposed from the experts alone, beside the best and the natural one.

python studies/rank-fidelity/proposal.py --out OUT

The proposal maximizes the utility of the benchmarks that are no domain's own, by a surrogate fitted to
the ensemble with the response map λ^0.5 (200 mixtures). The proposal, the best of the 24 trained
mixtures and the natural mixture are trained with three seeds each and scored.
"""

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
from fidelity import load_target, table, to_trials
from runs import DOMAINS, open_context
from scores import evaluator_of, open_trained, power

from mixopt.optimization.propose import propose
from mixopt.search_space import SearchSpace
from mixopt.surrogates.fit import fit
from mixopt.surrogates.utility import Utility
from mixopt.trials import Trials

SEEDS = 3
GRID = 200


def main() -> None:
    """Propose, train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    target, _ = load_target("six", out)
    target = target.pick(~target.own)
    names = [metric.name for metric in target.metrics]
    evaluator = evaluator_of("experts", out)
    rng = np.random.default_rng(0)
    grid = np.vstack([np.eye(6), rng.dirichlet(np.ones(6), GRID - 6)])
    mixed = [evaluator.scorer.read(evaluator.ensemble.mix(power(row, 0.5))) for row in grid]
    trials = to_trials(grid, table(mixed, names), target.metrics, "ensembled", "e")
    surrogate = fit(Trials(trials, target.metrics, DOMAINS), use_std_errors=False)
    best = propose(surrogate, SearchSpace(DOMAINS), seed=rng, explore=True)[0]
    scale = Utility.standardized(
        Trials(to_trials(target.ratios, target.truth, target.metrics, "trained", "t"),
               target.metrics, DOMAINS), target.metrics)  # fmt: skip
    trained = scale.of(target.truth)
    mixtures = {
        "proposal": best.ratios.vector(DOMAINS),
        "best of the 24": target.ratios[trained.argmax()],
        "natural": target.ratios[0],
    }
    print("| mixture | " + " | ".join(DOMAINS) + " | utility by seed | mean |")
    print("|---|" + "---|" * (len(DOMAINS) + 2))
    for name, ratios in mixtures.items():
        rows = score(name.split()[0], ratios, out, names)
        values = scale.of(rows)
        shares = " | ".join(f"{share:.0%}" for share in ratios)
        seeds = ", ".join(f"{value:+.2f}" for value in values)
        print(f"| {name} | {shares} | {seeds} | {values.mean():+.2f} |", flush=True)
    print(f"\nThe 24: best {trained.max():+.2f} (mean of two seeds, by which it was chosen), median "
          f"{np.median(trained):+.2f}, worst {trained.min():+.2f}.")  # fmt: skip


def score(name: str, ratios: np.ndarray, out: Path, names: list[str]) -> np.ndarray:
    """Return the scores (`seeds x m`) of runs on one mixture, trained now where they are missing."""
    row = dict(zip(DOMAINS, ratios.tolist(), strict=True))
    compositions = {f"final-{name}-{seed}": row for seed in range(SEEDS)}
    evaluator = open_trained(open_context({"compositions": compositions}, out))
    return table([evaluator.score(one)["merged"] for one in np.eye(SEEDS).tolist()], names)


if __name__ == "__main__":
    main()
