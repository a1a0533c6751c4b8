"""Train what methods recommend in a world, free to leave the pool, and tell what it really gains.

    python studies/arena/live.py advise WORLD --out OUT
    python studies/arena/live.py train WORLD --out OUT [--part 0/2] [--methods mixopt heuristic]
    python studies/arena/live.py score WORLD [WORLD ...]

`advise` asks every method for the mixture of two utilities, within 16 units of training, and writes
studies/arena/live/WORLD.json. `train` trains each mixture and natural to four units with three seeds
that no method has seen, goes on after a kill, and writes live/WORLD.csv. `score` prints the real gains
over natural, in the spread of each metric at four units, with a world as one observation.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pool import open_world, train_truth
from scipy import stats
from worlds import OWNER, UNIT, WORLDS, Utility, World, write_study

from mixopt import Mixture, SearchSpace, Trials, fit, propose
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.gains import StudyGains
from mixopt.pipeline.mixture_runs import RunSpec, name_mixture
from mixopt.study import Study
from mixopt.surrogates.surrogate import Surrogate

LIVE = Path(__file__).parent / "live"
TARGET = 4 * UNIT
BUDGET = 16
"""Units of training that a method may use."""
SEEDS = (2000, 2001, 2002)
"""Seeds of the truth; no study uses them."""
DRAWS, TOP = 100_000, 100
"""RegMix averages the best mixtures among so many."""
MERGES = 32
METHODS = {
    "mixopt": "mixopt: ensembles, gain model, budget",
    "heuristic": "person's heuristic",
    "runs": "surrogate on runs alone",
    "regmix": "LightGBM on the same runs, as RegMix",
    "mergemix": "LightGBM on merges, as MergeMix",
    "before": "surrogate on merges, as mixopt before",
}


def asked(world: World) -> dict[str, Utility]:
    """Return the two utilities: the mean of what has a domain, and a small and a large capability."""
    every = {utility.name: utility for utility in world.utilities()}
    lopsided = next(name for name in every if name.startswith("70 "))
    return {"mean": every["mean"], lopsided: every[lopsided]}


def open_study(world: World, out: Path, weights: dict[str, float], **sections: Any) -> Study:
    """Return the study of a utility in the world's folder of results, which shares its artifacts."""
    config = yaml.safe_load(write_study(world, out / world.name).read_text())
    zero = {item["capability"]: 0.0 for item in config["benchmarks"]}
    config["search"] |= {"capability_weights": zero | weights, **sections.pop("search", {})}
    path = out / world.name / "live.yaml"
    path.write_text(yaml.safe_dump(config | sections, sort_keys=False))
    return Study.load(path, out / world.name / "results", cache=out / "cache", device="cpu")


def advise(world: World, out: Path) -> dict[str, Any]:
    """Return what every method recommends for both utilities, and the unit of the gains."""
    space = SearchSpace(world.domains, prior=world.natural)
    any_weights = next(iter(asked(world).values())).weights
    trained = open_study(
        world, out, any_weights, search={"method": "regmix", "rounds": [BUDGET - 1]}
    ).search()
    merged = {
        response: open_study(
            world, out, any_weights,
            search={"method": "mergemix", "rounds": [MERGES], "response": response},
        ).search().where(kind="merged")
        for response in (1.0, 0.7)
    }  # fmt: skip
    found: dict[str, Any] = {"advice": {}}
    for name, utility in asked(world).items():
        study = open_study(
            world, out, utility.weights, search={"method": "ensemble"},
            budget={"runs": BUDGET, "confirmation": 0},
        )  # fmt: skip
        trials = study.search()
        bought = study.spend(trials=trials)
        decision = study.propose(trials)[0].decision
        assert decision is not None
        gains = StudyGains(study.context, study.open_search(), study.open_policy(), trials)
        objective = gains.objective
        names = [metric.name for metric in objective.metrics]
        scales = dict(zip(names, objective.spreads.tolist(), strict=True))
        found["spreads"] = {name: scale * gains.growth for name, scale in scales.items()}
        found["capability"] = {metric.name: metric.capability for metric in objective.metrics}

        def fitted(
            table: Trials, models: str, weights: Any = utility.weights, scales: Any = scales
        ) -> Surrogate:
            zero = dict.fromkeys((m.capability for m in table.metrics), 0.0)
            return fit(
                table, capability_weights=zero | weights, scales=scales, surrogates=models, seed=0
            )

        runs = propose(fitted(trained, "auto"), space, seed=0)[0].decision
        assert runs is not None
        found["advice"][name] = {
            "mixopt": {
                "ratios": dict(decision.candidate if decision.moves else decision.kept),
                "moves": decision.moves, "gain": decision.gain.mean, "sd": decision.gain.std_error,
                "own_weights": dict(zip(names, objective.combinations()[0].tolist(), strict=True)),
                "own_spreads": scales, "runs": len(bought),
            },
            "heuristic": {"ratios": guess(world, utility)},
            "runs": {"ratios": dict(runs.candidate if runs.moves else runs.kept),
                     "moves": runs.moves},
            "regmix": {"ratios": simulate(fitted(trained, "trees"), space)},
            "mergemix": {"ratios": simulate(fitted(merged[1.0], "trees"), space)},
            "before": {"ratios": dict(propose(fitted(merged[0.7], "auto"), space, seed=0,
                                              explore=True)[0].ratios)},
        }  # fmt: skip
    return found


