"""What was known of the gain as training was spent, and what the next run is worth."""

from typing import Any

import altair as alt

from mixopt.decision import Decision
from mixopt.report.charts.gains import describe_gain, robust_range
from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import Palette
from mixopt.report.sentences import format_ratios

HEIGHT = 220
NAMED = 3  # domains in the name of a run


def learning_picture(decision: Decision) -> Picture | None:
    """Return the expected gain by tokens of training, and after the next run; None where unknown.

    Args:
        decision: Of a study.
    """
    if len(decision.learning) + len(decision.next_runs) < 2 or not decision.learning:
        return None
    rows = []
    for step in decision.learning:
        mean, span = describe_gain(step.gain)
        after = f"{step.runs} run{'s' * (step.runs > 1)}" if step.runs else "experts alone"
        advice = "train on it" if step.moves else f"stay with {decision.reference}"
        rows.append((f"{step.tokens:,}", after, mean, span, advice))
    for bought in _expected(decision):
        rows.append((f"{bought['tokens']:,}", bought["after"], f"{bought['gain']:+.3f}",
                     "–", bought["text"]))  # fmt: skip
    return Picture(
        "learning", lambda palette: _draw(decision, palette),
        "Expected gain by tokens of training, and what the next run is worth",
        ("tokens trained", "known from", "expected gain", "95% interval", "advice"), rows, HEIGHT,
    )  # fmt: skip


def _expected(decision: Decision) -> list[dict[str, Any]]:
    """Return where the next run of each length leads: natural, which gains 0, may be chosen too."""
    last = decision.learning[-1]
    return [
        {
            "tokens": last.tokens + run.price,
            "gain": max(last.gain.mean, 0.0) + run.value,
            "after": f"next run, {run.tokens:,} tokens",
            "text": f"{format_ratios(run.ratios, NAMED)}: {run.value:+.3f} for {run.price:,} tokens",
        }
        for run in decision.next_runs
    ]


def _draw(decision: Decision, palette: Palette) -> Chart:
    low, high = robust_range([step.gain for step in decision.learning])
    rows: list[dict[str, Any]] = []
    for step in decision.learning:
        mean, span = describe_gain(step.gain)
        least, most = step.gain.interval
        rows.append({
            "tokens": step.tokens, "gain": step.gain.mean, "runs": step.runs,
            "low": max(least, low), "high": min(most, high), "text": f"{mean}, 95% interval {span}",
        })  # fmt: skip
    bought = _expected(decision)
    high = max([high, *(each["gain"] for each in bought)])
    x = alt.X("tokens:Q", scale=alt.Scale(nice=False, zero=False, padding=12),
              axis=alt.Axis(title="tokens trained, experts included", grid=False, tickCount=4,
                            format="~s"))  # fmt: skip
    y = alt.Y("gain:Q", scale=alt.Scale(domain=[low, high], nice=False),
              axis=alt.Axis(title=f"gain over {decision.reference}", tickCount=4))  # fmt: skip
    base = alt.Chart(values(rows)).encode(x=x)
    tooltip = [alt.Tooltip("text:N", title="expected gain"), alt.Tooltip("runs:Q", title="runs"),
               alt.Tooltip("tokens:Q", title="tokens", format=",")]  # fmt: skip
    zero = alt.Chart(values([{"gain": 0}])).mark_rule(color=palette.soft, strokeDash=[3, 3])
    layers = [
        base.mark_area(color=palette.blue, opacity=0.18).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_rule(color=palette.blue, opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        zero.encode(y=y),
        base.mark_line(color=palette.blue).encode(y=y),
        base.mark_point(filled=True, size=60, opacity=1, color=palette.blue).encode(
            y=y, tooltip=tooltip
        ),
    ]
    if bought:
        # as in `_expected`: below zero natural is chosen
        start = {"tokens": rows[-1]["tokens"], "gain": max(rows[-1]["gain"], 0.0)}
        lines = [
            {**point, "line": str(i)} for i, end in enumerate(bought) for point in (start, end)
        ]
        layers.append(
            alt.Chart(values(lines)).mark_line(color=palette.ink, strokeDash=[4, 4])
            .encode(x=x, y=y, detail="line:N")
        )  # fmt: skip
        ends = alt.Chart(values(bought)).encode(
            x=x, y=y, tooltip=[alt.Tooltip("after:N", title="bought"), alt.Tooltip("text:N")]
        )
        layers.append(ends.mark_point(filled=False, size=80, color=palette.ink, shape="diamond"))
    return alt.layer(*layers)
