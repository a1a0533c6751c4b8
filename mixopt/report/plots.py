"""The report's charts for notebooks, available as `mixopt.plots`."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.errors import MixtureError, OutputError, TrialsError
from mixopt.io.files import write_bytes, write_text
from mixopt.proposal import Proposal
from mixopt.report.build import cross_validated_scores
from mixopt.report.charts.experts import experts_picture
from mixopt.report.charts.gains import gains_picture
from mixopt.report.charts.learning_curve import learning_picture
from mixopt.report.charts.picture import Picture
from mixopt.report.charts.predicted import predicted_picture
from mixopt.report.charts.ratios import ratios_picture
from mixopt.report.charts.rendering import to_png, to_svg
from mixopt.report.data import PredictedScores
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials


@dataclass(frozen=True, eq=False)
class Plot:
    """A chart that notebooks display and `save` writes.

    Attributes:
        picture: The chart, in words and numbers too.
    """

    picture: Picture

    @property
    def description(self) -> str:
        """What it shows, for readers who cannot see it."""
        return self.picture.label

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The chart in Vega-Lite."""
        return self.picture.spec()

    def save(self, path: str | Path) -> Path:
        """Write the chart and return its path.

        Args:
            path: Its ending says the format: `.png`, `.svg`, or `.json` for Vega-Lite.

        Raises:
            OutputError: The ending is another one, or the file cannot be written.
        """
        file = Path(path)
        if file.suffix == ".png":
            return write_bytes(file, self._png)
        if file.suffix == ".svg":
            return write_text(file, to_svg(self.spec))
        if file.suffix == ".json":
            return write_text(file, json.dumps(self.spec, indent=2) + "\n")
        raise OutputError(
            f"{file} ends in none of .png, .svg and .json; give it one of these endings."
        )

    def _repr_png_(self) -> bytes:
        return self._png

    def _repr_html_(self) -> str:
        image = base64.b64encode(self._png).decode("ascii")
        return f'<img alt="{escape(self.description)}" src="data:image/png;base64,{image}">'

    @cached_property
    def _png(self) -> bytes:
        return to_png(self.spec)


def plot_ratios(proposal: Proposal) -> Plot:
    """Plot the ratios of a proposal as arrows from those of its first comparison.

    Args:
        proposal: From `mixopt.propose` or a study.
    """
    return Plot(ratios_picture(proposal))


def plot_gains(proposal: Proposal) -> Plot:
    """Plot a proposal's gain in utility over each comparison, with 95% intervals.

    Args:
        proposal: From `mixopt.propose` or a study; measured gains are shown where it has any.

    Raises:
        MixtureError: The proposal was not compared with another mixture.
    """
    if not proposal.comparisons:
        raise MixtureError("The proposal has no comparisons; only gains over mixtures are plotted.")
    rows = []
    for comparison in proposal.comparisons:
        rows.append((f"over {comparison.name}, predicted", comparison.predicted_gain))
        if comparison.measured_gain is not None:
            rows.append((f"over {comparison.name}, measured", comparison.measured_gain))
    return Plot(gains_picture(
        rows, name="comparisons", label="Gain of the proposal over other mixtures",
        title="gain of utility", first_column="mixture",
    ))  # fmt: skip


def plot_learning(proposal: Proposal) -> Plot:
    """Plot the expected gain by tokens of training, and what the next run is worth.

    Args:
        proposal: From a study.

    Raises:
        MixtureError: The proposal has no decision of a study.
    """
    picture = learning_picture(proposal.decision) if proposal.decision is not None else None
    if picture is None:
        raise MixtureError(
            "The proposal has no learning curve; only the first proposal of a study has one."
        )
    return Plot(picture)


def plot_predicted(surrogate: Surrogate, trials: Trials | None = None) -> Plot:
    """Plot measured against predicted scores, one panel per metric.

    Args:
        surrogate: A fitted surrogate.
        trials: Trials to predict; the surrogate's own by cross-validation if left out.

    Raises:
        MixtureError: The trials have other domains than the surrogate.
        TrialsError: There are no trials, or they have none of the surrogate's metrics.
    """
    if trials is None:
        return Plot(predicted_picture(cross_validated_scores(surrogate)))
    if not trials:
        raise TrialsError("There are no trials to predict; give at least one.")
    names = {metric.name for metric in trials.metrics}
    mean, _ = surrogate.predict(np.stack([t.ratios.vector(surrogate.domains) for t in trials]))
    scores = {}
    for fitted, predicted in zip(surrogate.metrics, mean.T, strict=True):
        if fitted.metric.name in names:
            measured = trials.values([fitted.metric])[:, 0]
            rank = spearman(predicted, measured)
            scores[fitted.metric.name] = PredictedScores(measured, predicted, rank, fitted.chosen)
    if not scores:
        raise TrialsError("The trials have none of the surrogate's metrics; give some with scores.")
    return Plot(predicted_picture(scores, title="prediction"))


def plot_expert_losses(
    scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str] | None = None
) -> Plot:
    """Plot how each expert's losses differ from the base model's, in %.

    Args:
        scores: By expert, and for `base`: score by metric, as `study.open_search().score_experts()`
            returns.
        metrics: Names of the losses to show; all of the base's scores if left out. A loss that is
            0 for the base has no relative change and is drawn as a dash.
    """
    shown = scores["base"] if metrics is None else metrics
    return Plot(experts_picture(scores, list(shown)))
