"""Names and values as MLflow accepts them."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from mixopt.proposal import Proposal
from mixopt.trial import Metric, Score

if TYPE_CHECKING:
    import pandas as pd

MAX_PARAM_LENGTH = 500
MAX_KEY_LENGTH = 250
MAX_NOTE_LENGTH = 4000
PROPOSAL_TAG = "mixopt.proposal"
"""Tag of a run with the path of its proposal among its artifacts."""
PROPOSAL_FILE = "proposal.json"


def proposal_metrics(proposal: Proposal) -> dict[str, float]:
    """Return the ratios of a proposal and its gain, with interval, over each other mixture.

    Args:
        proposal: With `d` ratios and any number of comparisons.

    Returns:
        Value by MLflow key: `proposal/ratio/DOMAIN`, `proposal/gain_over_NAME`, `..._low`, `..._high`;
        and `decision/gain`, `_low`, `_high`, `/chance`, `/moves` where something was decided, with
        `decision/confirmation`, `decision/expected_before_confirmation` and `decision/merges` as
        evidence, and
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
            ("expected_before_confirmation", decision.expected_before),
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


def score_points(
    scores: Mapping[int, Mapping[str, Score]],
) -> list[tuple[str, float, int, int]]:
    """Return scores as points of metrics: `score/BENCHMARK` and `std_error/BENCHMARK`.

    Args:
        scores: By tokens of training, which are the steps, and benchmark.

    Returns:
        Key, value, time 0 (a model may have been trained by an earlier command) and step.
    """
    points = []
    for tokens, row in scores.items():
        for name, score in row.items():
            values = {f"score/{name}": score.value, f"std_error/{name}": score.std_error}
            points += [(metric_key(k), v, 0, tokens) for k, v in values.items() if v == v]
    return points


def ratio_params(ratios: Mapping[str, float], prefix: str = "ratio/") -> dict[str, str]:
    """Return ratios as parameters, which MLflow's charts and filters read as numbers.

    Args:
        ratios: Share by domain (`d`).
        prefix: Of every key.

    Returns:
        Six digits by key; names that MLflow cannot tell apart are numbered.
    """
    params: dict[str, str] = {}
    for name, ratio in ratios.items():
        key = metric_key(f"{prefix}{name}")
        twin = 2
        while key in params:
            key = f"{metric_key(f'{prefix}{name}')[: MAX_KEY_LENGTH - 8]}_{twin}"
            twin += 1
        params[key] = f"{ratio:.6f}".rstrip("0").rstrip(".")
    return params


def table_json(frame: "pd.DataFrame") -> str:
    """Return a table as MLflow's `log_table` writes it."""
    return str(frame.to_json(orient="split", index=False, date_format="iso"))


def table_tag(path: str) -> dict[str, str]:
    """Return the tag by which MLflow knows a logged table.

    Args:
        path: Of its file among the run's artifacts.
    """
    return {MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": path, "type": "table"}])}


def describe_study(verdict: str, metrics: Sequence[Metric]) -> str:
    """Return the description of a study's run in Markdown: the verdict, and which way is better.

    Args:
        verdict: Empty where nothing was proposed.
        metrics: The benchmarks (`m`).
    """
    parts = [f"**{verdict}**"] if verdict else []
    for better in ("lower", "higher"):
        names = [f"`score/{metric.name}`" for metric in metrics if metric.better == better]
        if names:
            parts.append(f"{better.capitalize()} is better: {', '.join(names)}.")
    parts.append("The parameter `role` says what a run is for, `ratio/DOMAIN` what it read.")
    return "\n\n".join(parts)[:MAX_NOTE_LENGTH]


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
    """Return a name as MLflow takes it.

    Args:
        name: Characters other than letters, digits and `_-. /:` become `_`; parts between `/` that a
            path would not keep are left out, and what is longer than 250 characters is cut.
    """
    text = "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MAX_KEY_LENGTH].rstrip("/") or "_"


def now_ms() -> int:
    """Return the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)
