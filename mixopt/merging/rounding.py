"""What rounding takes of merges whose weights are kept in bfloat16."""

from collections.abc import Mapping

import torch

ROUNDED_STEP = 0.01
"""Step size δ below which a merge at small weights loses more than a third of an expert's delta to
rounding to bfloat16."""


def describe_rounding(step_sizes: Mapping[str, float], dtype: torch.dtype) -> str | None:
    """Return a warning where merges in `dtype` lose much of an expert's delta.

    The base's weights are numbers of bfloat16, so a change below half of the distance to the next one
    vanishes. The smaller an expert's weight in a merge, the more of its delta does.

    Args:
        step_sizes: δ by expert.
        dtype: Type of the merged weights.
    """
    first = min(step_sizes, key=step_sizes.__getitem__)
    if dtype != torch.bfloat16 or step_sizes[first] >= ROUNDED_STEP:
        return None
    return (
        "Merges are rounded to bfloat16, which loses much of a step as small as "
        f"δ = {step_sizes[first]:.1%} ({first}); set base.dtype: float32 "
        "(training.mixed_precision: bfloat16 keeps trainings as fast as they are)."
    )
