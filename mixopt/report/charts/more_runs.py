"""How well a surrogate of more runs is expected to rank mixtures, for a table of runs."""

from collections.abc import Sequence

import altair as alt

from mixopt.optimization.learning_curve import Expectation
from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import Palette

HEIGHT = 180


def more_runs_picture(expectations: Sequence[Expectation]) -> Picture:
    """Return the picture of the expected rank correlation by number of runs.

    Args:
        expectations: For the runs so far, then for more of them.
    """
    rows = [
        (
            f"{each.runs}",
            f"{each.rank:+.3f}",
            "{:+.3f} to {:+.3f}".format(*each.rank_interval),
            f"{each.error:.3f}",
            "{:.3f} to {:.3f}".format(*each.error_interval),
        )
        for each in expectations
    ]
    return Picture(
        "more-runs", lambda palette: _draw(expectations, palette),
        "Expected rank correlation of the utility by number of runs",
        ("runs", "rank correlation", "80% interval", "error (sd)", "80% interval of the error"),
        rows, HEIGHT,
    )  # fmt: skip


def _draw(expectations: Sequence[Expectation], palette: Palette) -> Chart:
    rows = [
        {"runs": each.runs, "rank": each.rank, "low": each.rank_interval[0],
         "high": each.rank_interval[1], "text": f"{each.rank:+.3f}, error {each.error:.3f} sd",
         "known": "so far" if number == 0 else "expected"}
        for number, each in enumerate(expectations)
    ]  # fmt: skip
    x = alt.X("runs:Q", scale=alt.Scale(zero=False, nice=False, padding=12),
              axis=alt.Axis(title="runs", grid=False, tickMinStep=1, tickCount=5))  # fmt: skip
    y = alt.Y("rank:Q", scale=alt.Scale(zero=False, nice=True),
              axis=alt.Axis(title="rank correlation", tickCount=4))  # fmt: skip
    base = alt.Chart(values(rows)).encode(x=x)
    tooltip = [alt.Tooltip("runs:Q"), alt.Tooltip("text:N", title="rank correlation")]
    dots = base.mark_point(size=70, opacity=1, color=palette.blue).encode(y=y, tooltip=tooltip)
    return alt.layer(
        base.mark_area(color=palette.blue, opacity=0.18).encode(
            y=alt.Y("low:Q", scale=alt.Scale(zero=False, nice=True)), y2="high:Q"
        ),
        base.mark_line(color=palette.ink, strokeDash=[4, 4]).encode(y=y),
        dots.transform_filter("datum.known == 'so far'").mark_point(
            filled=True, size=70, opacity=1, color=palette.blue
        ),
        dots.transform_filter("datum.known == 'expected'").mark_point(
            filled=True, size=80, opacity=1, color=palette.ink, shape="diamond"
        ),
    )
