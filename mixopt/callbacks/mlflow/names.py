"""Names and values as MLflow accepts them."""

import json
import time
from collections.abc import Mapping
from typing import Any

from mixopt.proposal import Proposal

MAX_PARAM_LENGTH = 500


def proposal_metrics(proposal: Proposal) -> dict[str, float]:
    """Return the ratios of a proposal and its gain, with interval, over each other mixture.

    Args:
        proposal: With `d` ratios and any number of comparisons.

    Returns:
        Value by MLflow key: `proposal/ratio/DOMAIN`, `proposal/gain_over_NAME`, `..._low`, `..._high`;
        and `decision/gain`, `_low`, `_high`, `/chance`, `/moves` where something was decided, with
        `decision/confirmation` and `decision/merges` as evidence, and
        `decision/equivalent_tokens`, `_low`, `_high` where they can be said.
    """
    values = {f"proposal/ratio/{name}": ratio for name, ratio in proposal.ratios.items()}
    for comparison in proposal.comparisons:
        name = comparison.name.replace(" ", "_")
        low, high = comparison.gain.interval
        values[f"proposal/gain_over_{name}"] = comparison.gain.mean
        values[f"proposal/gain_over_{name}_low"] = low
        values[f"proposal/gain_over_{name}_high"] = high
    if (decision := proposal.decision) is not None:
        low, high = decision.gain.interval
        values |= {"decision/gain": decision.gain.mean, "decision/gain_low": low,
                   "decision/gain_high": high, "decision/chance": decision.gain.chance,
                   "decision/moves": float(decision.moves)}  # fmt: skip
        for name, evidence in (
            ("confirmation", decision.confirmation),
            ("merges", decision.merges.gain if decision.merges else None),
        ):
            if evidence is not None:
                values |= {f"decision/{name}": evidence.mean,
                           f"decision/{name}_std_error": evidence.std_error}  # fmt: skip
        if (equivalent := decision.equivalent_tokens) is not None:
            values |= {"decision/equivalent_tokens": equivalent.median,
                       "decision/equivalent_tokens_low": equivalent.low,
                       "decision/equivalent_tokens_high": equivalent.high}  # fmt: skip
    return {metric_key(key): value for key, value in values.items()}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested fields as parameters with dotted names; long values are cut.

    Args:
        nested: A config; a field that is None is left out.
        prefix: Of every name.

    Returns:
        Text by name; what is no text is written as JSON, all at most 500 characters.
    """
    flat: dict[str, str] = {}
    for key, value in nested.items():
        name = metric_key(f"{prefix}{key}")
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = text[:MAX_PARAM_LENGTH]
    return flat


def metric_key(name: str) -> str:
    """Replace characters that MLflow refuses in names: all but letters, digits and `_-. /:`."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)


def now_ms() -> int:
    """Return the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)
