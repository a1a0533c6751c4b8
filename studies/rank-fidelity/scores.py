"""Scores every trained run and every proxy of the same mixtures, once; OUT/scores.npz holds them all.

python studies/rank-fidelity/scores.py --out OUT [--sets six,without-math-biomedical]

What is scored is kept in OUT/journal, item by item. Proxies that are arithmetic on cached
probabilities (the ensembles) are computed in fidelity.py.
"""

import argparse
from pathlib import Path

import numpy as np
from runs import DOMAINS, EXPERTS, SEEDS, laboratory_of, mixtures

from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.score_cache import Results

MERGED = ("experts-anchored-0.5", "experts-anchored-0.25")
"""Variants whose merges are scored; the ensembles of the others need their corners alone."""
POWERS = (0.5, 0.7)
"""Exponents of the response map λ^γ that are scored."""


def swarm_of(name: str, out: Path) -> MergeEvaluator:
    """The trained models of a set, ready to be merged and scored."""
    lab = laboratory_of(name, out)
    return lab.open_swarm([lab.train_expert(each).folder for each in lab.compositions])


def score_trained(name: str, out: Path) -> list[Results]:
    """Item results of each trained model of a set: a corner of their merges."""
    swarm = swarm_of(name, out)
    return [swarm.score(row.tolist())["merged"] for row in np.eye(swarm.engine.k)]


def power(ratios: np.ndarray, gamma: float) -> np.ndarray:
    """Weights λ^γ ÷ Σ λ^γ."""
    raised = ratios**gamma
    return raised / raised.sum(axis=-1, keepdims=True)


def weights_of(experts: str, ratios: np.ndarray, natural: np.ndarray) -> np.ndarray:
    """Weights (`n x 6`) that stand for mixtures: Σ_k α_k composition_k = λ."""
    share = EXPERTS[experts].get("anchor_share", 0.0)
    return (ratios - share * natural) / (1 - share)


def merges(out: Path, wanted: list[str], experts: list[str]) -> None:
    """Scores merges at the mixtures of the sets, plain and through response maps."""
    for name in experts:
        if name != "experts":
            continue  # the variants' are computed in fidelity.py
        swarm = swarm_of(name, out)
        lab = laboratory_of(name, out)
        natural = lab.natural.vector(DOMAINS)
        rows = []
        for each in wanted:
            ratios = mixtures()[each]
            if name != "experts" and each != "six":
                continue
            rows += weights_of(name, ratios, natural).tolist()
            if name == "experts":
                for gamma in POWERS:
                    rows += power(ratios, gamma).tolist()
        for index, _ in enumerate(swarm.score_all(rows)):
            print(f"{name} {index + 1}/{len(rows)}", flush=True)


def main() -> None:
    """Scores what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(mixtures()))
    parser.add_argument("--experts", default=",".join(EXPERTS))
    told = parser.parse_args()
    wanted = told.sets.split(",")
    for name in wanted:
        print(name, len(score_trained(name, told.out)), "of", SEEDS, "seeds", flush=True)
    merges(told.out, wanted, told.experts.split(","))


if __name__ == "__main__":
    main()
