"""The report: one self-contained HTML page, no outside address, with the figures inside it."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mixopt import __version__
from mixopt.files import write_bytes, write_text
from mixopt.mixture import Array, Mixture
from mixopt.proposal import Proposal
from mixopt.recipe import StudyRecipe
from mixopt.report.figures import draw_expert_losses, draw_predicted, draw_ratios, to_png
from mixopt.trials import DomainCount, Metric
from mixopt.validation import Validation


@dataclass(frozen=True)
class ReportData:
    """What the page shows.

    Attributes:
        recipe: The resolved recipe.
        domains: How much text each domain has.
        natural: The natural mixture.
        metrics: What was measured.
        proposals: Best first, verified.
        points: By metric: measured and out-of-fold predicted scores (`n` each), and the surrogate.
        expert_scores: By expert, and for `base`: score by metric.
        validation: What proxy runs say, where any were trained.
        warnings: What a reader must know before trusting a number.
    """

    recipe: StudyRecipe
    domains: Sequence[DomainCount]
    natural: Mixture
    metrics: Sequence[Metric]
    proposals: Sequence[Proposal]
    points: Mapping[str, tuple[Array, Array, str]]
    expert_scores: Mapping[str, Mapping[str, float]]
    validation: Validation | None
    warnings: Sequence[str] = ()


def write_report(data: ReportData, folder: Path) -> Path:
    """Writes `report.html` and `figures/*.png` into `folder`; returns the page's path."""
    losses = [metric.name for metric in data.metrics if metric.better == "lower"]
    figures = {
        "ratios": draw_ratios(data.proposals[0]),
        "predicted": draw_predicted(data.points),
    }
    if losses:
        figures["experts"] = draw_expert_losses(data.expert_scores, losses)
    pictures = {name: to_png(figure) for name, figure in figures.items()}
    for name, picture in pictures.items():
        write_bytes(folder / "figures" / f"{name}.png", picture)
    return write_text(folder / "report.html", render_page(data, pictures))


def render_page(data: ReportData, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("mixopt.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = lambda number: _format(number, "+.3f")
    environment.filters["number"] = lambda number: _format(number, ".3f")
    environment.filters["percent"] = lambda number: f"{100 * number:.1f}%"
    return environment.get_template("page.html.j2").render(
        data=data,
        best=data.proposals[0],
        by_name={metric.name: metric for metric in data.metrics},
        images={name: base64.b64encode(png).decode() for name, png in pictures.items()},
        version=__version__,
    )


def _format(number: float, form: str) -> str:
    return "–" if not math.isfinite(number) else format(number, form)
