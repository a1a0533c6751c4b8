"""Charts of "Try it": the page computes their rows from the emulator for the mixture of the sliders.

Their data have names, by which the page's script fills them: `slices`; `bands`, `lines`, `frame` and
`marks` of the ternary map; `front`.
"""

import altair as alt

from mixopt.report.charts.picture import Chart, values
from mixopt.report.charts.theme import Palette

SLICE_HEIGHT, SLICE_WIDTH = 110, 190


def explore_charts(palette: Palette, gain: str) -> dict[str, Chart]:
    """Return the charts by name.

    Args:
        palette: Their colours.
        gain: What the gain is called.
    """
    return {
        "slices": _slices(palette, gain),
        "ternary": _ternary(palette),
        "front": _front(palette),
    }


def _slices(palette: Palette, gain: str) -> Chart:
    base = alt.Chart()
    x = alt.X("share:Q", scale=alt.Scale(zero=False, nice=False),
              axis=alt.Axis(title=None, tickCount=4, grid=False, format=".3~g"))  # fmt: skip
    # the page cuts intervals off where they would dwarf the curves
    scale = alt.Scale(zero=False, nice=False)
    y = alt.Y("gain:Q", scale=scale, axis=alt.Axis(title=None, tickCount=4))
    layers = alt.layer(
        base.mark_area(color=palette.blue, opacity=0.22).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"
        ),
        base.transform_filter("datum.here").mark_rule(color=palette.soft, strokeDash=[3, 3]).encode(
            y=alt.Y("zero:Q", scale=scale),
            opacity=alt.condition("datum.crosses", alt.value(1), alt.value(0)),
        ),
        base.mark_line(color=palette.blue, strokeWidth=2.5).encode(x=x, y=y),
        base.transform_filter("datum.here")
        .mark_point(filled=True, size=70, opacity=1, color=palette.ink)
        .encode(x=x, y=y, tooltip=["domain:N", alt.Tooltip("share:Q", title="ratio, %", format=".1f"),
                                   alt.Tooltip("gain:Q", title=gain, format="+.3f")]),
    ).properties(width=SLICE_WIDTH, height=SLICE_HEIGHT)  # fmt: skip
    header = alt.Header(title=None, labelLimit=SLICE_WIDTH, labelPadding=2)
    drawn: alt.FacetChart = layers.facet(
        alt.Facet("domain:N", sort=alt.EncodingSortField("place", op="min"), header=header),
        data=values([], "slices"), columns=3, spacing=14,
    )  # fmt: skip
    resolved: alt.FacetChart = drawn.resolve_scale(x="independent")
    return resolved


def _ternary(palette: Palette) -> Chart:
    bands = (
        alt.Chart(values([], "bands"))
        .mark_geoshape(stroke=None)
        .encode(
            color=alt.Color("properties.band:O", legend=None, scale=alt.Scale(
                domain=list(range(len(palette.scale))), range=palette.scale))
        )
    )  # fmt: skip
    frame = alt.Chart(values([], "frame")).mark_geoshape(filled=False, stroke=palette.soft)
    lines = (
        alt.Chart(values([], "lines"))
        .mark_geoshape(filled=False, stroke=palette.ink, opacity=0.55)
        .encode(strokeWidth=alt.condition("datum.properties.zero", alt.value(2.2), alt.value(0.5)))
    )
    x, y = alt.Longitude("x:Q"), alt.Latitude("y:Q")
    marks = alt.Chart(values([], "marks")).encode(longitude=x, latitude=y)
    halo = marks.mark_point(size=190, filled=True, color=palette.paper, opacity=1).encode(
        shape=_shape()
    )
    inside = marks.mark_point(size=100, filled=True, color=palette.ink, opacity=1).encode(
        shape=_shape(), tooltip=["what:N", "text:N"]
    )
    projection = alt.Projection(type="identity", reflectY=True)
    return alt.layer(bands, lines, frame, halo, inside).properties(projection=projection)


def _shape() -> alt.Shape:
    shapes = alt.Scale(domain=["sliders", "best"], range=["circle", "diamond"])
    return alt.Shape("what:N", legend=None, scale=shapes)


def _front(palette: Palette) -> Chart:
    base = alt.Chart(values([], "front"))
    scale = alt.Scale(zero=False, nice=True, padding=8)
    # titles are signals, because the reader chooses the capabilities
    x = alt.X("x:Q", scale=scale, axis=alt.Axis(title="x", tickCount=5))
    y = alt.Y("y:Q", scale=scale, axis=alt.Axis(title="y", tickCount=5))
    tooltip = alt.Tooltip("text:N", title="mixture")
    return alt.layer(
        base.transform_filter("datum.kind == 'dominated'")
        .mark_point(filled=True, color=palette.unclear, size=14, opacity=0.45).encode(x=x, y=y),
        base.transform_filter("datum.kind == 'front'")
        .mark_line(color=palette.blue, interpolate="step-before", opacity=0.6)
        .encode(x=x, y=y, order="x:Q"),
        base.transform_filter("datum.kind == 'front'")
        .mark_point(filled=True, color=palette.blue, size=60, opacity=1)
        .encode(x=x, y=y, tooltip=tooltip),
        base.transform_filter("datum.kind == 'start'")
        .mark_point(filled=True, shape="diamond", color=palette.ink, size=110, opacity=1)
        .encode(x=x, y=y, tooltip=tooltip),
        # the proposal is often near the best one seen: their names stand on two sides
        base.transform_filter("datum.kind == 'start' && datum.text == 'proposal'")
        .mark_text(align="right", dx=-8, color=palette.ink).encode(x=x, y=y, text="text:N"),
        base.transform_filter("datum.kind == 'start' && datum.text != 'proposal'")
        .mark_text(align="left", dx=8, color=palette.ink).encode(x=x, y=y, text="text:N"),
    )  # fmt: skip
