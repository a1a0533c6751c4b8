"""What is logged is called in MLflow's alphabet."""

import json
from collections.abc import Mapping
from typing import Any

from mixopt.proposal import Proposal

LONGEST_PARAM = 500


def name_metrics(proposal: Proposal) -> dict[str, float]:
    """Ratios and gains of a proposal, by metric."""
    values = {f"proposal/ratio/{name}": ratio for name, ratio in proposal.ratios.items()}
    for comparison in proposal.comparisons:
        name = comparison.name.replace(" ", "_")
        low, high = comparison.gain.interval
        values[f"proposal/gain_over_{name}"] = comparison.gain.mean
        values[f"proposal/gain_over_{name}_low"] = low
        values[f"proposal/gain_over_{name}_high"] = high
    return {metric_key(key): value for key, value in values.items()}


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested fields as dotted parameters, long values cut (the recipe artifact is whole)."""
    flat: dict[str, str] = {}
    for key, value in plain.items():
        name = metric_key(f"{prefix}{key}")
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = text[:LONGEST_PARAM]
    return flat


def metric_key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. /:`."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)
