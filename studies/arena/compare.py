"""Every method on a world's problems at equal training tokens: what each recommends and really gains.

    python studies/arena/compare.py advise WORLD --out OUT [--methods olmix regmix] [--small]
    python studies/arena/compare.py train WORLD --out OUT [--part 0/2]
    python studies/arena/compare.py score WORLD [WORLD ...]

`advise` asks each method for the mixture of two utilities, within 1x (8 units) and 4x (32 units) of
training, experts included, with three seeds, and writes compare/WORLD.json after each. What it trains
is an artifact in OUT, so a killed `advise` goes on. A method that is one training, or that only combines
experts, gets longer ones from a larger budget. Each recommendation is judged by the gain model given
all runs of the world's pool too. `train` trains the recommendations and natural to four units
with three seeds that no method has seen, and writes compare/WORLD.csv. `score` prints the table: real
gains (nothing for what is not trained), judged gains in a column of their own, regret, cost, ranks.
`--small` replaces world and sizes by ones that take minutes, to try the commands.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import worlds
import yaml
from ask import HERE_ALONE, ask, ask_mixopt, fit_length
from worlds import OWNER, UNIT, WORLDS, Utility, World, write_study

from mixopt import Mixture
from mixopt.baselines.registry import METHODS
from mixopt.config.study import TRAINS_NOTHING
from mixopt.errors import MixoptError, one_line
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import RunSpec, ScoredRun, name_mixture, train_runs
from mixopt.study import Study

FOLDER = Path(__file__).parent / "compare"
BUDGETS = {"1x": 8, "4x": 32}
"""Units of training that a method may use, experts included."""
SEEDS = (0, 1, 2)
"""Of a method's draws, and of the order of text in what it trains."""
TRUTH_SEEDS = (2000, 2001, 2002)
"""Seeds of the truth; no method uses them."""
LENGTH = 4
"""Units of training at which gains are stated."""
FREE = ("natural", "uniform", "heuristic")
NAMES = (*FREE, "mixopt", *HERE_ALONE, *METHODS)
ONCE = (*FREE, "mixopt")
"""Methods without draws of their own: one seed."""
ONLY_EXPERTS = ("mergemix", *TRAINS_NOTHING)
"""Methods that train nothing beside experts."""
RESAMPLES = 2000
SMALL = World("small", {"math": 0.5, "code": 0.3, "legal": 0.2}, 30, seed=7)


