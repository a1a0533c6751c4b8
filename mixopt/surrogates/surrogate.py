"""The result of `fit`: scores and utility as functions of the mixture.

Shapes: `n` mixtures, `d` domains, `m` metrics, `m'` metrics that differ between runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape

import numpy as np

from mixopt.estimate import Z80, Z95, Estimate
from mixopt.mixture import Array, MixtureLike
from mixopt.surrogates.calibration import CriticalValues
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.repeats import RunNoise
from mixopt.surrogates.rows import MixturesLike, as_row, as_rows
from mixopt.surrogates.scaling_law_gp import ScalingLawGP
from mixopt.surrogates.stacking import StackedModel
from mixopt.surrogates.standardization import Standardization
from mixopt.surrogates.utility import AnyUtility
from mixopt.trial import Metric
from mixopt.trials import Trials

CONSTANT = "constant"


@dataclass(frozen=True)
class FittedMetric:
    """How one metric was fitted, and its cross-validation.

    Attributes:
        metric: The metric.
        weights: Weight of each model, the largest first; empty where the scores do not differ.
        cv_errors: Out-of-fold squared error of each model, in units of the variance.
        cv_predictions: Out-of-fold prediction of each trial (`n`), NaN where it has no score.
        cv_stds: Their calibrated standard deviations (`n`).
        rank_correlation: Spearman's, of out-of-fold predictions with scores; NaN if constant.
    """

    metric: Metric
    weights: Mapping[str, float]
    cv_errors: Mapping[str, float]
    cv_predictions: Array
    cv_stds: Array
    rank_correlation: float

    @property
    def chosen(self) -> str:
        """The model of largest weight, or `constant` where the scores do not differ."""
        return max(self.weights, key=lambda name: self.weights[name]) if self.weights else CONSTANT


@dataclass(frozen=True)
class FittedFidelity:
    """One fidelity of the fit, compared with the next higher one.

    Attributes:
        level: Its name (`merged`, `1M`, ...).
        trials: Number of trials.
        cost: Mean cost of a trial, in the table's unit; NaN where unknown.
        biases: By metric, mean of the higher fidelity's scores minus this one's predictions, in
            the metric's own units; empty for the highest.
        rank_correlations: By metric, Spearman's between the two; empty for the highest.
    """

    level: str
    trials: int
    cost: float
    biases: Mapping[str, float]
    rank_correlations: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Scores and utility as functions of the mixture, over `d` domains and `m` metrics.

    Attributes:
        domains: The order of every `d`.
        metrics: How each metric was fitted.
        utility: The objective.
        trials: The trials of the highest fidelity, which predictions are about.
        fidelities: All fidelities of the fit, the lowest first.
        model: The model, in standardized scores of the metrics that vary.
        standardization: From those to the metrics' own units.
        utility_critical_values: Calibrated half-widths of intervals of the utility (`1`).
        cv_utilities: Out-of-fold predicted utility of each trial (`n`).
        repetition: How the target's budget repeats the domains, if it does.
        scaling_law: What fewer effective tokens cost, if the budget repeats domains.
        all_trials: The trials of every fidelity of the fit; those of the highest alone if None.
        correlation: Of the errors of the metrics' predictions (`m x m`); None if they are independent.
        noise: What repeats of the highest fidelity tell of the noise of one run, if there are any.
        capability_utilities: The utility of each capability alone, in the unit of `utility`.
    """

    domains: tuple[str, ...]
    metrics: tuple[FittedMetric, ...]
    utility: AnyUtility
    trials: Trials
    fidelities: tuple[FittedFidelity, ...]
    model: StackedModel
    standardization: Standardization
    utility_critical_values: CriticalValues
    cv_utilities: Array
    repetition: Repetition | None = None
    scaling_law: ScalingLawGP | None = None
    all_trials: Trials | None = None
    noise: RunNoise | None = None
    correlation: Array | None = None
    capability_utilities: Mapping[str, AnyUtility] = field(default_factory=dict)

    def __repr__(self) -> str:
        shares = zip(self.model.models, self.model.weights.mean(axis=1), strict=True)
        ordered = sorted(shares, key=lambda item: -item[1])
        weights = ", ".join(f"{name} {share:.2f}" for name, share in ordered)
        ranks = [fitted.rank_correlation for fitted in self.metrics]
        known = [rank for rank in ranks if np.isfinite(rank)]
        cv_rank = f"{np.mean(known):.2f}" if known else "unknown"
        return (
            f"Surrogate({self.fidelities[-1].trials} {self.fidelities[-1].level} trials, "
            f"{len(self.domains)} domains, {len(self.metrics)} metrics; {weights}; "
            f"mean CV rank {cv_rank})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(fitted.metric.name)}</td><td>{escape(fitted.chosen)}</td>"
            f"<td>{fitted.rank_correlation:.2f}</td></tr>"
            for fitted in self.metrics
        )
        head = "<tr><th>metric</th><th>model of largest weight</th><th>CV rank</th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table>"

    def with_repetition(self, repetition: Repetition) -> "Surrogate":
        """Return this surrogate for a target budget that repeats some domains.

        A repeated token is worth less than a fresh one, so predictions are made at the mixture of
        effective tokens. The scaling law gives the cost of their smaller total.
        """
        law = self.model.models.get("effective_tokens")
        if not isinstance(law, ScalingLawGP):
            scores = self.trials.values([fitted.metric for fitted in self.metrics])
            z = self.standardization.transform(scores)
            law = ScalingLawGP().fit(self.trials.ratios(), z, np.zeros(z.shape))
        return replace(self, repetition=repetition, scaling_law=law)

    def predict(self, ratios: MixturesLike) -> tuple[Array, Array]:
        """Predict the scores of new runs.

        Args:
            ratios: `n x d`: an array in the order of `domains`, a data frame with a column for each
                domain, or one mixture by name.

        Returns:
            Mean and calibrated standard deviation (`n x m` each), in the metrics' own units.

        Raises:
            MixtureError: The shape is another one, a row does not sum to one, or a domain is unknown.
            ArgumentTypeError: `ratios` is none of these.
        """
        inner, share, _ = self._effective(as_rows(ratios, self.domains))
        mean, std = self.model.predict(inner)
        mean = mean + self._budget_effect(inner, share)
        return self.standardization.untransform(mean, std * self.model.critical_values.factor)

    def predict_utility(self, ratios: MixturesLike) -> tuple[Array, Array]:
        """Return mean and standard deviation of the utility (`n` each) at `n x d` ratios.

        Args:
            ratios: As in `predict`.
        """
        mean, std = self.predict(ratios)
        factor = self.utility_critical_values.factor[0]
        return self.utility.of(mean), factor * self.utility.std(std, mean, self.correlation)

    def observed_utilities(self, trials: Trials) -> Array:
        """Return the measured utility of trials (`n`), with predictions for missing scores.

        NaN where more than half of the utility's weight is missing.
        """
        values = trials.values(self.utility.metrics)
        known = np.isfinite(values)
        enough = np.asarray(known.all(axis=1))
        if (partly := ~enough).any():
            mean = self._mean_scores(self.ratios_of(trials)[partly], smooth=False)
            weight = np.abs(self.utility.gradient(mean) * self.standardization.scales)
            enough[partly] = (weight * known[partly]).sum(axis=1) >= 0.5 * weight.sum(axis=1)
            values[partly] = np.where(known[partly], values[partly], mean)
        return np.where(enough, self.utility.of(values), np.nan)

    def ratios_of(self, trials: Trials) -> Array:
        """Return the mixtures of trials (`n x d`) in the order of `domains`.

        Args:
            trials: Over the same domains, in any order.
        """
        if trials.domains == self.domains:
            return trials.ratios()
        rows = [trial.ratios.vector(self.domains) for trial in trials]
        return np.array(rows).reshape(len(trials), len(self.domains))

    def expected_utility(self, ratios: MixturesLike) -> Array:
        """Return the mean of `predict_utility` alone (`n`), which is cheaper.

        Args:
            ratios: As in `predict`.
        """
        rows = as_rows(ratios, self.domains)
        return self.utility.of(self._mean_scores(rows, smooth=False))

    @cached_property
    def trial_utilities(self) -> Array:
        """Expected utility of each trial (`n`)."""
        return self.expected_utility(self.trials.ratios())

    def smooth_utility(self, ratios: Array) -> tuple[Array, Array]:
        """Return the differentiable models' expected utility (`n`) and its gradient (`n x d`)."""
        inner, share, _ = self._effective(ratios)
        means = self.model.smooth_means(inner)
        z = self.model.combine_smooth(means, len(inner)) + self._budget_effect(inner, share)
        mean = self.standardization.untransform(z, np.zeros_like(z))[0]
        return self.utility.of(mean), self._gradient(ratios, self.utility.gradient(mean), means)

    def smooth_scores(self, ratios: Array) -> Array:
        """Return the differentiable models' part of the mean (`n x m`)."""
        return self._mean_scores(ratios, smooth=True)

    def metric_gradients(self, ratios: Array) -> Array:
        """Return the gradient of every metric's expected score (`m x d`) at one mixture (`d`)."""
        m = len(self.metrics)
        return self._gradient(np.tile(ratios, (m, 1)), np.eye(m))

    def differences(self, ratios: MixturesLike, reference: MixtureLike) -> tuple[Array, Array]:
        """Return expected scores at `ratios` (`n x d`) minus those at `reference` (`d`).

        Args:
            ratios: As in `predict`.
            reference: One mixture by name, or an array in the order of `domains`.

        Returns:
            Mean and standard deviation (`n x m` each), without the noise of single runs.
        """
        mean, there, std = self._compare(*self._read(ratios, reference))
        # the centers cancel in a difference
        scales = replace(self.standardization, centers=np.zeros(len(self.metrics)))
        return scales.untransform(mean - there, std)

    def _read(self, ratios: MixturesLike, reference: MixtureLike) -> tuple[Array, Array]:
        return as_rows(ratios, self.domains), as_row(reference, self.domains)

    def _compare(self, ratios: Array, reference: Array) -> tuple[Array, Array, Array]:
        """Return standardized scores at ratios (`n x d`) and `reference` (`d`), and the gap's std."""
        inner, share, _ = self._effective(ratios)
        other, share_there, _ = self._effective(reference[None])
        mean, there, std = self.model.compare(inner, other[0])
        mean = mean + self._budget_effect(inner, share)
        there = there + self._budget_effect(other, share_there)
        return mean, there, std * self.model.critical_values.factor

    def utility_difference(
        self, ratios: MixturesLike, reference: MixtureLike
    ) -> tuple[Array, Array]:
        """Return expected utility at `ratios` minus that at `reference`: mean and std, `n` each.

        Args:
            ratios: As in `predict`.
            reference: As in `differences`.
        """
        return self.gains(*self._read(ratios, reference))

    def gains(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Return `utility_difference` of arrays, unchecked, for the inner loops of optimizers.

        Args:
            ratios: `n x d`.
            reference: One mixture (`d`).
        """
        z, z_there, std = self._compare(ratios, reference)
        mean, errors = self.standardization.untransform(z, std)
        there, _ = self.standardization.untransform(z_there, np.zeros_like(z_there))
        std = self.utility.std(errors, (mean + there) / 2, self.correlation)
        std *= self.utility_critical_values.factor[0]
        return self.utility.of(mean) - self.utility.of(there), std

    def capability_differences(
        self, ratios: MixturesLike, reference: MixtureLike
    ) -> dict[str, tuple[Array, Array]]:
        """Return the gain by capability at `ratios` (`n x d`) over `reference` (`d`).

        Args:
            ratios: As in `predict`.
            reference: As in `differences`.

        Returns:
            Mean and standard deviation (`n` each) by capability, in the unit of the utility.
        """
        z, z_there, std = self._compare(*self._read(ratios, reference))
        mean, errors = self.standardization.untransform(z, std)
        there, _ = self.standardization.untransform(z_there, np.zeros_like(z_there))
        halfway = (mean + there) / 2
        return {
            name: (part.of(mean) - part.of(there), part.std(errors, halfway, self.correlation))
            for name, part in self.capability_utilities.items()
        }

    def estimate(self, ratios: MixtureLike) -> dict[str, Estimate]:
        """Return the predicted score of a run of `ratios`, by metric, in the metric's own units."""
        mean, std = self.predict(as_row(ratios, self.domains)[None])
        half80 = np.full(len(self.metrics), Z80)
        critical = self.model.critical_values
        half80[self.standardization.varying] = Z95 * critical.half80 / critical.half95
        return {
            fitted.metric.name: Estimate(float(m), float(s), float(h))
            for fitted, m, s, h in zip(self.metrics, mean[0], std[0], half80, strict=True)
        }

    def estimate_utility(self, ratios: MixtureLike) -> Estimate:
        """Return the predicted utility of a run of `ratios`."""
        mean, std = self.predict_utility(as_row(ratios, self.domains)[None])
        critical = self.utility_critical_values
        half80 = Z95 * critical.half80[0] / critical.half95[0]
        return Estimate(float(mean[0]), float(std[0]), float(half80))

    def estimate_gain(self, ratios: MixtureLike, other: MixtureLike) -> Estimate:
        """Return the expected utility of `ratios` minus that of `other`."""
        own, reference = as_row(ratios, self.domains)[None], as_row(other, self.domains)
        mean, std = self.utility_difference(own, reference)
        return Estimate(float(mean[0]), float(std[0]))

    def _mean_scores(self, ratios: Array, *, smooth: bool) -> Array:
        inner, share, _ = self._effective(ratios)
        z = self.model.mean(inner, smooth=smooth) + self._budget_effect(inner, share)
        return self.standardization.untransform(z, np.zeros_like(z))[0]

    def _gradient(
        self, ratios: Array, weights: Array, means: Mapping[str, Array] | None = None
    ) -> Array:
        inner, share, jacobian = self._effective(ratios)
        keep = self.standardization.varying
        weighted = (weights * self.standardization.scales)[:, keep]
        gradient = self.model.gradient(inner, weighted, means)
        if self.repetition is None or self.scaling_law is None:
            return gradient
        by_share = np.zeros((len(inner), 1))
        some = share[:, 0] < 1
        if some.any():
            part = inner[some], share[some, 0], weighted[some]
            by_inner, by_size = self.scaling_law.budget_gradient(*part)
            gradient[some] += by_inner
            by_share[some, 0] = by_size
        # inner = e / Σe, share = Σe, with e the effective shares and jacobian = de/dr
        centered = gradient - (gradient * inner).sum(axis=1, keepdims=True)
        return np.asarray((centered / share + by_share) * jacobian)

    def _effective(self, ratios: Array) -> tuple[Array, Array, Array]:
        """Return the mixture of effective tokens (`n x d`), their share of the budget, and d/dr."""
        if self.repetition is None:
            return ratios, np.ones((len(ratios), 1)), np.ones(ratios.shape)
        effective, derivative = self.repetition.effective(ratios)
        share = effective.sum(axis=1, keepdims=True)
        return effective / share, share, derivative

    def _budget_effect(self, inner: Array, share: Array) -> Array:
        """Return the standardized cost of fewer effective tokens (`n x m'`)."""
        lost = np.zeros((len(inner), int(self.standardization.varying.sum())))
        if self.scaling_law is not None and (share < 1).any():
            some = share[:, 0] < 1
            lost[some] = self.scaling_law.budget_effect(inner[some], share[some, 0])
        return lost
