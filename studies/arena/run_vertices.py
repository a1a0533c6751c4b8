"""Tell what merges and ensembles of trained runs know of the mixtures between them.

    python studies/arena/run_vertices.py train A B C --out OUT
    python studies/arena/run_vertices.py score A B C --out OUT

The runs are those of `optimum.py` with seed 3000, at four units; `train` trains what OUT lacks of them.
For each target three mixtures lie exactly between two of them: 15% and 30% of natural with the best
ensemble at the default γ, and half of that with what merges recommend. `score` predicts each benchmark's
real difference from the first vertex in four ways, none of which has seen the run in between:

    gain model   experts' ensembles, corrected by the two runs (and by natural's, for pairs)
    line         the line between the two runs' scores
    merge        the merge of the two runs' weights
    ensemble     the ensemble of the two runs

and prints the rms error of each, and how much of the gain model's error the others explain.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from live import open_study
from optimum import FOLDER, KEPT, TARGET, asked
from pool import open_world, train_truth
from worlds import WORLDS, Utility, World

from mixopt import Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.evaluators import open_checkpoint_evaluator
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import RunSpec, name_mixture
from mixopt.pipeline.training_runs import mixture_run
from mixopt.surrogates.ensemble import GAMMA

SEED = 3000
LEADER = f"gamma {GAMMA}"
BETWEEN = {
    **{f"natural {share}": ("natural", share) for share in KEPT},
    "half merges": ("merges", 0.5),
}
"""Mixtures between a vertex and the leader, and the vertex' share."""
WAYS = ("gain model", "line", "merge", "ensemble")


def read_mixtures(world: World, utility: str) -> dict[str, Mixture]:
    """Return natural and the planned mixtures of a utility by their names in the plan."""
    found = json.loads((FOLDER / f"{world.name}.json").read_text())
    planned = {
        name: each["ratios"] for name, each in found["utilities"][utility]["mixtures"].items()
    }
    return {
        name: Mixture.from_vector(world.domains, Mixture(ratios).vector(world.domains))
        for name, ratios in {"natural": dict(world.natural), **planned}.items()
    }


def of_two(world: World) -> dict[str, Utility]:
    """Return the utilities of two capabilities, all of whose mixtures are trained."""
    return {name: utility for name, utility in asked(world).items() if name != "mean"}


def wanted(world: World) -> list[RunSpec]:
    """Return the runs whose weights are merged."""
    used = (LEADER, "natural", "merges")
    named = {
        name_mixture(mixture): mixture
        for utility in of_two(world)
        for name, mixture in read_mixtures(world, utility).items()
        if name in used
    }
    return [RunSpec(name, mixture, SEED, (TARGET,)) for name, mixture in named.items()]


def score_between(
    context: StudyContext, first: Mixture, second: Mixture, share: float
) -> dict[str, dict[str, float]]:
    """Return scores of the merge and of the ensemble of two runs, the first with a share."""
    runs = [
        mixture_run(context, name_mixture(each), each, SEED, (TARGET,)) for each in (first, second)
    ]
    evaluator = open_checkpoint_evaluator(context, [(run, run.plan.steps) for run in runs])
    found = evaluator.score([share, 1 - share])
    return {kind: {name: each.score for name, each in results.items()}
            for kind, results in found.items()}  # fmt: skip


def predict(world: World, out: Path) -> pd.DataFrame:
    """Return a row for each target, mixture in between and benchmark: real and predicted differences.

    All are gains over the leader's run, in the benchmark's spread at four units.
    """
    table = pd.read_csv(FOLDER / f"{world.name}.csv").set_index(["run", "seed"])
    rows = []
    for name, utility in of_two(world).items():
        study = open_study(world, out, utility.weights, search={"method": "ensemble"})
        trials, search = study.search(), study.open_search()
        gains = StudyGains(study.context, search, study.open_policy(), trials)
        names = [metric.name for metric in gains.metrics]
        spreads = gains.objective.spreads * gains.growth
        mixtures = read_mixtures(world, name)

        def scores_of(key: str) -> np.ndarray:
            row = table.loc[(name_mixture(mixtures[key]), SEED), names]  # noqa: B023
            return row.to_numpy(dtype=float)

        for key, (vertex, share) in BETWEEN.items():
            observed = [
                Observation(mixtures[each].vector(world.domains), SEED, TARGET, scores_of(each))
                for each in dict.fromkeys(("natural", LEADER, vertex))
            ]
            posterior = gains.condition(gains.observe(observed))
            asked_of = np.stack([mixtures[each].vector(world.domains) for each in (key, LEADER)])
            mean, _ = posterior.gains(gains.mixtures(asked_of, TARGET))
            combined = score_between(study.context, mixtures[vertex], mixtures[LEADER], share)
            leader, other = scores_of(LEADER), scores_of(vertex)
            told = {
                "real": (leader - scores_of(key)) / spreads,
                "gain model": (mean[0] - mean[1]) / gains.growth,
                "line": share * (leader - other) / spreads,
                "merge": (leader - [combined["merged"][n] for n in names]) / spreads,
                "ensemble": (leader - [combined["ensembled"][n] for n in names]) / spreads,
            }
            own = pd.DataFrame(told)
            weights = gains.objective.combinations()[0]
            rows.append(own.assign(world=world.name, utility=name, mixture=key, metric=names,
                                   weight=weights))  # fmt: skip
    return pd.concat(rows)


def show(frame: pd.DataFrame) -> None:
    """Print errors by benchmark and of the utility, and what is left of the gain model's error."""
    keys = ["world", "utility", "mixture"]
    columns = ["real", *WAYS]
    of_utility = (
        frame[columns].mul(frame.weight, axis=0).groupby([frame[key] for key in keys]).sum()
    )
    for title, told in (("benchmarks", frame), ("utilities", of_utility)):
        real = told["real"].to_numpy()
        own = told["gain model"].to_numpy()
        missed = real - own
        print(f"{len(real)} {title}: rms of the real difference {np.sqrt(np.mean(real**2)):.3f}")
        for way in WAYS:
            said = told[way].to_numpy()
            error = np.sqrt(np.mean((real - said) ** 2))
            line = f"  {way}: rms error {error:.3f}, bias {np.mean(real - said):+.3f}"
            if way != "gain model":
                # the share of the difference that the best combination takes over
                step = said - own
                share = float(step @ missed / (step @ step))
                rest = np.sqrt(np.mean((missed - share * step) ** 2))
                line += f"; best share of it {share:+.2f}, which leaves {rest:.3f}"
            print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["train", "score"])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    worlds = [WORLDS[name] for name in args.worlds]
    if args.verb == "train":
        for world in worlds:
            train_truth(open_world(world, args.out), wanted(world), FOLDER / f"{world.name}.csv")
        return
    show(pd.concat([predict(world, args.out) for world in worlds]))


if __name__ == "__main__":
    main()
