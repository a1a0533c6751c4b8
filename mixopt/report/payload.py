"""What the page's script needs, as JSON that cannot end its element."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from mixopt.io.display import DIRECTIONS, show_directions
from mixopt.mixture import Array
from mixopt.report.charts.explore import explore_charts
from mixopt.report.charts.picture import Picture
from mixopt.report.charts.predicted import MAX_POINTS, one_panel
from mixopt.report.charts.theme import PAGE, config
from mixopt.report.data import ReportData

MAX_METRICS = 80  # whose pairs of prediction and measurement the page can draw


def build_payload(data: ReportData, pictures: Mapping[str, Picture]) -> Markup:
    """Return the emulator and the charts as JSON.

    Args:
        data: What the page shows.
        pictures: By name.
    """
    budget, what_if = data.best.budget, data.what_if
    starts = {name: m.vector(what_if.domains).tolist() for name, m in what_if.starts.items()}
    gain = f"difference of {data.learned_from}" if _is_merged(data) else "gain"
    own = {name: chart.to_dict() for name, chart in explore_charts(PAGE, gain).items()}
    if data.predictions:
        own["points"] = one_panel(PAGE).to_dict()
    return _embed({
        "decided": _is_merged(data), "learned_from": data.learned_from,
        "what_if": {
            "domains": list(what_if.domains), "reference": what_if.reference,
            "emulator": {name: _encode(values) for name, values in vars(what_if.emulator).items()},
            "error": what_if.error, "starts": starts,
            "outputs": [vars(output) for output in what_if.outputs],
            "sqrt_reference": what_if.sqrt_reference.tolist(),
            "feasible": [_short(row) for row in what_if.feasible],
            "lower": what_if.lower.tolist(), "upper": what_if.upper.tolist(),
        },
        "budget": None if budget is None else {
            "tokens": budget.tokens, "available": dict(budget.available_tokens),
            "max_repetition": dict(budget.max_repetition),
        },
        "predictions": {
            name: [_short(scores.predicted[:MAX_POINTS]), _short(scores.measured[:MAX_POINTS])]
            for name, scores in list(data.predictions.items())[:MAX_METRICS]
        },
        "colours": PAGE.scale,
        "pictures": {name: picture.spec(PAGE) for name, picture in pictures.items()},
        "charts": {name: {**spec, "config": config(PAGE)} for name, spec in own.items()},
    })  # fmt: skip


def decode(encoded: Mapping[str, Any]) -> Array:
    """Return the numbers that a page has of an emulator, for tests.

    Args:
        encoded: Their shape, and little-endian doubles in base64.
    """
    flat = np.frombuffer(base64.b64decode(encoded["base64"]), dtype="<f8")
    return flat.reshape(encoded["shape"])


def _is_merged(data: ReportData) -> bool:
    return data.best.decision is not None and data.best.measured is not None


def _encode(values: Array) -> dict[str, Any]:
    """Return numbers as bytes: shorter than digits, and the same in Python and the page."""
    packed = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return {"shape": list(values.shape), "base64": base64.b64encode(packed).decode("ascii")}


def _short(values: Any) -> list[float | None]:
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in np.asarray(values)]


def _embed(payload: Mapping[str, Any]) -> Markup:
    """Return JSON that cannot end its script element: names in it come from files."""
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    for sign in DIRECTIONS:
        text = text.replace(f"\\u{ord(sign):04x}", show_directions(sign))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
