"""How the search went, and what the next runs would buy."""

import math
from collections.abc import Sequence

import altair as alt

from mixopt.optimization.validation import Purchase
from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import ROW, Palette
from mixopt.report.data import RoundSummary

HEIGHT = 180


def progress_picture(rounds: Sequence[RoundSummary]) -> Picture:
    """Return the picture of the rank correlation and the best utility by candidates scored.

    Args:
        rounds: Of the search.
    """
    rows = [
        (str(each.number), str(each.n_trials), _signed(each.rank_correlation), _signed(each.best))
        for each in rounds
    ]
    return Picture(
        "progress", lambda palette: _draw_rounds(rounds, palette),
        "Rank correlation of the surrogate as candidates were scored",
        ("round", "candidates so far", "rank correlation", "best utility so far"), rows, HEIGHT,
    )  # fmt: skip


def purchases_picture(purchases: Sequence[Purchase]) -> Picture:
    """Return the picture of what more computation is expected to raise the rank correlation by.

    Args:
        purchases: The largest gain per token first.
    """
    rows = [
        (
            each.option,
            f"{'at most ' if each.at_most else ''}{each.gain:+.3f}",
            f"{each.tokens:,.0f}",
        )
        for each in purchases
    ]
    return Picture(
        "purchases", lambda palette: _draw_purchases(purchases, palette),
        "Expected increase in rank correlation by option",
        ("option", "increase in rank correlation", "cost in tokens"), rows,
        ROW * len(purchases) + 8,
    )  # fmt: skip


def _signed(number: float) -> str:
    return f"{number:+.3f}" if math.isfinite(number) else "–"


def _draw_rounds(rounds: Sequence[RoundSummary], palette: Palette) -> Chart:
    rows = [
        {"n": each.n_trials, "rank": each.rank_correlation, "best": _signed(each.best)}
        for each in rounds if math.isfinite(each.rank_correlation)
    ]  # fmt: skip
    dots = alt.OverlayMarkDef(filled=True, size=60, color=palette.blue)
    chart: alt.Chart = (
        alt.Chart(values(rows))
        .mark_line(point=dots, color=palette.blue)
        .encode(
            x=alt.X("n:Q", axis=alt.Axis(title="candidates scored", grid=False, tickMinStep=1)),
            y=alt.Y("rank:Q", scale=alt.Scale(zero=False, nice=True),
                    axis=alt.Axis(title="rank correlation", tickCount=4)),
            tooltip=[alt.Tooltip("n:Q", title="candidates"),
                     alt.Tooltip("rank:Q", title="rank correlation", format="+.3f"),
                     alt.Tooltip("best:N", title="best utility so far")],
        )
    )  # fmt: skip
    return chart


def _draw_purchases(purchases: Sequence[Purchase], palette: Palette) -> Chart:
    rows = [
        {"option": each.option, "gain": each.gain,
         "text": f"{each.gain:+.3f} for {each.tokens:,.0f} tokens", "short": f"{each.gain:+.3f}"}
        for each in purchases
    ]  # fmt: skip
    largest = max([each.gain for each in purchases] + [1e-3])
    scale = alt.Scale(domain=[0, 2 * largest], nice=False)
    y = alt.Y("option:N", sort=[each.option for each in purchases], title=None,
              axis=alt.Axis(ticks=False, domain=False))  # fmt: skip
    base = alt.Chart(values(rows)).encode(y=y)
    axis = alt.Axis(title="increase in rank correlation", grid=False, tickCount=4)
    x = alt.X("gain:Q", scale=scale, axis=axis)
    return alt.layer(
        base.mark_bar(color=palette.blue, height={"band": 0.5}).encode(x=x),
        base.mark_text(align="right", color=palette.ink).encode(x=alt.value("width"), text="text:N"),
    )  # fmt: skip
