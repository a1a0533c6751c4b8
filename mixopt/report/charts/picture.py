"""A chart with its description and the table of its numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from mixopt.report.charts.theme import LIGHT, PAGE, WIDTH, Palette, config

Chart = alt.Chart | alt.LayerChart | alt.FacetChart
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Picture:
    """A chart with what readers need who cannot see it.

    Attributes:
        name: Short name, of its file and its place in the page.
        chart: Draws the chart in a palette; its size is left out.
        label: What it shows, in a phrase.
        columns: Titles of the table's columns.
        rows: The table: the numbers of the chart, as text.
        height: In pixels; None where the chart sets it.
        drawn: Number of rows that are drawn, where the chart leaves some out.
        left_out: Number of those that only the table has.
    """

    name: str
    chart: Callable[[Palette], Chart]
    label: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    height: int | None = None
    drawn: int = 0
    left_out: int = 0

    def spec(self, palette: Palette = LIGHT) -> dict[str, Any]:
        """Return the chart in Vega-Lite.

        Args:
            palette: `PAGE` for the report, whose charts take the width of their place.
        """
        # tests check the charts against the schema, which costs more than drawing them
        drawn: dict[str, Any] = self.chart(palette).to_dict(validate=False)
        drawn["config"] = config(palette)
        if "facet" not in drawn:
            drawn["width"] = "container" if palette is PAGE else WIDTH
            drawn["autosize"] = {
                "type": "fit-x" if palette is PAGE else "pad",
                "contains": "padding",
            }
        if self.height is not None:
            drawn["height"] = self.height
        return drawn


def values(rows: Rows, name: str | None = None) -> alt.InlineData:
    """Return rows as a chart's data.

    Args:
        rows: By field.
        name: By which the page replaces them.
    """
    return alt.InlineData(values=rows) if name is None else alt.InlineData(values=rows, name=name)
