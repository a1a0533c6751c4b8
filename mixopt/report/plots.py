"""The report's figures for notebooks, available as `mixopt.plots`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mixopt.errors import MixtureError, TrialsError
from mixopt.io.files import write_bytes
from mixopt.proposal import Proposal
from mixopt.report import figures
from mixopt.report.build import cross_validated_scores
from mixopt.report.data import PredictedScores
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure that notebooks display and `save` writes.

    Attributes:
        figure: The drawing library's figure.
        description: What it shows, for readers who cannot see it.
    """

    figure: Figure
    description: str

    def save(self, path: str | Path) -> Path:
        """Write the figure as a PNG file and return its path."""
        return write_bytes(Path(path), self._png)

    def _repr_png_(self) -> bytes:
        return self._png

    def _repr_html_(self) -> str:
        image = base64.b64encode(self._png).decode("ascii")
        return f'<img alt="{escape(self.description)}" src="data:image/png;base64,{image}">'

    @cached_property
    def _png(self) -> bytes:
        return figures.to_png(self.figure)


def plot_ratios(proposal: Proposal) -> Plot:
    """Plot the ratios of a proposal beside those of its first two comparisons.

    Args:
        proposal: From `mixopt.propose` or a study.
    """
    return Plot(figures.draw_ratios(proposal), "Ratios of the proposal by domain")


def plot_gains(proposal: Proposal) -> Plot:
    """Plot a proposal's gain in utility over each comparison, with 95% intervals.

    Args:
        proposal: From `mixopt.propose` or a study; measured gains are shown where it has any.

    Raises:
        MixtureError: The proposal was not compared with another mixture.
    """
    if not proposal.comparisons:
        raise MixtureError("The proposal has no comparisons; only gains over mixtures are plotted.")
    return Plot(figures.draw_gains(proposal), "Gain of the proposal over other mixtures")


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
        figure = figures.draw_predicted(cross_validated_scores(surrogate))
        return Plot(figure, "Cross-validated predictions")
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
    figure = figures.draw_predicted(scores, x_label="prediction")
    return Plot(figure, "Predicted and measured scores")


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
    figure = figures.draw_expert_losses(scores, list(shown))
    return Plot(figure, "Change of each expert's losses against the base")
