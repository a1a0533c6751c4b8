"""Predicted against measured scores, and how well each metric's mixtures are ranked."""

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np

from mixopt.report.charts.picture import Chart, Picture, Rows, values
from mixopt.report.charts.theme import PAGE, ROW, Palette
from mixopt.report.data import PredictedScores

MAX_POINTS = 250  # runs drawn in one panel
MAX_PANELS = 24  # metrics drawn; the table has all of them
MAX_RANKS = 30
PANEL = 150  # width and height of a panel, in pixels


def points(scores: PredictedScores) -> Rows:
    """Return the pairs that are known, as a chart's rows.

    Args:
        scores: Measured and predicted.
    """
    known = np.isfinite(scores.measured) & np.isfinite(scores.predicted)
    pairs = zip(scores.predicted[known], scores.measured[known], strict=True)
    return [
        {"predicted": float(f"{x:.5g}"), "measured": float(f"{y:.5g}")}
        for x, y in list(pairs)[:MAX_POINTS]
    ]


def predicted_picture(
    scores: Mapping[str, PredictedScores], *, title: str = "cross-validated prediction"
) -> Picture:
    """Return the picture of measured against predicted scores, one panel by metric.

    Args:
        scores: By metric.
        title: What the predictions are.
    """
    drawn = dict(list(scores.items())[:MAX_PANELS])
    columns, rows = rank_table(scores)
    label = "Measured against predicted scores, by metric"
    if len(scores) > MAX_PANELS:
        label += f": the first {MAX_PANELS} of {len(scores)}"
    most = max((len(row.measured) for row in scores.values()), default=0)
    if most > MAX_POINTS:
        label += f"; the first {MAX_POINTS} of {most:,} trials"
    return Picture(
        "predicted", lambda palette: _panels(drawn, title, palette), label, columns, rows
    )


def rank_table(
    scores: Mapping[str, PredictedScores],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of the rank correlations by metric.

    Args:
        scores: By metric.
    """
    columns = ("benchmark", "rank correlation", "model with the largest weight")
    rows: list[tuple[str, ...]] = [
        (name, _correlation(row.rank_correlation), row.model) for name, row in scores.items()
    ]
    return columns, rows


def ranks_picture(scores: Mapping[str, PredictedScores]) -> Picture:
    """Return the picture of the rank correlation of each metric, the lowest first.

    Args:
        scores: By metric.
    """
    columns, rows = rank_table(scores)
    known = [(row.rank_correlation, name) for name, row in scores.items()]
    ranked = sorted((rank, name) for rank, name in known if math.isfinite(rank))[:MAX_RANKS]
    return Picture(
        "ranks", lambda palette: _ranks(ranked, palette),
        "How well the surrogate ranks mixtures that it was not fitted to, by benchmark",
        columns, rows, ROW * max(1, len(ranked)) + 8,
    )  # fmt: skip


def one_panel(palette: Palette) -> Chart:
    """Return the chart of one metric; the page puts its pairs in as the data `points`.

    Args:
        palette: Its colours.
    """
    return _panel(alt.Chart(values([], "points")), palette, "cross-validated prediction")


def _correlation(rank: float) -> str:
    return f"{rank:+.3f}" if math.isfinite(rank) else "–"


def _panel(base: alt.Chart, palette: Palette, title: str | None) -> Chart:
    # the same scale on both axes: on the diagonal prediction and measurement agree
    low, high = "min(datum.predicted, datum.measured)", "max(datum.predicted, datum.measured)"
    scale = alt.Scale(zero=False, nice=False, padding=6)
    x = alt.X("predicted:Q", scale=scale, axis=alt.Axis(title=title, tickCount=4, grid=False))
    y = alt.Y("measured:Q", scale=scale, axis=alt.Axis(tickCount=4, grid=False,
              title="measured" if title else None))  # fmt: skip
    line = (
        base.transform_calculate(low=low, high=high)
        .transform_aggregate(low="min(low)", high="max(high)")
        .mark_rule(color=palette.unclear, strokeDash=[3, 3])
        .encode(
            x=alt.X("low:Q", scale=scale), y=alt.Y("low:Q", scale=scale), x2="high:Q", y2="high:Q"
        )
    )
    dots = base.mark_point(filled=True, color=palette.blue, opacity=0.7, size=30).encode(x=x, y=y)
    return alt.layer(line, dots)


def _panels(scores: Mapping[str, PredictedScores], title: str, palette: Palette) -> Chart:
    rows = [{"metric": name, **pair} for name, row in scores.items() for pair in points(row)]
    names = list(scores)
    side = PANEL if palette is not PAGE else 120
    chart = _panel(alt.Chart(), palette, None).properties(width=side, height=side)
    header = alt.Header(title=f"x axis: {title}; y axis: measured", labelLimit=side)
    facet = alt.Facet("metric:N", sort=names, header=header)
    drawn: alt.FacetChart = chart.facet(facet, data=values(rows), columns=min(4, len(names)))
    resolved: alt.FacetChart = drawn.resolve_scale(x="independent", y="independent")
    return resolved


def _ranks(ranked: list[tuple[float, str]], palette: Palette) -> Chart:
    rows: list[dict[str, Any]] = [{"name": name, "rank": rank} for rank, name in ranked]
    lowest = min([0.0, *(rank - 0.05 for rank, _ in ranked)])
    scale = alt.Scale(domain=[lowest, 1.0], nice=False)
    y = alt.Y("name:N", sort=[row["name"] for row in rows], title=None,
              axis=alt.Axis(ticks=False, domain=False))  # fmt: skip
    axis = alt.Axis(title="rank correlation", tickCount=5)
    base = alt.Chart(values(rows)).encode(
        y=y, tooltip=[alt.Tooltip("name:N", title="of"), alt.Tooltip("rank:Q", format="+.3f")]
    )
    return alt.layer(
        base.mark_rule(strokeWidth=3, color=palette.line).encode(
            x=alt.X("rank:Q", scale=scale, axis=axis), x2=alt.datum(0)
        ),
        base.mark_point(filled=True, size=70, opacity=1, color=palette.blue).encode(
            x=alt.X("rank:Q", scale=scale)
        ),
    )
