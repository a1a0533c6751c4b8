"""The report: one HTML page that opens anywhere, without a network, and its figures as PNG."""

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mixopt import __version__
from mixopt.io.files import write_bytes, write_text
from mixopt.proposal import Estimate
from mixopt.report.data import ReportData, WhatIf
from mixopt.report.figures import draw_expert_losses, draw_predicted, draw_ratios, to_png
from mixopt.report.sentences import tell_meeting, tell_ratios

MOST_POINTS = 250
"""Runs drawn in one panel; a table has all of them."""
MOST_PANELS = 24
"""Metrics drawn predicted against measured; a table has all of them."""


def write_report(data: ReportData, folder: Path) -> Path:
    """Writes `report.html` and `figures/*.png` into `folder`; returns the page's path."""
    losses = [metric.name for metric in data.metrics if metric.better == "lower"]
    figures = {"ratios": draw_ratios(data.best)}
    if data.points:
        shown = list(data.points)[:MOST_PANELS]
        figures["predicted"] = draw_predicted({name: data.points[name] for name in shown})
    if losses and data.expert_scores:
        figures["experts"] = draw_expert_losses(data.expert_scores, losses)
    for name, figure in figures.items():
        write_bytes(folder / "figures" / f"{name}.png", to_png(figure))
    return write_text(folder / "report.html", render_page(data))


def render_page(data: ReportData) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("mixopt.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = lambda number: _format(number, "+.3f")
    environment.filters["number"] = lambda number: _format(number, ".3f")
    environment.filters["percent"] = lambda number: f"{100 * number:.1f}%"
    environment.filters["span"] = lambda e: f"[{_format(e[0], '+.3f')}, {_format(e[1], '+.3f')}]"
    templates = files("mixopt.report") / "templates"
    return environment.get_template("page.html.j2").render(
        data=data,
        best=data.best,
        meeting=tell_meeting(data),
        ratios=tell_ratios(data.best),
        by_name={metric.name: metric for metric in data.metrics},
        changes=change_by_expert(data),
        gains=gain_by_capability(data),
        bar=lambda share: (
            f"background: linear-gradient(to left, var(--band) {100 * share:.1f}%, transparent 0)"
        ),
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup((templates / "page.js").read_text(encoding="utf-8")),
        payload=_embed(_payload(data)),
        version=__version__,
    )


def change_by_expert(data: ReportData) -> dict[str, dict[str, float]]:
    """By expert and metric that is a loss: its change against the base, in %."""
    if not data.expert_scores:
        return {}
    base = data.expert_scores["base"]
    losses = [metric.name for metric in data.metrics if metric.better == "lower"]
    return {
        expert: {name: 100 * (scores[name] / base[name] - 1) for name in losses}
        for expert, scores in data.expert_scores.items()
        if expert != "base" and losses
    }


def gain_by_capability(data: ReportData) -> dict[str, Estimate]:
    """The first proposal's predicted gain in each capability; none where there is one alone."""
    asked, ratios = data.what_if, data.best.ratios.vector(data.what_if.domains)[None]
    gains = {}
    for answer in asked.answers:
        if answer.kind == "capability":
            _, change, std = asked.read(answer, ratios)
            gains[answer.name] = Estimate(float(change[0]), float(std[0]))
    return gains


def _payload(data: ReportData) -> dict[str, Any]:
    """What the page's script computes with and draws."""
    budget = data.best.budget
    return {
        "what_if": _what_if(data.what_if),
        "budget": None if budget is None else {
            "tokens": budget.tokens,
            "available": dict(budget.available_tokens),
            "most": dict(budget.max_repetition),
        },
        "trials": [
            [_short(mixture.vector(data.what_if.domains)), _number(utility)]
            for mixture, utility in data.trials[:MOST_POINTS]
        ],
        "points": {
            name: [_short(points.predicted[:MOST_POINTS]), _short(points.measured[:MOST_POINTS])]
            for name, points in list(data.points.items())[:MOST_PANELS]
        },
    }  # fmt: skip


def _what_if(asked: WhatIf) -> dict[str, Any]:
    return {
        "domains": list(asked.domains),
        "emulator": asked.emulator.to_dict(),
        "answers": [vars(answer) for answer in asked.answers],
        "reference": asked.reference,
        "anchor": asked.anchor.tolist(),
        "miss": asked.miss,
        "starts": {
            name: mixture.vector(asked.domains).tolist() for name, mixture in asked.starts.items()
        },
        "feasible": [_short(row) for row in asked.feasible],
        "lower": asked.lower.tolist(),
        "upper": asked.upper.tolist(),
    }


def _short(values: Any) -> list[float | None]:
    return [_number(value) for value in np.asarray(values)]


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _embed(plain: Mapping[str, Any]) -> Markup:
    """JSON that no name in it can end: names come from files."""
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _format(number: float, form: str) -> str:
    return "–" if not math.isfinite(number) else format(number, form)
