"""Write the report: one self-contained HTML page, and its pictures as PNG."""

import math
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mixopt import __version__
from mixopt.estimate import format_chance
from mixopt.io.display import show_directions
from mixopt.io.files import write_bytes, write_text
from mixopt.report import tables
from mixopt.report.charts.predicted import MAX_POINTS, predicted_picture
from mixopt.report.charts.rendering import page_script, to_png
from mixopt.report.charts.theme import DARK, LIGHT
from mixopt.report.data import UNITS, ReportData
from mixopt.report.findings import Findings, find, predicted_gains, probably_worse
from mixopt.report.payload import MAX_METRICS, build_payload
from mixopt.report.sentences import DECISION_UNIT, describe_equivalent, format_ratios, summarize

FIGURES = (
    "ratios",
    "gains",
    "benchmarks",
    "learning",
    "experts",
)  # written as PNG too, beside `predicted`
PREDICTED = "predicted"
MAX_NAMED = 12  # domains in the sentence of the ratios; the picture and its table have all
LONG_TABLE = 20  # rows from which a table has a search field


def write_report(data: ReportData, folder: Path) -> Path:
    """Write `report.html` and `figures/*.png`.

    Args:
        data: What the page shows.
        folder: Where to write.

    Returns:
        Path of the page.
    """
    findings = find(data)
    pictures = [findings.pictures[name] for name in FIGURES if name in findings.pictures]
    if data.predictions:
        pictures.append(predicted_picture(data.predictions))
    for picture in pictures:
        write_bytes(folder / "figures" / f"{picture.name}.png", to_png(picture.spec()))
    # of an earlier report, which had more to show
    for name in {*FIGURES, PREDICTED} - {picture.name for picture in pictures}:
        (folder / "figures" / f"{name}.png").unlink(missing_ok=True)
    return write_text(folder / "report.html", _render_page(data, findings))


def _render_page(data: ReportData, findings: Findings | None = None) -> str:
    findings = findings or find(data)
    loader = PackageLoader("mixopt.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, finalize=_finalize)  # fmt: skip
    environment.filters["signed"] = lambda number: _format(number, "+.3f")
    environment.filters["number"] = lambda number: _format(number, ".3f")
    environment.filters["percent"] = lambda number: f"{100 * number:.1f}%"
    environment.filters["chance"] = format_chance
    environment.filters["span"] = lambda e: f"[{_format(e[0], '+.3f')}, {_format(e[1], '+.3f')}]"
    templates = files("mixopt.report") / "templates"

    def read(name: str) -> Markup:
        return Markup((templates / name).read_text(encoding="utf-8"))

    best, raw = data.best, data.unit == UNITS["raw"]
    columns, rows = tables.scores(data)
    candidate = "" if best.decision is None else format_ratios(best.decision.candidate, MAX_NAMED)
    return environment.get_template("page.html.j2").render(
        data=data, best=best, summary=summarize(data), findings=findings,
        ratios=format_ratios(best.ratios, MAX_NAMED), candidate=candidate,
        by_name={metric.name: metric for metric in data.metrics}, version=__version__,
        # a study's decision is in the unit of its objective, a table's in that of its surrogate
        decision_unit=data.unit if best.measured is None or raw else DECISION_UNIT,
        equivalent=describe_equivalent(data), worse=probably_worse(data),
        gains=predicted_gains(data), long_table=LONG_TABLE, score_columns=columns, score_rows=rows,
        tie_rows=tables.ties(data), group_rows=tables.groups(data),
        trained_rows=tables.trained(data), domain_rows=tables.domains(data),
        warnings=tables.warnings(data),
        n_trials=max((len(row.measured) for row in data.predictions.values()), default=0),
        max_points=MAX_POINTS, max_metrics=MAX_METRICS,
        light=Markup(LIGHT.css()), dark=Markup(DARK.css()), style=read("page.css"),
        library=Markup(page_script()), script=read("emulator.js") + read("page.js"),
        payload=build_payload(data, findings.pictures),
    )  # fmt: skip


def _finalize(value: object) -> object:
    return show_directions(value) if isinstance(value, str) and type(value) is str else value


def _format(number: float, form: str) -> str:
    return "–" if not math.isfinite(number) else format(number, form)
