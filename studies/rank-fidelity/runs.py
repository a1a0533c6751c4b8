"""Train the runs of the rank-fidelity experiment: variants of the experts, and mixtures.

python studies/rank-fidelity/runs.py --out OUT [--part 0/2] [SET ...]

A set is a group of runs that start from the same base: `six` (24 mixtures of six domains, two seeds
each), `without-…` (12 mixtures of the four other domains), `three-…` (12 of three), `experts` and its
variants. Runs are kept in OUT/artifacts; a finished run is not trained again. Two processes with
`--part 0/2` and `--part 1/2` share the work.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.config.loader import load_study
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.experts import train_base
from mixopt.pipeline.training_runs import build_run, expert_run
from mixopt.study import Study
from mixopt.training.training_run import TrainingResult

HERE = Path(__file__).parent
DOMAINS = ("biomedical", "code", "dialogue", "legal", "literature", "math")
SEEDS = 2
HELD_OUT = (("math", "biomedical"), ("legal", "literature"), ("dialogue", "code"))
"""Pairs of corpora that are left out of mixtures in turn."""
THREE = (("math", "legal", "dialogue"),)

EXPERTS = {
    "experts": {},
    "experts-anchored-0.5": {"anchor_share": 0.5},
    "experts-anchored-0.25": {"anchor_share": 0.25},
    "experts-0.5x": {"tokens": 150_000},
    "experts-2x": {"tokens": 600_000},
    "experts-0.25x": {"tokens": 75_000},
    "experts-decayed": {"schedule": "linear", "average_checkpoints": 1},
    "experts-last": {"average_checkpoints": 1},
    "experts-0.5x-decayed": {"tokens": 150_000, "schedule": "linear", "average_checkpoints": 1},
    "experts-2x-decayed": {"tokens": 600_000, "schedule": "linear", "average_checkpoints": 1},
    "experts-0.25x-decayed": {"tokens": 75_000, "schedule": "linear", "average_checkpoints": 1},
}
"""Sets with one expert per domain: changes to the config's `training` section."""


def mixtures() -> dict[str, np.ndarray]:
    """Return mixtures (`n x 6`) by set: uniform draws from the simplex over the set's domains."""
    sets = {"six": draw(DOMAINS, 24, seed=1)}
    sets["six"][0] = 1 / 6
    for number, pair in enumerate(HELD_OUT):
        others = tuple(name for name in DOMAINS if name not in pair)
        sets["without-" + "-".join(pair)] = draw(others, 12, seed=10 + number)
    for number, three in enumerate(THREE):
        sets["three-" + "-".join(three)] = draw(three, 12, seed=20 + number)
    return sets


def draw(domains: tuple[str, ...], n: int, *, seed: int) -> np.ndarray:
    """Return `n` draws from Dirichlet(1) over some of the domains; the others have ratio 0."""
    rows = np.zeros((n, len(DOMAINS)))
    places = [DOMAINS.index(name) for name in domains]
    rows[:, places] = np.random.default_rng(seed).dirichlet(np.ones(len(domains)), size=n)
    return rows


def open_context(changes: Mapping[str, Any], out: Path) -> StudyContext:
    """Return a study with changes to its `training` section; its base is trained if it is missing."""
    config = load_study(HERE / "rank-fidelity.yaml")
    training = type(config.training).model_validate(config.training.model_dump() | changes)
    config = config.model_copy(update={"training": training})
    context = Study(config, out, cache=out / "cache", device="cpu").prepare()
    train_base(context)
    return context


def context_of(name: str, out: Path) -> StudyContext:
    """Return the study whose experts are the runs of a set."""
    if name in EXPERTS:
        return open_context(EXPERTS[name], out)
    compositions = {
        f"{name}-{index:02d}-{seed}": dict(zip(DOMAINS, row.tolist(), strict=True))
        for index, row in enumerate(mixtures()[name])
        for seed in range(SEEDS)
    }
    return open_context({"compositions": compositions}, out)


def train_run(context: StudyContext, name: str) -> TrainingResult:
    """Return a run of a set, trained now unless it is in the store."""
    return build_run(context, expert_run(context, name))


def train(
    names: list[str], out: Path, part: int, parts: int
) -> Iterator[tuple[str, TrainingResult]]:
    """Train the runs of the sets: each `parts`-th one from the `part`-th on."""
    runs = chain.from_iterable(
        ((context, name) for name in context.compositions)
        for context in (context_of(name, out) for name in names)
    )
    for index, (context, name) in enumerate(runs):
        if index % parts == part:
            yield name, train_run(context, name)


def main() -> None:
    """Train the named sets, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("sets", nargs="*")
    args = parser.parse_args()
    part, parts = map(int, args.part.split("/"))
    names = args.sets or [*EXPERTS, *mixtures()]
    for name, trained in train(names, args.out, part, parts):
        print(f"{name}: loss {trained.outcome.losses[-1][1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
