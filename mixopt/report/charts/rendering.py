"""Turn Vega-Lite charts into PNG and SVG, and collect the scripts that draw them in a page."""

import json
from functools import cache
from importlib import metadata
from typing import Any

import altair as alt
import vl_convert

from mixopt.io.remembered import remember

SCALE = 2.0  # pixels of a PNG by pixel of the chart
VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""Of Vega-Lite, whose charts Altair writes."""
NOTICE = (
    "/*! Vega, Vega-Lite, Vega-Embed: Copyright (c) University of Washington Interactive Data Lab and "
    "contributors, BSD-3-Clause; parts of D3: Copyright Mike Bostock, ISC */"
)


def to_png(spec: dict[str, Any]) -> bytes:
    """Return a chart as PNG.

    Args:
        spec: Vega-Lite; the same chart gives the same bytes.
    """
    return bytes(vl_convert.vegalite_to_png(json.dumps(spec), vl_version=VERSION, scale=SCALE))


def to_svg(spec: dict[str, Any]) -> str:
    """Return a chart as SVG.

    Args:
        spec: Vega-Lite.
    """
    return str(vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VERSION))


@cache
def page_script() -> str:
    """Return JavaScript that defines `vegaEmbed`, which draws Vega-Lite charts without a network."""
    snippet = "window.vegaEmbed = vegaEmbed;"

    def make() -> str:  # about two seconds
        return str(vl_convert.javascript_bundle(snippet, vl_version=VERSION))

    key = {"vl_convert": metadata.version("vl-convert-python"), "vega_lite": VERSION,
           "snippet": snippet}  # fmt: skip
    bundle = remember("page-scripts", key, make)
    # an end tag inside a script element would end it
    safe = bundle.replace("</script", "<\\/script")
    return f"{NOTICE}\n{safe}"
