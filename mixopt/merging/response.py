"""Responding: which weights of experts stand for a mixture of tokens.

A model trained on a small share of a domain learns more of it than that share of an expert's step:
learning goes with a power of the tokens, merging with the weight itself. So the weights are

    α_k = λ_k^γ ÷ Σ_j λ_j^γ

with γ below one (`studies/rank-fidelity`). γ = 1 is MergeMix and MDE as published.
"""

from collections.abc import Sequence

import numpy as np

from mixopt.evaluation.engine import Weights


def merge_weights(weights: Weights, gamma: float) -> list[float]:
    """The weights (`k`) at which experts are merged or mixed to stand for `weights`.

    Corners stay corners, and no weight at all (the base) stays none; γ = 1 changes nothing, to the
    last digit.
    """
    if gamma == 1.0 or _is_corner(weights):
        return [float(weight) for weight in weights]
    raised = np.power(np.asarray(weights, dtype=np.float64), gamma)
    total = float(raised.sum())
    return (raised / total).tolist() if total else [0.0] * len(raised)


def _is_corner(weights: Sequence[float]) -> bool:
    return sum(1 for weight in weights if weight) <= 1
