"""Where the best mixture lies, between the optimum of the ensembles and natural, really trained.

    python studies/arena/optimum.py plan A B C --out OUT
    python studies/arena/optimum.py merges A B C --out OUT
    python studies/arena/optimum.py train A B C --out OUT --seeds 3000 [--part 0/2]
    python studies/arena/optimum.py train A B C --out OUT --seeds 3001 --only "gamma 0.6" "gamma 0.8"
    python studies/arena/optimum.py train A B C --out OUT --utilities mean --only "gamma 0.6" merges
    python studies/arena/optimum.py score A B C

`plan` finds the best ensemble for two targets of two capabilities and the mean of all in a world, at
several γ, and mixtures of the one at the default γ with natural, and adds what optimum/WORLD.json lacks.
`merges` adds the best mixture by a surrogate on 32 merges (λ^.7), and the one half-way to it from the
best ensemble at the default γ. `train` trains them, or some, and natural to four units with seeds
that nothing else has, one seed of all worlds after the other, and writes optimum/WORLD.csv. `score`
prints real gains over natural in spreads at four units.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from live import MERGES, open_study
from pool import open_world, train_truth
from worlds import LENGTHS, WORLDS, Utility, World

from mixopt import Mixture, SearchSpace, fit, propose
from mixopt.optimization.ensemble_search import EnsembleSearch
from mixopt.pipeline.ensemble_scores import ensemble_losses
from mixopt.pipeline.gains import StudyGains
from mixopt.pipeline.mixture_runs import RunSpec, name_mixture
from mixopt.surrogates.ensemble import GAMMA

FOLDER = Path(__file__).parent / "optimum"
GAMMAS = (0.6, 0.8, 1.0)
KEPT = (0.15, 0.3)
"""Shares of natural in mixtures of it with the optimum at the default γ."""
SEEDS = (3000, 3001)
TARGET = LENGTHS[-1]


def asked(world: World) -> dict[str, Utility]:
    """Return the utilities of two capabilities, 70 to 30 and half each, and the mean of all."""
    every = {utility.name: utility for utility in world.utilities()}
    return {n: u for n, u in every.items() if n.startswith("70 ") or " and " in n or n == "mean"}


def plan(world: World, out: Path, found: dict[str, Any]) -> None:
    """Add the mixtures of each utility, what ensembles say of them, and the unit of the gains."""
    natural = np.array(list(world.natural.values()))
    for name, utility in asked(world).items():
        if name in found["utilities"]:
            continue
        study = open_study(world, out, utility.weights, search={"method": "ensemble"})
        trials, search = study.search(), study.open_search()
        gains = StudyGains(study.context, search, study.open_policy(), trials)
        metrics, objective, space = gains.metrics, gains.objective, search.space
        start = space.weights_for(natural)[0]
        search_at = EnsembleSearch(ensemble_losses(search, metrics), objective.utility(
            gains.proxy_scores(natural[None])[0][0]), space, GAMMA)  # fmt: skip
        chosen = {}
        for gamma in GAMMAS:
            best = replace(search_at, gamma=gamma).maximize([start])
            chosen[f"gamma {gamma}"] = space.ratios(best[None])[0]
        leader = chosen[f"gamma {GAMMA}"]
        for share in KEPT:
            chosen[f"natural {share}"] = share * natural + (1 - share) * leader
        said = gains.mixtures(np.stack(list(chosen.values())), TARGET).proxy_gains
        weights = objective.combinations()[0]
        found["utilities"][name] = {
            "weights": dict(zip([m.name for m in metrics], weights.tolist(), strict=True)),
            "spreads": dict(
                zip([m.name for m in metrics], objective.spreads.tolist(), strict=True)
            ),
            "growth": gains.growth,
            "mixtures": {
                key: {"ratios": dict(zip(world.domains, row.tolist(), strict=True)),
                      "ensemble": float(weights @ own * gains.growth)}
                for (key, row), own in zip(chosen.items(), said, strict=True)
            },
        }  # fmt: skip


def add_merges(world: World, out: Path, found: dict[str, Any]) -> None:
    """Add what a surrogate on merges recommends for each utility, and its mean with the ensembles."""
    space = SearchSpace(world.domains, prior=world.natural)
    for name, utility in asked(world).items():
        own = found["utilities"][name]
        if "merges" in own["mixtures"]:
            continue
        study = open_study(
            world, out, utility.weights,
            search={"method": "mergemix", "rounds": [MERGES], "response": 0.7},
        )  # fmt: skip
        merged = study.search().where(kind="merged")
        zero = dict.fromkeys((m.capability for m in merged.metrics), 0.0)
        surrogate = fit(
            merged, capability_weights=zero | utility.weights, scales=own["spreads"],
            surrogates="auto", seed=0,
        )  # fmt: skip
        best = propose(surrogate, space, seed=0, explore=True)[0].ratios
        leader = own["mixtures"][f"gamma {GAMMA}"]["ratios"]
        half = {domain: (best[domain] + leader[domain]) / 2 for domain in world.domains}
        for key, ratios in (("merges", dict(best)), ("half merges", half)):
            own["mixtures"][key] = {"ratios": ratios, "ensemble": None}


def mixtures(
    world: World, found: dict[str, Any], only: list[str] | None, utilities: list[str] | None
) -> dict[str, Mixture]:
    """Return natural and the planned mixtures, or some of them, by the name of the run."""
    planned = [each["ratios"] for utility, own in found["utilities"].items()
               if utilities is None or utility in utilities
               for name, each in own["mixtures"].items() if only is None or name in only]  # fmt: skip
    rows = [_mixture(world, ratios) for ratios in (world.natural, *planned)]
    return {name_mixture(row): row for row in rows}


def _mixture(world: World, ratios: dict[str, float]) -> Mixture:
    return Mixture.from_vector(world.domains, Mixture(ratios).vector(world.domains))


def train(world: World, seed: int, asked_of: argparse.Namespace) -> None:
    """Train a part of the mixtures with one seed, and write the scores of all that is trained."""
    found = json.loads((FOLDER / f"{world.name}.json").read_text())
    context = open_world(world, asked_of.out)
    every = mixtures(world, found, asked_of.only, asked_of.utilities).items()
    part, parts = map(int, asked_of.part.split("/"))
    specs = [RunSpec(name, mixture, seed, (TARGET,)) for name, mixture in every][part::parts]
    train_truth(context, specs, FOLDER / f"{world.name}.csv")


def score(worlds: list[World]) -> pd.DataFrame:
    """Return the real gain of each mixture by seed, and what ensembles say of it."""
    rows = []
    for world in worlds:
        found = json.loads((FOLDER / f"{world.name}.json").read_text())
        table = pd.read_csv(FOLDER / f"{world.name}.csv").set_index(["run", "seed"])
        natural = name_mixture(_mixture(world, world.natural))
        for name, own in found["utilities"].items():
            weights, spreads = pd.Series(own["weights"]), pd.Series(own["spreads"])
            for key, each in own["mixtures"].items():
                run = name_mixture(_mixture(world, each["ratios"]))
                for seed in SEEDS:
                    if (run, seed) not in table.index or (natural, seed) not in table.index:
                        continue
                    lost = table.loc[(natural, seed)] - table.loc[(run, seed)]
                    gain = float((lost[weights.index] / spreads * weights).sum())
                    rows.append({"world": world.name, "utility": name, "mixture": key,
                                 "seed": seed, "real": gain, "ensemble": each["ensemble"]})  # fmt: skip
    return pd.DataFrame(rows)


def show(frame: pd.DataFrame) -> None:
    """Print gains by utility, and each mixture's lead over the default's optimum."""
    means = frame.groupby(["world", "utility", "mixture"])[["real", "ensemble"]].mean()
    print(means.unstack("mixture").round(2).to_string())
    gains = frame.set_index(["world", "utility", "seed", "mixture"]).real.unstack("mixture")
    for name in gains.columns.drop(f"gamma {GAMMA}"):
        apart = (gains[name] - gains[f"gamma {GAMMA}"]).dropna()
        ahead = apart.groupby(["world", "utility"]).mean()
        print(f"{name}: ahead of γ {GAMMA} by {ahead.mean():+.3f} ± {ahead.sem():.3f} over "
              f"{len(ahead)} targets; by world "
              f"{ahead.groupby('world').mean().round(3).to_dict()}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["plan", "merges", "train", "score"])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--only", nargs="+", help="names of mixtures; all if left out")
    parser.add_argument("--utilities", nargs="+", help="names of utilities; all if left out")
    args = parser.parse_args()
    worlds = [WORLDS[name] for name in args.worlds]
    if args.verb == "score":
        show(score(worlds))
        return
    if args.out is None:
        parser.error("--out: name the folder of the pools")
    FOLDER.mkdir(exist_ok=True)
    if args.verb in ("plan", "merges"):
        add = plan if args.verb == "plan" else add_merges
        for world in worlds:
            path = FOLDER / f"{world.name}.json"
            found = json.loads(path.read_text()) if path.exists() else {"utilities": {}}
            add(world, args.out, found)
            path.write_text(json.dumps(found, indent=1) + "\n")
        return
    for seed in args.seeds:
        for world in worlds:
            train(world, seed, args)


if __name__ == "__main__":
    main()
