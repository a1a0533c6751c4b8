"""The mixture that the tool proposes from the experts alone, trained beside the best and natural ones.

python studies/rank-fidelity/proposal.py --out OUT

The proposal maximises the utility of the benchmarks that are no domain's own, as the ensemble with the
response map λ^0.5 tells it (200 mixtures). It, the best of the 24 by training and the natural one are
trained with three seeds each and scored.
"""

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
from fidelity import load_target, table, to_trials
from runs import DOMAINS, laboratory_of
from scores import power, swarm_of

from mixopt.optimization.optimize import propose
from mixopt.search_space import SearchSpace
from mixopt.surrogates.fit import fit
from mixopt.surrogates.utility import Utility
from mixopt.trials import Trials

SEEDS = 3
GRID = 200


def main() -> None:
    """Proposes, trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    target, _ = load_target("six", out)
    target = target.pick(~target.own)
    names = [metric.name for metric in target.metrics]
    swarm = swarm_of("experts", out)
    rng = np.random.default_rng(0)
    grid = np.vstack([np.eye(6), rng.dirichlet(np.ones(6), GRID - 6)])
    mixed = [swarm.scorer.read(swarm.ensemble.mix(power(row, 0.5))) for row in grid]
    told = to_trials(grid, table(mixed, names), target.metrics, "ensembled", "e")
    surrogate = fit(Trials(told, target.metrics, DOMAINS), use_std_errors=False)
    best = propose(surrogate, SearchSpace(DOMAINS), seed=rng)[0]
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
    print(f"\nThe 24: best {trained.max():+.2f} (mean of two seeds; chosen for it), median "
          f"{np.median(trained):+.2f}, worst {trained.min():+.2f}.")  # fmt: skip


def score(name: str, ratios: np.ndarray, out: Path, names: list[str]) -> np.ndarray:
    """Scores (`seeds x m`) of a mixture that is trained now, or found."""
    lab = laboratory_of("experts", out)
    row = dict(zip(DOMAINS, ratios.tolist(), strict=True))
    compositions = {f"final-{name}-{seed}": row for seed in range(SEEDS)}
    training = lab.recipe.training.model_copy(update={"compositions": compositions})
    lab.recipe = lab.recipe.model_copy(update={"training": training})
    swarm = lab.open_swarm([lab.train_expert(each).folder for each in compositions])
    return table([swarm.score(row.tolist())["merged"] for row in np.eye(SEEDS)], names)


if __name__ == "__main__":
    main()