@dataclass(frozen=True)
class Scale:
    """Sizes of the trainings.

    Attributes:
        unit: Tokens of a run of length 1.
        small: Whether texts and benchmarks are cut too.
    """

    unit: int = UNIT
    small: bool = False

    def open_study(self, world: World, out: Path, name: str, **sections: Any) -> Study:
        """Return a study of the world, which shares its artifacts with the others in the folder."""
        if self.small:
            worlds.ITEMS = 8
        config = yaml.safe_load(write_study(world, out / world.name).read_text())
        training = {"tokens": self.unit} | sections.pop("training", {})
        # the same experts whatever the length of the runs
        config["training"] |= {"expert_tokens": self.unit // 2} | training
        config["target"]["tokens"] = max(LENGTH * self.unit, training["tokens"])
        config["search"] |= sections.pop("search", {})
        if self.small:
            for expert in config["experts"]:
                expert["text"]["tokens"] = 20 * LENGTH * self.unit
            owned = world.owned
            config["benchmarks"] = [b for b in config["benchmarks"] if b["capability"] in owned]
        path = out / world.name / f"compare-{name}.yaml"
        path.write_text(yaml.safe_dump(config | sections, sort_keys=False))
        return Study.load(path, out / world.name / "results", cache=out / "cache", device="cpu")


def asked(world: World) -> dict[str, Utility]:
    """Return the two utilities: the mean of what has a domain, and a small and a large capability."""
    every = {utility.name: utility for utility in world.utilities()}
    lopsided = next(name for name in every if name.startswith("70 "))
    return {"mean": every["mean"], lopsided: every[lopsided]}


def weigh(world: World, utility: Utility, scale: Scale) -> dict[str, float]:
    """Return the weight of each capability of the study, 0 for those that the utility leaves out."""
    present = world.owned if scale.small else tuple(OWNER)
    return dict.fromkeys(present, 0.0) | utility.weights


# --- advice ------------------------------------------------------------------------------------


def advise(
    world: World, out: Path, scale: Scale, asked_of: argparse.Namespace, path: Path
) -> Iterator[dict[str, Any]]:
    """Ask what is not asked yet; write and yield each answer."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found = {"unit": scale.unit, "coefficients": {}, "advice": []} | found
    done = {key_of(each) for each in found["advice"]}
    for name, utility in asked(world).items():
        if name not in (asked_of.utilities or asked(world)):
            continue
        weights = weigh(world, utility, scale)
        judge = Judge(world, out, scale, weights)
        found["coefficients"][name] = judge.coefficients
        for budget, method in product(asked_of.budgets, asked_of.methods):
            for seed in asked_of.seeds[:1] if method in ONCE else asked_of.seeds:
                row = {"utility": name, "budget": budget, "method": method, "seed": seed}
                if key_of(row) in done:
                    continue
                row |= answer(world, out, scale, weights, row, utility)
                if "ratios" in row:
                    row |= judge(row["ratios"])
                found["advice"].append(row)
                path.write_text(json.dumps(found, indent=1) + "\n")
                yield row


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("utility", "budget", "method", "seed"))


def answer(
    world: World,
    out: Path,
    scale: Scale,
    weights: dict[str, float],
    row: dict[str, Any],
    utility: Utility,
) -> dict[str, Any]:
    """Return ratios, units of training and minutes beside training, or why there are none."""
    method, units = row["method"], BUDGETS[row["budget"]]
    if method in FREE:
        return {"ratios": free(world, utility)[method], "units": 0.0, "minutes": 0.0}
    sections: dict[str, Any] = {"search": {"method": "ensemble", "capability_weights": weights}}
    if method == "mixopt":
        sections["budget"] = {"runs": units, "confirmation": 0}
    elif method in METHODS and METHODS[method]().need == "online":
        # they are one training, so a larger budget is a longer one
        plain = scale.open_study(world, out, method, search=dict(sections["search"]))
        try:
            sections["training"] = {"tokens": fit_length(plain, method, units * scale.unit)}
        except MixoptError as error:
            return {"why": one_line(error)}
    elif method in ONLY_EXPERTS:
        each = units * scale.unit // len(world.domains)
        sections["training"] = {"tokens": max(scale.unit, each), "expert_tokens": each}
        if method == "op-mix":  # its probes keep a tenth of the old mixture
            sections["training"]["anchor_share"] = 0.1
    study = scale.open_study(world, out, method, **sections)
    start = time.monotonic()
    try:
        if method == "mixopt":
            mixture, tokens, training = ask_mixopt(study)
        else:
            mixture, tokens, training = ask(study, method, units * scale.unit, row["seed"])
    except MixoptError as error:
        return {"why": one_line(error)}
    minutes = (time.monotonic() - start - training) / 60
    return {"ratios": dict(mixture), "units": tokens / scale.unit, "minutes": minutes}


def free(world: World, utility: Utility) -> dict[str, dict[str, float]]:
    """Return what costs nothing: natural, uniform, and half of what resembles the target."""
    d, natural = len(world.domains), world.natural
    aim = dict.fromkeys(world.domains, 0.0)
    for name, weight in utility.weights.items():
        aim[OWNER[name] or ""] += weight
    return {
        "natural": dict(natural),
        "uniform": dict.fromkeys(world.domains, 1 / d),
        "heuristic": {name: (aim[name] + natural[name]) / 2 for name in world.domains},
    }


class Judge:
    """Tells the gain of any mixture by the gain model, given all runs of the world's pool.

    Args:
        world: The world; without a pool, ensembles alone tell.
        out: Folder of the artifacts.
        scale: Sizes.
        weights: Of the capabilities.

    Attributes:
        coefficients: Gain by unit of each benchmark's score, in the unit that gains are stated in.
    """

    def __init__(self, world: World, out: Path, scale: Scale, weights: dict[str, float]) -> None:
        study = scale.open_study(
            world, out, "judge", search={"method": "ensemble", "capability_weights": weights}
        )
        trials = study.search()
        search, policy = study.open_search(), study.open_policy()
        self._gains = StudyGains(study.context, search, policy, trials)
        self._domains, self._tokens = study.config.domains, LENGTH * scale.unit
        objective = self._gains.objective
        self._combination = objective.combinations()[:1]
        names = [metric.name for metric in objective.metrics]
        share = self._combination[0] / objective.spreads
        self.coefficients = dict(zip(names, share.tolist(), strict=True))
        observed = [] if scale.small else list_pool(world, names)
        self._posterior = self._gains.condition(self._gains.observe(observed))

    def __call__(self, ratios: dict[str, float]) -> dict[str, float]:
        """Return expected gain and standard deviation of a mixture."""
        row = Mixture(ratios).vector(self._domains)
        asked = self._gains.mixtures(row[None], self._tokens)
        mean, covariance = self._posterior.gains(asked, self._combination)
        sd = float(np.sqrt(max(covariance.ravel()[0], 0.0)))
        return {"judged": float(mean[0, 0]), "judged_sd": sd}


def list_pool(world: World, names: list[str]) -> list[Observation]:
    """Return the runs of a world's pool at all lengths, with the scores of whole items."""
    path = Path(__file__).parent / "pool" / world.name / "runs.csv"
    if not path.exists():
        return []
    table = pd.read_csv(path)
    columns = [f"{name}.item" for name in names]
    return [
        Observation(world.compositions[row["run"]], int(row["seed"]), int(row["tokens"]),
                    row[columns].to_numpy(dtype=float))
        for _, row in table[table["run"] != "base"].iterrows()
    ]  # fmt: skip


# --- truth -------------------------------------------------------------------------------------


def run_name(world: World, ratios: dict[str, float]) -> str:
    """Return the name of a mixture's run, the same for the same ratios."""
    return name_mixture(as_mixture(world, ratios))


def as_mixture(world: World, ratios: dict[str, float]) -> Mixture:
    return Mixture.from_vector(world.domains, Mixture(ratios).vector(world.domains))


def train(
    world: World,
    out: Path,
    scale: Scale,
    found: dict[str, Any],
    wanted: argparse.Namespace,
    path: Path,
) -> None:
    """Train a part of the truth; write the scores of each run."""
    context = scale.open_study(world, out, "judge", search={"method": "ensemble"}).prepare()
    chosen = [world.natural, *(row["ratios"] for row in found["advice"] if "ratios" in row)]
    mixtures = {run_name(world, ratios): as_mixture(world, ratios) for ratios in chosen}
    tokens = LENGTH * scale.unit
    specs = [
        RunSpec(f"truth-{name}-{seed}", mixture, seed, (tokens,))
        for seed in wanted.truth_seeds
        for name, mixture in mixtures.items()
    ]
    number, parts = map(int, wanted.part.split("/"))
    for spec, scored in train_runs(context, specs[number::parts]):
        name = run_name(world, dict(spec.ratios))
        row: dict[str, Any] = {"run": name, "seed": spec.seed}
        if isinstance(scored, ScoredRun):
            results = context.scorer.read(scored.logprobs[max(scored.logprobs)])
            row |= {metric: result.score for metric, result in results.items()}
        else:
            print(f"{name} with seed {spec.seed} failed: {one_line(scored)}", flush=True)
            continue
        # the other part writes to the same table
        old = pd.read_csv(path) if path.exists() else pd.DataFrame()
        table = pd.concat([old, pd.DataFrame([row])]).drop_duplicates(["run", "seed"], keep="last")
        table.sort_values(["seed", "run"]).to_csv(path, index=False, float_format="%.6f")
        print(f"{name} {spec.seed}", flush=True)


def read_gains(world: World, folder: Path) -> pd.DataFrame:
    """Return a row for each advice: judged gain, and real gain (NaN where it is not trained)."""
    found = json.loads((folder / f"{world.name}.json").read_text())
    path = folder / f"{world.name}.csv"
    truth = pd.read_csv(path).set_index(["run", "seed"]) if path.exists() else None
    natural, rows = run_name(world, world.natural), []
    for row in found["advice"]:
        if "ratios" not in row:
            continue
        own = {name: row[name] for name in ("utility", "budget", "method", "seed", "units",
                                            "minutes", "judged", "judged_sd")}  # fmt: skip
        run, coefficients = (
            run_name(world, row["ratios"]),
            pd.Series(found["coefficients"][row["utility"]]),
        )
        gains = []
        for seed in () if truth is None else sorted(set(truth.index.get_level_values("seed"))):
            if (run, seed) in truth.index and (natural, seed) in truth.index:
                names = list(coefficients.index)
                lost = truth.loc[(natural, seed), names] - truth.loc[(run, seed), names]
                gains.append(float((lost * coefficients).sum()))
        own["real"] = float(np.mean(gains)) if gains else np.nan
        rows.append({"world": world.name, **own})
    return pd.DataFrame(rows)


def tabulate(frame: pd.DataFrame, unit_seconds: float) -> pd.DataFrame:
    """Return the table of methods: gains ± standard errors over problems, regret, cost and ranks.

    A problem is a utility of a world at one budget; seeds of a method are averaged first. Regret is
    against the best gain that any method has for the utility at any budget, by real gains where all are
    trained, else by judged ones. Ranks are within a problem, with 95% intervals from resampled problems.

    Args:
        frame: Rows of `read_gains` of all worlds.
        unit_seconds: Seconds that a unit of training takes.
    """
    keys = ["world", "utility", "budget", "method"]
    means = frame.groupby(keys)[["real", "judged", "units", "minutes"]].mean().reset_index()
    means["minutes"] += means.units * unit_seconds / 60
    whole = means.groupby(["world", "utility"]).real.transform(lambda real: real.notna().all())
    means["known"] = np.where(whole, means.real, means.judged)
    best = means.groupby(["world", "utility"]).known.transform("max")
    means["regret"] = best - means.known
    means["rank"] = means.groupby(["world", "utility", "budget"]).known.rank(ascending=False)
    rng, rows = np.random.default_rng(0), []
    for (budget, method), own in means.groupby(["budget", "method"]):
        drawn = own["rank"].to_numpy()[rng.integers(len(own), size=(RESAMPLES, len(own)))]
        low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
        rows.append({
            "budget": budget, "method": method, "problems": len(own), "real": own.real.mean(),
            "se": own.real.sem(), "judged": own.judged.mean(), "judged_se": own.judged.sem(),
            "regret": own.regret.mean(), "units": own.units.mean(), "minutes": own.minutes.mean(),
            "rank": own["rank"].mean(), "low": low, "high": high,
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values(["budget", "rank"])


def main(argv: list[str] | None = None, notify: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["advise", "train", "score"])
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=", ".join(WORLDS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--methods", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--truth-seeds", nargs="+", type=int, default=list(TRUTH_SEEDS))
    parser.add_argument("--utilities", nargs="+", help="names of utilities; both if left out")
    parser.add_argument(
        "--unit-seconds",
        type=float,
        default=26.0,
        help="seconds that a unit of training takes, for the minutes of the table",
    )
    args = parser.parse_args(argv)
    scale = Scale(8 * 1536, small=True) if args.small else Scale()
    chosen = [SMALL] if args.small else [WORLDS[n] for n in args.worlds if n in WORLDS]
    if not chosen or (not args.small and len(chosen) < len(args.worlds)):
        parser.error(f"name worlds among {', '.join(WORLDS)}, or give --small")
    if args.out is None and (args.small or args.verb != "score"):
        parser.error("--out: name the folder of the pools")
    folder = args.out / "compare" if args.small else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if args.verb == "score":
        frame = pd.concat([read_gains(world, folder) for world in chosen])
        notify(tabulate(frame, args.unit_seconds).round(2).to_string(index=False))
        return
    for world in chosen:
        path = folder / f"{world.name}.json"
        if args.verb == "advise":
            for row in advise(world, args.out, scale, args, path):
                said = ", ".join(f"{r:.0%} {name}" for name, r in row.get("ratios", {}).items())
                what = " ".join(map(str, key_of(row)))
                notify(f"{what}: {said or row['why']}")
            continue
        table = folder / f"{world.name}.csv"
        train(world, args.out, scale, json.loads(path.read_text()), args, table)


if __name__ == "__main__":
    main()
