"""Merge weights that represent mixture ratios.

A model trained on a small share of a domain learns more of it than that share of the expert's delta:
learning grows with a power of the tokens, a merge linearly with the weight. So the weights are

    α_k = λ_k^γ ÷ Σ_j λ_j^γ

with γ < 1 (measured in `studies/rank-fidelity`). γ = 1 gives MergeMix (arXiv:2601.17858) and MDE
(arXiv:2502.15950) as published. See docs/methods.md, section 2.3.
"""

from collections.abc import Sequence

import numpy as np


def merge_weights(weights: Sequence[float], gamma: float) -> list[float]:
    """Return the weights (`k`) at which experts are merged or ensembled for given ratios.

    Corners of the simplex, all zeros (the base) and, with γ = 1, all ratios are returned unchanged.

    Args:
        weights: Mixture ratios λ (`k`).
        gamma: γ.
    """
    if gamma == 1.0 or _is_corner(weights):
        return [float(weight) for weight in weights]
    raised = np.power(np.asarray(weights, dtype=np.float64), gamma)
    total = float(raised.sum())
    return (raised / total).tolist() if total else [0.0] * len(raised)


def _is_corner(weights: Sequence[float]) -> bool:
    return sum(1 for weight in weights if weight) <= 1
