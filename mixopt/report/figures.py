"""Figures of the report, drawn without pyplot, so that nothing global is touched."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.proposal import Proposal
from mixopt.report.data import Points

BLUE, GREY, RED = "#2a6f97", "#9aa5b1", "#c1443c"
DPI = 110


def draw_ratios(proposal: Proposal) -> Figure:
    """The proposal beside the natural and the uniform mixture, as bars by domain."""
    domains = list(proposal.ratios)
    figure = Figure(figsize=(7.2, 0.55 * len(domains) + 1.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(domains))
    rows = [("proposal", proposal.ratios, BLUE)]
    rows += [
        (c.name, c.ratios, colour)
        for c, colour in zip(proposal.comparisons[:2], (GREY, "#d9dee3"), strict=False)
    ]
    for offset, (name, ratios, colour) in zip((-0.27, 0, 0.27), rows, strict=False):
        values = [100 * ratios.get(domain, 0.0) for domain in domains]
        axes.barh(place + offset, values, height=0.25, color=colour, label=name)
    axes.set_yticks(place, domains)
    axes.invert_yaxis()
    axes.set_xlabel("share of tokens, %")
    axes.legend(frameon=False)
    _tidy(axes)
    return figure


def draw_predicted(points: Mapping[str, Points]) -> Figure:
    """Measured against predicted by cross-validation, one panel per metric; every dot unseen."""
    names = list(points)
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, name in zip(panels, names, strict=False):
        measured, predicted = points[name].measured, points[name].predicted
        known = np.isfinite(measured) & np.isfinite(predicted)
        axes.plot(predicted[known], measured[known], "o", color=BLUE, alpha=0.7, markersize=4)
        ends = np.concatenate([predicted[known], measured[known]])
        axes.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=GREY, linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        _tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("predicted without having seen it", fontsize=9)
    figure.supylabel("measured", fontsize=9)
    return figure


def draw_expert_losses(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> Figure:
    """Each expert's bits per byte against the base's, in %: blue is learnt, red is forgotten."""
    experts = [name for name in scores if name != "base"]
    change = np.array([
        [100 * (scores[name][metric] / scores["base"][metric] - 1) for metric in metrics]
        for name in experts
    ])  # fmt: skip
    size = (1.0 * len(metrics) + 2.6, 0.5 * len(experts) + 2.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    limit = max(1e-9, float(np.abs(change).max()))
    axes.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(metrics)), metrics, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(experts)), [f"{name} expert" for name in experts], fontsize=8)
    for (row, column), value in np.ndenumerate(change):
        colour = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, f"{value:+.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_title("change of bits per byte against the base, %", fontsize=9)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
