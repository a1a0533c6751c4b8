"""Score every trained run and every proxy of the same mixtures.

python studies/rank-fidelity/scores.py --out OUT [--sets six,without-math-biomedical]

Item results are kept in OUT/artifacts; a candidate that has been scored is not scored again. Ensembles,
which are arithmetic on cached probabilities, are computed in fidelity.py.
"""

import argparse
from pathlib import Path

import numpy as np
from runs import DOMAINS, EXPERTS, SEEDS, context_of, mixtures, train_run

from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.score_cache import Results
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.evaluators import open_evaluator

MERGED = ("experts-anchored-0.5", "experts-anchored-0.25")
"""Variants whose merges are scored; ensembles of the others need their experts alone."""
POWERS = (0.5, 0.7)
"""Exponents of the response map λ^γ that are scored."""


def evaluator_of(name: str, out: Path) -> MergeEvaluator:
    """Return the evaluator of the trained runs of a set."""
    return open_trained(context_of(name, out))


def open_trained(context: StudyContext) -> MergeEvaluator:
    """Return the evaluator of a study's experts, which are trained now where they are missing."""
    names = list(context.compositions)
    for name in names:
        train_run(context, name)
    return open_evaluator(context, names)


def score_trained(name: str, out: Path) -> list[Results]:
    """Return item results of each trained run of a set (`k`)."""
    evaluator = evaluator_of(name, out)
    return [evaluator.score(row)["merged"] for row in np.eye(evaluator.k).tolist()]


def power(ratios: np.ndarray, gamma: float) -> np.ndarray:
    """Return weights λ^γ ÷ Σ λ^γ."""
    raised = ratios**gamma
    return raised / raised.sum(axis=-1, keepdims=True)


def weights_of(experts: str, ratios: np.ndarray, natural: np.ndarray) -> np.ndarray:
    """Return the weights α (`n x 6`) of mixtures λ: Σ_k α_k composition_k = λ."""
    share = EXPERTS[experts].get("anchor_share", 0.0)
    return (ratios - share * natural) / (1 - share)


def merges(out: Path, sets: list[str], experts: list[str]) -> None:
    """Score merges at the mixtures of the sets, with and without response maps."""
    if "experts" not in experts:
        return  # fidelity.py scores the variants
    evaluator = evaluator_of("experts", out)
    natural = context_of("experts", out).corpora.natural.vector(DOMAINS)
    rows = []
    for name in sets:
        ratios = mixtures()[name]
        rows += weights_of("experts", ratios, natural).tolist()
        for gamma in POWERS:
            rows += power(ratios, gamma).tolist()
    for index, _ in enumerate(evaluator.evaluate(rows)):
        print(f"experts {index + 1}/{len(rows)}", flush=True)


def main() -> None:
    """Score the named sets and the merges of the experts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(mixtures()))
    parser.add_argument("--experts", default=",".join(EXPERTS))
    args = parser.parse_args()
    sets = args.sets.split(",")
    for name in sets:
        print(name, len(score_trained(name, args.out)), "runs,", SEEDS, "seeds", flush=True)
    merges(args.out, sets, args.experts.split(","))


if __name__ == "__main__":
    main()
