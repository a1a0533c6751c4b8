"""Draw the figures of reports and of `mixopt.plots`, without pyplot and its global state."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.estimate import Estimate
from mixopt.proposal import Proposal
from mixopt.report.data import PredictedScores

BLUE, GREY, LIGHT_GREY = "#2a6f97", "#9aa5b1", "#d9dee3"
DPI = 110


def draw_ratios(proposal: Proposal) -> Figure:
    """Draw the ratios of a proposal and of its first two comparisons as bars by domain.

    Args:
        proposal: With or without comparisons.
    """
    domains = list(proposal.ratios)
    figure = Figure(figsize=(7.2, 0.55 * len(domains) + 1.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(domains))
    rows = [("proposal", proposal.ratios), *((c.name, c.ratios) for c in proposal.comparisons[:2])]
    styles = ((-0.27, BLUE), (0, GREY), (0.27, LIGHT_GREY))
    for (offset, colour), (name, ratios) in zip(styles, rows, strict=False):
        values = [100 * ratios.get(domain, 0.0) for domain in domains]
        axes.barh(place + offset, values, height=0.25, color=colour, label=name)
    axes.set_yticks(place, domains)
    axes.invert_yaxis()
    axes.set_xlabel("share of tokens, %")
    axes.legend(frameon=False)
    _tidy(axes)
    return figure


def draw_predicted(
    scores: Mapping[str, PredictedScores], *, x_label: str = "cross-validated prediction"
) -> Figure:
    """Draw measured against predicted scores, one panel per metric, without missing scores.

    Args:
        scores: By metric.
        x_label: What the predictions are.
    """
    names = list(scores)
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, name in zip(panels, names, strict=False):
        measured, predicted = scores[name].measured, scores[name].predicted
        known = np.isfinite(measured) & np.isfinite(predicted)
        axes.plot(predicted[known], measured[known], "o", color=BLUE, alpha=0.7, markersize=4)
        if known.any():
            both = np.concatenate([predicted[known], measured[known]])
            ends = [both.min(), both.max()]
            axes.plot(ends, ends, color=GREY, linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        _tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel(x_label, fontsize=9)
    figure.supylabel("measured", fontsize=9)
    return figure


def percent_changes(
    scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the change of each expert's scores against the base's, in %.

    Args:
        scores: By expert, and for `base`: score by metric.
        metrics: Names of the metrics.

    Returns:
        By expert and metric; NaN where the base's score is 0.
    """
    base = {name: scores["base"][name] or float("nan") for name in metrics}
    return {
        expert: {name: 100 * (own[name] / base[name] - 1) for name in metrics}
        for expert, own in scores.items()
        if expert != "base"
    }


def draw_expert_losses(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> Figure:
    """Draw the change in % of each expert's bits per byte against the base's; blue is lower.

    Args:
        scores: By expert, and for `base`: score by metric.
        metrics: Names of the metrics; one that is 0 for the base has a dash.
    """
    changes = percent_changes(scores, metrics)
    experts, change = list(changes), np.array([list(row.values()) for row in changes.values()])
    size = (1.0 * len(metrics) + 2.6, 0.5 * len(experts) + 2.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    limit = max(1e-9, float(np.abs(np.nan_to_num(change)).max()))
    axes.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(metrics)), metrics, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(experts)), [f"{name} expert" for name in experts], fontsize=8)
    for (row, column), value in np.ndenumerate(change):
        colour = "white" if abs(value) > 0.6 * limit else "black"
        text = f"{value:+.0f}" if np.isfinite(value) else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_title("change of bits per byte against the base, %", fontsize=9)
    return figure


def draw_gains(proposal: Proposal) -> Figure:
    """Draw the gain over each comparison with its 95% interval, predicted and measured.

    Args:
        proposal: With at least one comparison.
    """
    names = [comparison.name for comparison in proposal.comparisons]
    series: list[tuple[str, list[Estimate | None], str, float]] = [
        ("predicted", [c.predicted_gain for c in proposal.comparisons], GREY, -0.12),
        ("measured", [c.measured_gain for c in proposal.comparisons], BLUE, 0.12),
    ]
    figure = Figure(figsize=(7.2, 0.6 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    for label, gains, colour, offset in series:
        known = [(place + offset, gain) for place, gain in enumerate(gains) if gain is not None]
        if known:
            axes.errorbar(
                [gain.mean for _, gain in known],
                [place for place, _ in known],
                xerr=[gain.interval[1] - gain.mean for _, gain in known],
                fmt="o", color=colour, label=label, capsize=3,
            )  # fmt: skip
    axes.axvline(0, color=LIGHT_GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [f"over {name}" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("gain of utility, 95% interval")
    axes.legend(frameon=False)
    _tidy(axes)
    return figure


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG.

    Args:
        figure: The same figure gives the same bytes.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
