"""Write the report: one self-contained HTML page, and its figures as PNG."""

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
from mixopt.decision import Decision
from mixopt.estimate import Estimate, format_chance
from mixopt.io.files import write_bytes, write_text
from mixopt.mixture import Mixture
from mixopt.proposal import Comparison, Proposal
from mixopt.report import figures
from mixopt.report.data import UNITS, PredictedScores, ReportData

MAX_POINTS = 250  # runs drawn in one panel
MAX_PANELS = 24  # metrics drawn predicted against measured; the table has all of them
MIN_CHANGE = 0.02  # smallest change of a ratio that the summary names
MAX_NAMED = 3
DECISION_UNIT = "the spread (standard deviations) over mixtures around the natural one"


def write_report(data: ReportData, folder: Path) -> Path:
    """Write `report.html` and `figures/*.png`.

    Args:
        data: What the page shows.
        folder: Where to write.

    Returns:
        Path of the page.
    """
    losses = _losses(data)
    drawn = {"ratios": figures.draw_ratios(data.best)}
    if data.predictions:
        drawn["predicted"] = figures.draw_predicted(_drawn_predictions(data))
    if losses and data.expert_scores:
        drawn["experts"] = figures.draw_expert_losses(data.expert_scores, losses)
    for name, figure in drawn.items():
        write_bytes(folder / "figures" / f"{name}.png", figures.to_png(figure))
    return write_text(folder / "report.html", _render_page(data))


def _render_page(data: ReportData) -> str:
    loader = PackageLoader("mixopt.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["signed"] = lambda number: _format(number, "+.3f")
    environment.filters["number"] = lambda number: _format(number, ".3f")
    environment.filters["percent"] = lambda number: f"{100 * number:.1f}%"
    environment.filters["chance"] = format_chance
    environment.filters["span"] = lambda e: f"[{_format(e[0], '+.3f')}, {_format(e[1], '+.3f')}]"
    templates = files("mixopt.report") / "templates"
    return environment.get_template("page.html.j2").render(
        data=data, best=data.best, summary=_summarize(data),
        ratios=_format_ratios(data.best.ratios),
        by_name={metric.name: metric for metric in data.metrics}, version=__version__,
        decision_unit=UNITS["raw"] if data.unit == UNITS["raw"] else DECISION_UNIT,
        equivalent=_describe_equivalent(data), candidate=_candidate_ratios(data.best),
        changes=_change_by_expert(data), gains=_gain_by_capability(data),
        bar=lambda x: f"background: linear-gradient(to left, var(--band) {100 * x:.1f}%, transparent 0)",
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup((templates / "page.js").read_text(encoding="utf-8")),
        payload=_embed(_payload(data)),
    )  # fmt: skip


def _drawn_predictions(data: ReportData) -> dict[str, PredictedScores]:
    return dict(list(data.predictions.items())[:MAX_PANELS])


def _change_by_expert(data: ReportData) -> dict[str, dict[str, float]]:
    scores, losses = data.expert_scores, _losses(data)
    return figures.percent_changes(scores, losses) if losses and scores else {}


def _losses(data: ReportData) -> list[str]:
    return [metric.name for metric in data.metrics if metric.better == "lower"]


def _gain_by_capability(data: ReportData) -> dict[str, Estimate]:
    what_if, ratios = data.what_if, data.best.ratios.vector(data.what_if.domains)[None]
    gains = {}
    for output in what_if.outputs:
        if output.kind == "capability":
            _, change, std = what_if.read(output, ratios)
            gains[output.name] = Estimate(float(change[0]), float(std[0]))
    return gains


def _payload(data: ReportData) -> dict[str, Any]:
    budget, what_if = data.best.budget, data.what_if
    starts = {name: m.vector(what_if.domains).tolist() for name, m in what_if.starts.items()}
    return {
        "decided": data.best.decision is not None and data.best.measured is not None,
        "what_if": {
            "domains": list(what_if.domains), "reference": what_if.reference,
            "emulator": what_if.emulator.to_dict(), "error": what_if.error, "starts": starts,
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
            for name, scores in _drawn_predictions(data).items()
        },
    }  # fmt: skip


def _short(values: Any) -> list[float | None]:
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in np.asarray(values)]


