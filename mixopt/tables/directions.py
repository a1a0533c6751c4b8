"""Which way a metric is better: said by the user, or told from a well-known name, and said so."""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.tables.columns import strip_common_prefix
from mixopt.trials import Direction

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "entropy"}
HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}

LOSS_RANGE = (1.0, 20.0)
"""Nats and bits reach into this range: fractions end at 1, percentages go higher."""

LOSS_SHARE = 0.9
"""Share of the unnamed columns that must reach into it for all of them to be taken as losses."""


def tell_directions(
    scores: "pd.DataFrame", better: Direction | Mapping[str, Direction] | None, where: str
) -> dict[str, Direction]:
    """Direction of every column of `scores`.

    Raises:
        TrialsError: A column's direction is not given and cannot be told from its name.
    """
    columns = list(map(str, scores.columns))
    if better in ("lower", "higher"):
        return dict.fromkeys(columns, better)
    given = cast(Mapping[str, Direction], {} if better is None else better)
    if not isinstance(given, Mapping) or set(given.values()) - {"lower", "higher"}:
        raise TrialsError("better must be 'lower', 'higher', or one of them for each metric.")
    stripped = dict(zip(columns, strip_common_prefix(columns), strict=True))
    for name in given:
        if name not in columns and name not in stripped.values():
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
    told: dict[str, Direction] = {}
    for column in columns:
        direction = given.get(column) or given.get(stripped[column]) or _direction_of_name(column)
        if direction:
            told[column] = direction
    unknown = [column for column in columns if column not in told]
    if unknown:
        largest = scores[unknown].max().to_numpy(dtype=np.float64)
        low, high = LOSS_RANGE
        if (largest > high).any() or (largest > low).mean() < LOSS_SHARE:
            raise TrialsError(
                f"{where} does not say whether lower or higher {unknown[0]!r} is better; pass "
                "better='lower', better='higher', or one of them by metric (--better on the shell)."
            )
        log.warning(
            "%s: %d metrics (%s, ...) are taken as losses, lower is better, because they reach "
            "%.3g; pass better= (--better on the shell) where that is wrong.",
            where, len(unknown), unknown[0], largest.max(),
        )  # fmt: skip
        told |= dict.fromkeys(unknown, "lower")
    return told


def _direction_of_name(name: str) -> Direction | None:
    words = set(re.split(r"[^a-z0-9@]+|_", name.lower()))
    if words & LOWER_WORDS:
        return "lower"
    return "higher" if words & HIGHER_WORDS else None
