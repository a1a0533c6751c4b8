"""Colours and fonts of all charts and of the page: one list for light, one for dark."""

from dataclasses import dataclass, fields
from typing import Any

FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
WIDTH = 620  # of pictures outside the page, in pixels; on the page a chart takes the width it finds
ROW = 22  # height of one row of a chart with names at its left, in pixels


@dataclass(frozen=True)
class Palette:
    """Colours by their use.

    Attributes:
        paper: Background.
        ink: Text and marks that matter.
        soft: Text and marks beside them.
        line: Grid lines and borders.
        panel: Background of controls.
        blue: The accent: links, controls, neutral marks.
        grows: A ratio that grows.
        shrinks: A ratio that shrinks.
        better: A change for the better, beyond its uncertainty.
        worse: A change for the worse, beyond its uncertainty.
        unclear: A change within its uncertainty.
        low: Of the colour scale, its lowest step; `step1` to `step6` follow.
        high: Its highest step.
    """

    paper: str
    ink: str
    soft: str
    line: str
    panel: str
    blue: str
    grows: str
    shrinks: str
    better: str
    worse: str
    unclear: str
    low: str
    step1: str
    step2: str
    step3: str
    step4: str
    step5: str
    step6: str
    high: str

    @property
    def scale(self) -> list[str]:
        """The steps of the colour scale, from low to high."""
        return [self.low, self.step1, self.step2, self.step3, self.step4, self.step5, self.step6,
                self.high]  # fmt: skip

    def css(self) -> str:
        """Return the colours as CSS variables, which `PAGE` refers to."""
        return " ".join(f"--{field.name}: {getattr(self, field.name)};" for field in fields(self))


LIGHT = Palette(
    paper="#ffffff", ink="#1c2733", soft="#55616d", line="#d9dee3", panel="#f4f6f8",
    blue="#246a94", grows="#246a94", shrinks="#9a5700",
    better="#1a7358", worse="#b3372f", unclear="#66727e",
    low="#f2ecd8", step1="#dce5c8", step2="#b9d9bd", step3="#8cc7b9", step4="#5eafb5",
    step5="#3c91ab", step6="#2d6f98", high="#27487d",
)  # fmt: skip
DARK = Palette(
    paper="#14191f", ink="#e6eaee", soft="#a9b5c1", line="#36414d", panel="#1d242c",
    blue="#6db3dc", grows="#6db3dc", shrinks="#e3a757",
    better="#5cc6a3", worse="#f08f85", unclear="#98a4b0",
    low="#2a2440", step1="#2c3a66", step2="#2a5482", step3="#27708f", step4="#2e8d90",
    step5="#4eaa86", step6="#8cc576", high="#dfe08a",
)  # fmt: skip
PAGE = Palette(*(f"var(--{field.name})" for field in fields(Palette)))
"""Refers to the page's CSS variables, so that a chart follows the reader's colour scheme."""


def config(palette: Palette) -> dict[str, Any]:
    """Return the configuration of a Vega-Lite chart.

    Args:
        palette: `PAGE` in the report, `LIGHT` elsewhere.
    """
    text = {"font": FONT, "color": palette.soft}
    return {
        "background": palette.paper if palette is not PAGE else "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": palette.soft, "titleColor": palette.soft, "gridColor": palette.line,
            "domainColor": palette.line, "tickColor": palette.line, "labelFontSize": 12,
            "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 220,
        },
        # a mark at the left end may not touch the label of its row
        "axisY": {"labelColor": palette.ink, "labelPadding": 9},
        "header": {"labelColor": palette.ink, "labelFontSize": 12, "titleColor": palette.soft,
                   "labelLimit": 200},
        "title": {"color": palette.ink, "fontSize": 13, "anchor": "start"},
        "text": {**text, "fontSize": 12},
        "legend": {"labelColor": palette.soft, "titleColor": palette.soft},
    }  # fmt: skip
