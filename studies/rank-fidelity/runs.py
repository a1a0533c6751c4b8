"""Trains what the study of rank fidelity stands on: experts of several kinds, and mixtures.

python studies/rank-fidelity/runs.py --out OUT [--part 0/2] [SET ...]

A set is a group of trainings from the one base: `six` (24 mixtures of six domains, two seeds each),
`without-…` (12 mixtures of the four other domains), `three-…` (12 of three), `experts` and its
variants. Everything is kept in OUT/journal; what is there is not trained again. Two processes with
`--part 0/2` and `--part 1/2` share the work.
"""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.study import StudyConfig
from mixopt.pipeline.laboratory import Laboratory
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
"""One expert per domain, by what differs from the recipe's training."""


def mixtures() -> dict[str, np.ndarray]:
    """Mixtures (`n x 6`) by set: uniform draws from the simplex over the domains that take part."""
    sets = {"six": draw(DOMAINS, 24, seed=1)}
    sets["six"][0] = 1 / 6
    for number, pair in enumerate(HELD_OUT):
        others = tuple(name for name in DOMAINS if name not in pair)
        sets["without-" + "-".join(pair)] = draw(others, 12, seed=10 + number)
    for number, three in enumerate(THREE):
        sets["three-" + "-".join(three)] = draw(three, 12, seed=20 + number)
    return sets


def draw(domains: tuple[str, ...], n: int, *, seed: int) -> np.ndarray:
    """`n` draws from Dirichlet(1) over some of the domains; the others have no share."""
    rows = np.zeros((n, len(DOMAINS)))
    places = [DOMAINS.index(name) for name in domains]
    rows[:, places] = np.random.default_rng(seed).dirichlet(np.ones(len(domains)), size=n)
    return rows


def load(out: Path) -> tuple[StudyConfig, ArtifactStore]:
    """The recipe, and the journal in `out`."""
    return load_study(HERE / "rank-fidelity.yaml"), ArtifactStore(out / "journal")


def laboratory_of(name: str, out: Path) -> Laboratory:
    """What trains the set called `name`."""
    recipe, journal = load(out)
    if name in EXPERTS:
        changes = EXPERTS[name]
    else:
        rows = mixtures()[name]
        changes = {
            "compositions": {
                f"{name}-{index:02d}-{seed}": dict(zip(DOMAINS, row.tolist(), strict=True))
                for index, row in enumerate(rows)
                for seed in range(SEEDS)
            }
        }
    training = type(recipe.training).model_validate(recipe.training.model_dump() | changes)
    recipe = recipe.model_copy(update={"training": training})
    return Laboratory(recipe, journal, cache=ArtifactStore(out / "cache"), device="cpu")


def train(
    names: list[str], out: Path, part: int, parts: int
) -> Iterator[tuple[str, TrainingResult]]:
    """The trainings of the sets, each `parts`-th one from the `part`-th on."""
    work = chain.from_iterable(
        ((lab, name) for name in lab.compositions)
        for lab in (laboratory_of(name, out) for name in names)
    )
    for index, (lab, name) in enumerate(work):
        if index % parts == part:
            yield name, lab.train_expert(name)


def main() -> None:
    """Trains the sets that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("sets", nargs="*")
    told = parser.parse_args()
    part, parts = map(int, told.part.split("/"))
    names = told.sets or [*EXPERTS, *mixtures()]
    for name, trained in train(names, told.out, part, parts):
        print(f"{name}: loss {trained.outcome.losses[-1][1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
