"""A prior mean for the lowest fidelity: scores that are expected before any run, up to a linear map.

Such as distances of each mixture's text from a benchmark's (projektor, Kang et al. 2023,
arXiv:2307.02460). With h the expected score of a metric, standardized so that lower is better, runs y
have the mean

    ȳ + r · s_y ÷ s_h · (h − h̄),

with means and standard deviations over the runs, and r the correlation of h and y over all runs and
metrics together, at least `LEAST_CORRELATION`. The runs correct it as they correct a lower fidelity.
See docs/methods.md, section 4.9. Shapes: `n` runs, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Sequence

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.surrogates.base import MIN_TRIALS
from mixopt.surrogates.metric_arrays import signs
from mixopt.surrogates.radial_basis import RadialBasis
from mixopt.surrogates.stacking import StackedModel, fit_stacked_model
from mixopt.surrogates.standardization import Standardization
from mixopt.trial import Metric
from mixopt.trials import Trials

log = logging.getLogger(__name__)

LEAST_RUNS = 3
"""Mixtures with a score that the map from expected scores is fitted to."""
LEAST_CORRELATION = 0.05
"""An expectation is never taken to mean the opposite."""
SAME = 1e-12  # spread, relative to the largest score, below which scores do not differ


def fit_prior_mean(
    expected: Trials, runs: Trials, metrics: Sequence[Metric], *, seed: int
) -> tuple[Standardization, StackedModel]:
    """Return the model of expected scores, in the units of the runs.

    Args:
        expected: Expected scores of mixtures in any unit; a metric may be missing in all of them.
        runs: `n` runs of the lowest fidelity.
        metrics: The `m` metrics.
        seed: Seed of the assignment to folds.

    Returns:
        Its standardization and its fitted model. Metrics without expected scores have scale 0.

    Raises:
        TrialsError: Too few mixtures are expected or run, or the tables have other domains.
    """
    _check(expected, runs)
    named = {metric.name for metric in expected.metrics}
    values = np.full((len(expected), len(metrics)), np.nan)
    known = [place for place, metric in enumerate(metrics) if metric.name in named]
    values[:, known] = expected.values([metrics[place] for place in known])
    complete = np.isfinite(values).all(axis=0)
    if not complete.any():
        raise TrialsError(
            "The prior mean expects no score of a metric that is fitted; give expected scores of "
            f"{metrics[0].name!r} or another one."
        )
    values[:, ~complete] = 0.0
    spreads = values.std(axis=0)
    spreads = np.where(spreads > SAME * np.abs(values).max(axis=0), spreads, 0.0)
    own = Standardization(values.mean(axis=0), -signs(metrics) * spreads)
    ratios = expected.ratios()[:, [expected.domains.index(name) for name in runs.domains]]
    z = own.transform(values)
    model = fit_stacked_model(
        {"radial_basis": RadialBasis()}, ratios, z, np.zeros(z.shape), seed=seed
    )
    return _to_unit_of_runs(own, model, runs, metrics), model


def _check(expected: Trials, runs: Trials) -> None:
    for name in runs.domains:
        if name not in expected.domains:
            raise TrialsError(
                f"The prior mean knows no domain {name!r}. {did_you_mean(name, expected.domains)}"
            )
    if sorted(expected.domains) != sorted(runs.domains):
        extra = next(name for name in expected.domains if name not in runs.domains)
        raise TrialsError(
            f"The prior mean has domain {extra!r} and the runs do not; give both the same domains."
        )
    for what, table, least in (
        ("expects scores of", expected, MIN_TRIALS), ("is fitted to", runs, LEAST_RUNS),
    ):  # fmt: skip
        mixtures = len(np.unique(table.ratios().round(6), axis=0))
        if mixtures < least:
            raise TrialsError(
                f"The prior mean {what} {mixtures} mixtures and needs {least}; add some, or leave the "
                "prior mean out."
            )


def _to_unit_of_runs(
    own: Standardization, model: StackedModel, runs: Trials, metrics: Sequence[Metric]
) -> Standardization:
    """Return centers and scales that map the model's scores to those of the runs."""
    expected = np.full((len(runs), len(metrics)), np.nan)
    expected[:, own.varying] = model.predict(runs.ratios())[0]
    direction = -signs(metrics)
    scores = direction * runs.values(metrics)  # lower is better, as in the model
    centers, means, slopes = np.zeros((3, len(metrics)))
    products: list[float] = []
    for place in np.flatnonzero(own.varying):
        known = np.isfinite(scores[:, place])
        if not known.any():
            slopes[place] = 1.0  # no run has a score: it is not fitted either
            continue
        h, y = expected[known, place], scores[known, place]
        spread = float(h.std()) if h.std() > SAME else 1.0
        slopes[place] = max(float(y.std()), SAME) / spread
        centers[place], means[place] = y.mean(), h.mean()
        products += ((h - h.mean()) / spread * (y - y.mean()) / max(y.std(), SAME)).tolist()
    correlation = float(np.mean(products)) if products else 0.0
    log.info("The prior mean has a correlation of %.2f with %d runs.", correlation, len(runs))
    slopes *= np.clip(correlation, LEAST_CORRELATION, 1.0)
    return Standardization(direction * (centers - slopes * means), direction * slopes)