def guess(world: World, utility: Utility) -> dict[str, float]:
    """Return half natural, half what resembles the target."""
    aim = dict.fromkeys(world.domains, 0.0)
    for name, weight in utility.weights.items():
        aim[OWNER[name] or ""] += weight
    return {name: (aim[name] + world.natural[name]) / 2 for name in world.domains}


def simulate(surrogate: Surrogate, space: SearchSpace) -> dict[str, float]:
    """Return the mean of the mixtures with the best prediction among many draws, as RegMix does."""
    drawn = WeightSpace.of_domains(space).sample(DRAWS, np.random.default_rng(0))
    best = np.argsort(-surrogate.expected_utility(drawn), kind="stable")[:TOP]
    return dict(zip(space.domains, drawn[best].mean(axis=0).tolist(), strict=True))


def mixtures(world: World, found: dict[str, Any], methods: list[str]) -> dict[str, Mixture]:
    """Return natural and what is recommended, by the name of the run."""
    chosen = [world.natural]
    for method in methods:
        chosen += [each[method]["ratios"] for each in found["advice"].values()]
    vectors = [Mixture(ratios).vector(world.domains) for ratios in chosen]
    rows = [Mixture.from_vector(world.domains, vector) for vector in vectors]
    return {name_mixture(row): row for row in rows}


def train(world: World, out: Path, methods: list[str], part: int, parts: int) -> None:
    """Train a part of the truth, and write the scores of all that is trained."""
    found = json.loads((LIVE / f"{world.name}.json").read_text())
    context = open_world(world, out)
    specs = [
        RunSpec(name, mixture, seed, (TARGET,))
        for seed in SEEDS
        for name, mixture in mixtures(world, found, methods).items()
    ]
    train_truth(context, specs[part::parts], LIVE / f"{world.name}.csv")


def score(worlds: list[World]) -> pd.DataFrame:
    """Return the real gain of each recommendation by seed, and what mixopt said of its own."""
    rows = []
    for world in worlds:
        found = json.loads((LIVE / f"{world.name}.json").read_text())
        table = pd.read_csv(LIVE / f"{world.name}.csv").set_index(["run", "seed"])
        names = list(found["spreads"])
        natural = name_mixture(Mixture.from_vector(world.domains, list(world.natural.values())))
        for utility, advice in found["advice"].items():
            shares = asked(world)[utility].weights
            kinds = pd.Series(found["capability"])
            weights = kinds.map(shares).fillna(0) / kinds.map(kinds.value_counts())
            for method, advised in advice.items():
                run = name_mixture(Mixture.from_vector(
                    world.domains, Mixture(advised["ratios"]).vector(world.domains)
                ))  # fmt: skip
                for seed in SEEDS:
                    if (run, seed) not in table.index or (natural, seed) not in table.index:
                        continue
                    lost = table.loc[(natural, seed), names] - table.loc[(run, seed), names]
                    gain = (lost / pd.Series(found["spreads"]) * weights[names]).sum()
                    row = {"world": world.name, "utility": utility, "method": method,
                           "seed": seed, "gain": gain}  # fmt: skip
                    if method == "mixopt":
                        own = lost / pd.Series(advised["own_spreads"])
                        row |= {
                            "own_gain": (own * pd.Series(advised["own_weights"])).sum(),
                            "said": advised["gain"], "said_sd": advised["sd"],
                            "moves": advised["moves"],
                        }  # fmt: skip
                    rows.append(row)
    return pd.DataFrame(rows)


def show(frame: pd.DataFrame) -> None:
    """Print gains by world and method, their one-sided limits over worlds, and z of what was said."""
    means = frame.groupby(["world", "utility", "method"]).gain.agg(["mean", "sem", "size"])
    print(means.unstack("method").round(2).to_string())
    # a method whose truth is not whole yet is compared where there is some
    gains = frame.set_index(["world", "utility", "seed", "method"]).gain.unstack("method")
    gains["natural"] = 0.0
    for method in gains.columns.drop("mixopt"):
        apart = (gains["mixopt"] - gains[method]).dropna()
        ahead = apart.groupby(["world", "utility"]).mean().groupby("world").mean()
        half = stats.t.ppf(0.975, len(ahead) - 1) * ahead.sem()
        limit = ahead.mean() - stats.t.ppf(0.95, len(ahead) - 1) * ahead.sem()
        print(f"mixopt ahead of {METHODS.get(method, method)}: {ahead.mean():+.3f} ± {half:.3f} (95%), "
              f"one-sided over {len(ahead)} worlds from {limit:+.3f} ({len(apart)} runs)")  # fmt: skip
    own = frame[frame.method == "mixopt"].groupby(["world", "utility"]).agg(
        real=("own_gain", "mean"), error=("own_gain", "sem"), said=("said", "first"),
        sd=("said_sd", "first"), moves=("moves", "first"),
    )  # fmt: skip
    own["z"] = (own.said - own.real) / np.hypot(own.sd, own.error)
    print(own.round(2).to_string())
    print(f"root mean square of z {np.sqrt(np.square(own.z).mean()):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["advise", "train", "score"])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    args = parser.parse_args()
    worlds = [WORLDS[name] for name in args.worlds]
    LIVE.mkdir(exist_ok=True)
    if args.verb == "score":
        show(score(worlds))
        return
    if args.out is None:
        parser.error("--out: name the folder of the pools")
    for world in worlds:
        if args.verb == "advise":
            found = advise(world, args.out)
            (LIVE / f"{world.name}.json").write_text(json.dumps(found, indent=1) + "\n")
        else:
            part, parts = map(int, args.part.split("/"))
            train(world, args.out, args.methods, part, parts)


if __name__ == "__main__":
    main()
