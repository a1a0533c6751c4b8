"""What each expert learned and forgot: the change of its losses against the base's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import ROW, Palette

MAX_LETTERED = 12  # with more metrics a cell is narrower than its number


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


def experts_picture(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> Picture:
    """Return the picture of the change of each expert's losses.

    Args:
        scores: By expert, and for `base`: score by metric.
        metrics: Names of the losses; one that is 0 for the base has a dash.
    """
    changes = percent_changes(scores, metrics)
    return Picture(
        "experts", lambda palette: _draw(changes, list(metrics), palette),
        "Change of each expert's losses against the base", ("expert", *metrics),
        [(name, *(f"{change:+.1f}%" if math.isfinite(change) else "–" for change in row.values()))
         for name, row in changes.items()],
        ROW * len(changes) + 8,
    )  # fmt: skip


def _draw(
    changes: Mapping[str, Mapping[str, float]], metrics: list[str], palette: Palette
) -> Chart:
    rows: list[dict[str, Any]] = [
        {"expert": expert, "metric": metric, "change": change if math.isfinite(change) else None,
         "text": f"{change:+.0f}" if math.isfinite(change) else "–"}
        for expert, row in changes.items() for metric, change in row.items()
    ]  # fmt: skip
    sizes = sorted(abs(row["change"]) for row in rows if row["change"] is not None)
    # nine of ten cells use the whole scale; the largest changes have the colour of its ends
    limit = max(1e-9, sizes[int(0.9 * (len(sizes) - 1))]) if sizes else 1.0
    x = alt.X("metric:N", sort=metrics, axis=alt.Axis(
        title=None, labelAngle=-35, labelLimit=140, domain=False, ticks=False))  # fmt: skip
    y = alt.Y("expert:N", sort=list(changes), axis=alt.Axis(title=None, domain=False, ticks=False))
    better = "datum.change < 0 ? 'better' : 'worse'"
    base = (
        alt.Chart(values(rows))
        .transform_calculate(
            direction=better,
            strength=f"datum.change == null ? 0 : min(1, abs(datum.change) / {limit})",
        )
        .encode(
            x=x, y=y, tooltip=["expert:N", "metric:N", alt.Tooltip("text:N", title="change, %")]
        )
    )
    cells = base.mark_rect().encode(
        color=alt.Color("direction:N", legend=None, scale=alt.Scale(
            domain=["better", "worse"], range=[palette.better, palette.worse])),
        opacity=alt.Opacity("strength:Q", legend=None,
                            scale=alt.Scale(domain=[0, 1], range=[0.0, 0.55])),
    )  # fmt: skip
    if len(metrics) > MAX_LETTERED:
        return alt.layer(cells)
    return alt.layer(cells, base.mark_text(color=palette.ink).encode(text="text:N"))