def _embed(payload: Mapping[str, Any]) -> Markup:
    """Return JSON that cannot end its script element: names in it come from files."""
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _format(number: float, form: str) -> str:
    return "–" if not math.isfinite(number) else format(number, form)


def _candidate_ratios(proposal: Proposal) -> str:
    return "" if proposal.decision is None else _format_ratios(proposal.decision.candidate)


def _format_ratios(mixture: Mixture) -> str:
    """Return `50.0% web, 30.0% code and 20.0% maths`, the largest first."""
    ranked = sorted(mixture.items(), key=lambda pair: -pair[1])
    return _join([f"{100 * ratio:.1f}% {domain}" for domain, ratio in ranked if ratio >= 0.0005])


def _summarize(data: ReportData) -> str:
    best = data.best
    if not best.comparisons:
        return f"Train on {_format_ratios(best.ratios)}. It was not compared with another mixture."
    first = best.comparisons[0]
    if best.decision is not None:
        return _summarize_decision(data, best.decision)
    if first.same:
        return f"Keep the {first.name} mixture: no mixture within the bounds is predicted to be better."
    gain = first.gain
    low, high = gain.interval
    unit = " sd" if data.unit == UNITS["z"] else ""
    source = f"measured by {data.measured_by}" if first.measured_gain else "predicted"
    span = f"{source}: {gain.mean:+.2f}{unit} of utility, 95% interval {low:+.2f} to {high:+.2f}"
    changes = _describe_changes(best, first)
    if not gain.distinguishable:
        return (
            f"The proposal ({changes}) is not distinguishable from the {first.name} mixture ({span}). "
            "Choose it for other reasons, or measure more."
        )
    word = "better" if gain.mean > 0 else "worse"
    return (
        f"{changes[:1].upper()}{changes[1:]}: {word} than the {first.name} mixture ({span})."
        f"{_describe_validation(data)}"
    )


def _summarize_decision(data: ReportData, decision: Decision) -> str:
    low, high = decision.gain.interval
    # ranks have no spread that ensembles share, so a study's decision is in spreads there too
    unit = "" if data.unit == UNITS["raw"] else " sd"
    tokens = "" if decision.tokens is None else f" after {decision.tokens:,} tokens"
    level = f" at {decision.level}" if decision.level else ""
    span = (
        f"expected gain {decision.gain.mean:+.2f}{unit} of utility{level}{tokens}, "
        f"95% interval {low:+.2f} to {high:+.2f}; from {decision.basis}"
    )
    sentence = decision.say(span)
    if not decision.moves:
        advice = f" {decision.advice}" if decision.advice else ""
        return f"{sentence[:1].upper()}{sentence[1:]}.{advice}"
    reference = Comparison(decision.reference, decision.kept, decision.gain)
    changes = _describe_changes(data.best, reference)
    return f"{changes[:1].upper()}{changes[1:]}: {sentence}."


def _describe_equivalent(data: ReportData) -> str:
    said = "" if data.best.decision is None else data.best.decision.equivalent
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _describe_changes(best: Proposal, other: Comparison) -> str:
    """Return `more code and maths, less web`."""
    changes = {d: best.ratios[d] - other.ratios.get(d, 0.0) for d in best.ratios}
    more = sorted((d for d in changes if changes[d] > MIN_CHANGE), key=lambda d: -changes[d])
    less = sorted((d for d in changes if changes[d] < -MIN_CHANGE), key=lambda d: changes[d])
    named = {"more": more[:MAX_NAMED], "less": less[:MAX_NAMED]}
    parts = [f"{word} {_join(names)}" for word, names in named.items() if names]
    return ", ".join(parts) or f"nearly the {other.name} mixture"


def _describe_validation(data: ReportData) -> str:
    if data.validation is None:
        return " No real training run has checked it."
    gains = ", ".join(f"{gain:+.2f}" for gain in data.validation.gain)
    if not gains:
        return ""
    subject = "it"
    if data.validated_an_earlier_proposal:
        subject = "the earlier proposal, from before they corrected the surrogate,"
    return f" In real training runs {subject} gained {gains} (one number per seed)."


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
