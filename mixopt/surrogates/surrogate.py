"""The surrogate that users hold: scores and utility as functions of the mixture.

Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixopt.mixture import Array, Mixture
from mixopt.proposal import Z80, Z95, Estimate
from mixopt.surrogates.calibration import Tails
from mixopt.surrogates.effective_tokens import EffectiveTokens
from mixopt.surrogates.repetition import Repetition
from mixopt.surrogates.stacking import StackedModel
from mixopt.surrogates.utility import AnyUtility
from mixopt.trials import Metric, Trials

CONSTANT = "constant"


@dataclass(frozen=True)
class FittedMetric:
    """How one metric was fitted and how well runs were predicted that had not been seen.

    Attributes:
        metric: The metric.
        weights: What each surrogate counts for; empty where the scores do not differ.
        cv_errors: Out-of-fold squared error of each surrogate, in units of the variance.
        cv_predictions: Out-of-fold prediction of each trial (`n`), NaN where it has no score.
        cv_stds: Calibrated standard deviations of these (`n`).
        rank_correlation: Spearman of out-of-fold predictions with scores, NaN if constant.
    """

    metric: Metric
    weights: Mapping[str, float]
    cv_errors: Mapping[str, float]
    cv_predictions: Array
    cv_stds: Array
    rank_correlation: float

    @property
    def chosen(self) -> str:
        """The surrogate that counts most, or `constant` where the scores do not differ."""
        return max(self.weights, key=lambda name: self.weights[name]) if self.weights else CONSTANT


@dataclass(frozen=True)
class Fidelity:
    """One kind of run that entered the fit, and how it stands to the next dearer one.

    Attributes:
        level: Its name (`merged`, `1M`, ...).
        trials: How many.
        cost: Mean cost of one, in the table's unit; NaN where it is not known.
        biases: By metric, mean of the dearer level's scores minus what this one predicts for
            them, in the metric's own units; empty for the dearest.
        rank_correlations: By metric, Spearman between the two; empty for the dearest.
    """

    level: str
    trials: int
    cost: float
    biases: Mapping[str, float]
    rank_correlations: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Scales:
    """Standardised scores z to the metrics' own: y = centre + slope · z.

    Attributes:
        centres: Means over the runs (`m`).
        slopes: Standard deviations over the runs (`m`), negative where higher is better; 0 where
            the scores do not differ.
    """

    centres: Array
    slopes: Array

    @property
    def varying(self) -> np.ndarray:
        """Which metrics differ between runs (`m`)."""
        return np.asarray(self.slopes != 0)

    def standardise(self, values: Array) -> Array:
        """Z of the metrics that vary (`n x m'`), lower better."""
        keep = self.varying
        return np.asarray((values[:, keep] - self.centres[keep]) / self.slopes[keep])

    def standardise_variances(self, std_errors: Array) -> Array:
        """Sampling variances of z (`n x m'`) from standard errors (`n x m`), 0 where not known."""
        keep = self.varying
        known = np.nan_to_num(std_errors[:, keep], nan=0.0, posinf=0.0)
        return np.asarray(np.square(known / self.slopes[keep]))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Scores and utility as functions of the mixture, over `d` domains and `m` metrics.

    Attributes:
        domains: The order of every `d`.
        metrics: How each metric was fitted.
        utility: What is maximised.
        trials: The trials of the dearest fidelity, which predictions are about.
        fidelities: All that entered, the cheapest first.
        portfolio: What predicts, in standardised scores of the metrics that vary.
        scales: From those to the metrics' own units.
        utility_tails: How wide intervals of the utility have to be (`1`).
        cv_utilities: Out-of-fold predicted utility of each trial (`n`).
        repetition: How the target's budget repeats the domains, where it does.
    """

    domains: tuple[str, ...]
    metrics: tuple[FittedMetric, ...]
    utility: AnyUtility
    trials: Trials
    fidelities: tuple[Fidelity, ...]
    portfolio: StackedModel
    scales: Scales
    utility_tails: Tails
    cv_utilities: Array
    repetition: Repetition | None = None
    token_law: EffectiveTokens | None = None

    def repeating(self, repetition: Repetition) -> "Surrogate":
        """The same for a target that reads some domains more than once.

        A repeated token is worth less than a fresh one, so a mixture is taken as the mixture of
        its effective tokens; that these are fewer in all costs what the effective-token law says
        of fewer tokens (`docs/methods.md`).
        """
        law = self.portfolio.laws.get("effective_tokens")
        if not isinstance(law, EffectiveTokens):
            z = self.scales.standardise(self.trials.values([f.metric for f in self.metrics]))
            law = EffectiveTokens().fit(self.trials.ratios(), z, np.zeros(z.shape))
        return replace(self, repetition=repetition, token_law=law)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and calibrated standard deviation, `n x m` each, of runs at `n x d` ratios."""
        inner, share, _ = self._effective(ratios)
        mean, std = self.portfolio.predict(inner)
        return self._to_scores(mean + self._lost(inner, share), std * self.portfolio.tails.factor)

    def predict_utility(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n` each) of the utility at `n x d` ratios."""
        mean, std = self.predict(ratios)
        return self.utility.of(mean), self.utility_tails.factor[0] * self.utility.std(std, mean)

    def seen_utilities(self, trials: Trials) -> Array:
        """Utility (`n`) that trials were measured at, what they lack filled in by prediction.

        NaN where more than half of what the utility weighs is missing.
        """
        values = trials.values(self.utility.metrics)
        mean, _ = self.predict(trials.ratios())
        known = np.isfinite(values)
        weighed = np.abs(self.utility.slopes_at(mean) * self.scales.slopes)
        enough = (weighed * known).sum(axis=1) >= 0.5 * weighed.sum(axis=1)
        return np.where(enough, self.utility.of(np.where(known, values, mean)), np.nan)

    def expected_utility(self, ratios: Array) -> Array:
        """The mean of `predict_utility` alone (`n`), which is cheap."""
        inner, share, _ = self._effective(ratios)
        z = self.portfolio.mean(inner, smooth=False) + self._lost(inner, share)
        return self.utility.of(self._to_scores(z, np.zeros_like(z))[0])

    def smooth_utility(self, ratios: Array) -> tuple[Array, Array]:
        """Expected utility by the laws that have slopes (`n`), and its gradient (`n x d`)."""
        inner, share, jacobian = self._effective(ratios)
        z = self.portfolio.mean(inner) + self._lost(inner, share)
        mean, _ = self._to_scores(z, np.zeros_like(z))
        slopes = self._slopes_back(inner, share, jacobian, self.utility.slopes_at(mean))
        return self.utility.of(mean), slopes

    def smooth_scores(self, ratios: Array) -> Array:
        """Expected scores by the laws that have slopes (`n x m`), up to a constant by metric."""
        inner, share, _ = self._effective(ratios)
        z = self.portfolio.mean(inner) + self._lost(inner, share)
        return self._to_scores(z, np.zeros_like(z))[0]

    def metric_slopes(self, ratios: Array) -> Array:
        """Gradients (`m x d`) of every metric's expected score at one mixture (`d`)."""
        inner, share, jacobian = self._effective(np.tile(ratios, (len(self.metrics), 1)))
        return self._slopes_back(inner, share, jacobian, np.eye(len(self.metrics)))

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Expected scores at `ratios` (`n x d`) minus those at `reference` (`d`): mean and std.

        Noise that a single run would have is left out; both are `n x m`.
        """
        inner, share, _ = self._effective(ratios)
        there, share_there, _ = self._effective(reference[None])
        mean, std = self.portfolio.differences(inner, there[0])
        lost = self._lost(inner, share) - self._lost(there, share_there)
        values = np.zeros((len(ratios), len(self.metrics)))
        errors = np.zeros_like(values)
        keep, slopes = self.scales.varying, self.scales.slopes
        values[:, keep] = (mean + lost) * slopes[keep]
        errors[:, keep] = std * self.portfolio.tails.factor * np.abs(slopes[keep])
        return values, errors

    def utility_difference(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Expected utility at `ratios` minus that at `reference`: mean and std (`n` each)."""
        _, errors = self.differences(ratios, reference)
        mean, _ = self.predict(ratios)
        there, _ = self.predict(reference[None])
        std = self.utility_tails.factor[0] * self.utility.std(errors, mean)
        return self.utility.of(mean) - self.utility.of(there), std

    def estimate(self, ratios: Mixture) -> dict[str, Estimate]:
        """What a run of `ratios` would score, by metric, in the metric's own units."""
        mean, std = self.predict(ratios.vector(self.domains)[None])
        half80 = np.full(len(self.metrics), Z80)
        tails = self.portfolio.tails
        half80[self.scales.varying] = Z95 * tails.half80 / tails.half95
        return {
            fitted.metric.name: Estimate(float(m), float(s), float(h))
            for fitted, m, s, h in zip(self.metrics, mean[0], std[0], half80, strict=True)
        }

    def estimate_utility(self, ratios: Mixture) -> Estimate:
        """The utility of a run of `ratios`."""
        mean, std = self.predict_utility(ratios.vector(self.domains)[None])
        half80 = Z95 * self.utility_tails.half80[0] / self.utility_tails.half95[0]
        return Estimate(float(mean[0]), float(std[0]), float(half80))

    def estimate_gain(self, ratios: Mixture, other: Mixture) -> Estimate:
        """Expected utility of `ratios` minus that of `other`."""
        mean, std = self.utility_difference(
            ratios.vector(self.domains)[None], other.vector(self.domains)
        )
        return Estimate(float(mean[0]), float(std[0]))

    def _to_scores(self, mean: Array, std: Array) -> tuple[Array, Array]:
        values = np.tile(self.scales.centres, (len(mean), 1))
        errors = np.zeros_like(values)
        keep, slopes = self.scales.varying, self.scales.slopes
        values[:, keep] += mean * slopes[keep]
        errors[:, keep] = std * np.abs(slopes[keep])
        return values, errors

    def _slopes_back(self, inner: Array, share: Array, jacobian: Array, weights: Array) -> Array:
        """Gradient by the ratios of Σ_m weights_nm · score_nm, through repetition where there is."""
        keep = self.scales.varying
        weighted = (weights * self.scales.slopes)[:, keep]
        gradient = self.portfolio.slopes(inner, weighted)
        if self.repetition is None or self.token_law is None:
            return gradient
        by_share = np.zeros((len(inner), 1))
        some = share[:, 0] < 1
        if some.any():
            by_inner, by_size = self.token_law.shrink_slopes(
                inner[some], share[some, 0], weighted[some]
            )
            gradient[some] += by_inner
            by_share[some, 0] = by_size
        # inner = e / Σe, share = Σe, with e the effective shares and jacobian = de/dr
        centred = gradient - (gradient * inner).sum(axis=1, keepdims=True)
        return np.asarray((centred / share + by_share) * jacobian)

    def _effective(self, ratios: Array) -> tuple[Array, Array, Array]:
        """The mixture of effective tokens (`n x d`), their share of the budget (`n x 1`), slopes."""
        if self.repetition is None:
            return ratios, np.ones((len(ratios), 1)), np.ones(ratios.shape)
        effective, slopes = self.repetition.effective(ratios)
        share = effective.sum(axis=1, keepdims=True)
        return effective / share, share, slopes

    def _lost(self, inner: Array, share: Array) -> Array:
        """What having fewer effective tokens costs, standardised (`n x m'`)."""
        lost = np.zeros((len(inner), int(self.scales.varying.sum())))
        if self.token_law is not None and (share < 1).any():
            some = share[:, 0] < 1
            lost[some] = self.token_law.shrink(inner[some], share[some, 0])
        return lost
