"""Gains with their 95% intervals, one row each, around the line of no change."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from mixopt.estimate import Estimate, format_chance
from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import ROW, Palette

MAX_ROWS = 24  # drawn; the table has all
ROOM = 0.28  # of the axis, for the numbers
ROBUST = 3.0  # an interval may take this many times the width of the others before it is cut off


def gains_picture(
    gains: Sequence[tuple[str, Estimate]],
    *,
    name: str,
    label: str,
    title: str,
    percent: bool = False,
    first_column: str = "capability",
) -> Picture:
    """Return the picture of gains; right of the line is better.

    Args:
        gains: By row, in the order of the rows; a row may have several. One without a standard error
            is a dot without an interval.
        name: Of the picture.
        label: What it shows, in a phrase.
        title: Of the axis.
        percent: Whether gains are in percent.
        first_column: Title of the table's first column.
    """
    rows = []
    for row, gain in gains:
        mean, span = describe_gain(gain, percent=percent)
        rows.append((row, mean, span, format_chance(gain.chance) if gain.std_error >= 0 else "–"))
    known = [(row, gain) for row, gain in gains if math.isfinite(gain.mean)]
    names = list(dict.fromkeys(row for row, _ in known))
    drawn = names[:MAX_ROWS]
    shown = [(row, gain) for row, gain in known if row in drawn]
    return Picture(
        name,
        lambda palette: _draw(shown, title, percent, palette),
        label,
        (first_column, "gain", "95% interval", "chance of a gain"),
        rows,
        ROW * max(1, len(drawn)) + 8,
        len(drawn),
        len(names) - len(drawn),
    )


def describe_gain(gain: Estimate, *, percent: bool = False) -> tuple[str, str]:
    """Return a gain and its interval as text.

    Args:
        gain: What is unknown is a dash.
        percent: Whether it is in percent.
    """
    low, high = gain.interval
    ends = f"{_text(low, percent)} to {_text(high, percent)}"
    return _text(gain.mean, percent), ends if math.isfinite(high - low) else "–"


def verdict_of(gain: Estimate) -> str:
    """Return `better`, `worse`, or `unclear` where the interval includes zero.

    Args:
        gain: Higher is better.
    """
    if not gain.distinguishable:
        return "unclear"
    return "better" if gain.mean > 0 else "worse"


def robust_range(gains: Sequence[Estimate]) -> tuple[float, float]:
    """Return an axis that holds zero and all means, and no interval that dwarfs the others.

    Args:
        gains: With finite means.
    """
    halves = [(g.interval[1] - g.interval[0]) / 2 for g in gains]
    finite = sorted(half for half in halves if math.isfinite(half))
    usual = finite[len(finite) // 2] if finite else 0.0
    reach = [0.0]
    for gain, half in zip(gains, halves, strict=True):
        cut = min(half, ROBUST * usual) if math.isfinite(half) else 0.0
        reach += [gain.mean - cut, gain.mean + cut]
    low, high = min(reach), max(reach)
    gap = 0.04 * (high - low or 1.0)
    return low - gap, high + gap


def _text(number: float, percent: bool) -> str:
    if not math.isfinite(number):
        return "–"
    return f"{number:+.1f}%" if percent else f"{number:+.3f}"


def _draw(
    gains: Sequence[tuple[str, Estimate]], title: str, percent: bool, palette: Palette
) -> Chart:
    start, end = robust_range([gain for _, gain in gains])
    rows: list[dict[str, Any]] = []
    for name, gain in gains:
        low, high = gain.interval
        known = math.isfinite(high - low)
        mean, span = describe_gain(gain, percent=percent)
        rows.append({
            "name": name, "gain": gain.mean, "verdict": verdict_of(gain), "number": mean,
            "low": max(low, start) if known else None, "high": min(high, end) if known else None,
            "left": start if known and low < start else None,
            "right": end if known and high > end else None,
            "text": f"{mean}, 95% interval {span}" if known else mean,
        })  # fmt: skip
    # the numbers stand at the right end of the axis
    scale = alt.Scale(domain=[start, end + ROOM * (end - start)], nice=False)
    y = alt.Y("name:N", sort=[row["name"] for row in rows], title=None,
              axis=alt.Axis(ticks=False, domain=False))  # fmt: skip
    x = alt.X("gain:Q", scale=scale, axis=alt.Axis(title=title, grid=False, tickCount=5))
    colour = alt.Color("verdict:N", legend=None, scale=alt.Scale(
        domain=["better", "worse", "unclear"], range=[palette.better, palette.worse, palette.unclear]
    ))  # fmt: skip
    tooltip = [alt.Tooltip("name:N", title="of"), alt.Tooltip("text:N", title="gain")]
    base = alt.Chart(values(rows)).encode(y=y, tooltip=tooltip)
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color=palette.soft, strokeDash=[3, 3])
    span = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", color=colour
    )
    layers = [
        zero.encode(x=alt.X("zero:Q", scale=scale)),
        span.transform_filter("isValid(datum.low)"),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=x, color=colour),
    ]
    for side in ("left", "right"):  # an arrow where an interval goes on beyond the axis
        if any(row[side] is not None for row in rows):
            arrow = base.mark_point(filled=True, size=70, opacity=1, shape=f"triangle-{side}")
            ends = arrow.transform_filter(f"isValid(datum.{side})")
            layers.append(ends.encode(x=alt.X(f"{side}:Q", scale=scale), color=colour))
    if len(drawn_twice(rows)) == 0:
        text = base.mark_text(align="right", color=palette.ink)
        layers.append(text.encode(x=alt.value("width"), text="number:N"))
    return alt.layer(*layers)


def drawn_twice(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of several rows, whose numbers would lie on each other.

    Args:
        rows: With a `name` each.
    """
    names = [row["name"] for row in rows]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
