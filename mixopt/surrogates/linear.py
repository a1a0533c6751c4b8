"""Linear regression on r, √r, log r or blending terms: ridge and ordinary least squares.

See docs/methods.md, sections 3.6 and 3.9. Shapes: `n` mixtures, `d` domains, `m` metrics, `f` terms.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar

from mixopt.mixture import Array
from mixopt.surrogates.features import FEATURES, FeatureName, scale_features
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT, relative_precisions

LOG_PENALTIES = (-8.0, 8.0)
"""Range of log λ, with λ = noise variance / variance of a coefficient, on standardized terms."""
SINGULAR = 1e-8  # eigenvalues below this share of the largest count as zero


class Ridge:
    """Ridge regression; each metric has the penalty λ of highest evidence (MacKay 1992).

    The standard deviations are those of the Gaussian model behind the evidence.

    Args:
        features: Transform of the ratios (`n x d`).
    """

    def __init__(self, features: FeatureName) -> None:
        self._features = features
        self._mean = self._scale = np.zeros(1)
        self._intercepts = self._noises = np.zeros(1)
        self._coefficients = self._centers = np.zeros((1, 1))
        self._covariances: list[Array] = []

    def terms(self, ratios: Array) -> Array:
        """Return the regressors, `n x f`."""
        return FEATURES[self._features].values(ratios)

    def gradient_of_terms(self, ratios: Array, weights: Array) -> Array:
        """Return the gradient (`n x d`) of Σ_f weights_nf · term_nf."""
        return np.asarray(weights * FEATURES[self._features].derivative(ratios))

    def scales(self, spread: Array) -> Array:
        """Return the divisors of the terms (`f`), given their standard deviations over the runs."""
        return scale_features(self._features, spread)

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Ridge":
        raw = self.terms(ratios)
        self._mean, spread = raw.mean(axis=0), raw.std(axis=0)
        self._scale = self.scales(spread)
        design = (raw - self._mean) / self._scale
        fits = [self._fit_metric(design, scores[:, m], noise[:, m]) for m in range(scores.shape[1])]
        intercepts, centers, coefficients, covariances, noises = zip(*fits, strict=True)
        self._intercepts, self._noises = np.array(intercepts), np.array(noises)
        self._coefficients, self._covariances = np.stack(coefficients), list(covariances)
        self._centers = np.stack(centers)
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Ridge":
        return type(self)(self._features).fit(ratios, scores, noise)

    def _fit_metric(
        self, design: Array, scores: Array, noise: Array
    ) -> tuple[float, Array, Array, Array, float]:
        """Return intercept, center of the terms (`f`), coefficients, their covariance and the noise."""
        known = np.isfinite(scores)
        trust = relative_precisions(noise[known])
        x, y = design[known], scores[known]
        # the means of the same runs, so that the line is free to pass through both
        center, level = trust @ x / trust.sum(), float(trust @ y / trust.sum())
        x, y = (x - center) * np.sqrt(trust)[:, None], (y - level) * np.sqrt(trust)
        eigen, vectors = eigh(x.T @ x)
        projection = vectors.T @ (x.T @ y)
        inverse, own = self._solve(np.maximum(eigen, 0.0), projection, float(y @ y), len(y))
        covariance = (vectors * (own * inverse)) @ vectors.T
        coefficients = vectors @ (inverse * projection)
        return level - float(center @ coefficients), center, coefficients, covariance, own

    def _solve(self, eigen: Array, projection: Array, total: float, n: int) -> tuple[Array, float]:
        """Return the eigenvalues (`f`) of (XᵀX + λI)⁻¹ and the noise, at the λ of highest evidence.

        `eigen` are the eigenvalues of XᵀX, `projection` is Xᵀy in its eigenbasis, `total` is yᵀy.
        """

        def own_noise(penalty: float) -> float:
            left = total - float((np.square(projection) / (eigen + penalty)).sum())
            return (max(left, 0.0) + NOISE_COUNT * NOISE) / (n + NOISE_COUNT)

        def negative_evidence(log_penalty: float) -> float:
            penalty = np.exp(log_penalty)
            volume = np.log1p(eigen / penalty).sum()
            return float(0.5 * ((n + NOISE_COUNT) * np.log(own_noise(penalty)) + volume))

        best = minimize_scalar(negative_evidence, bounds=LOG_PENALTIES, method="bounded")
        penalty = float(np.exp(best.x))
        return 1 / (eigen + penalty), own_noise(penalty)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        design = (self.terms(ratios) - self._mean) / self._scale
        variance = []
        for center, covariance, own in zip(
            self._centers, self._covariances, self._noises, strict=True
        ):
            away = design - center
            variance.append(((away @ covariance) * away).sum(axis=1) + own)
        return self.mean(ratios), np.sqrt(np.stack(variance, axis=1))

    def mean(self, ratios: Array) -> Array:
        design = (self.terms(ratios) - self._mean) / self._scale
        return np.asarray(self._intercepts + design @ self._coefficients.T)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        away = (self.terms(ratios) - self.terms(reference[None])) / self._scale
        variances = [((away @ c) * away).sum(axis=1) for c in self._covariances]
        return np.asarray(away @ self._coefficients.T), np.stack(variances, axis=1)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        return self.gradient_of_terms(ratios, weights @ (self._coefficients / self._scale))


class LeastSquares(Ridge):
    """Ordinary least squares, of minimum norm where there are fewer runs than terms."""

    def _solve(self, eigen: Array, projection: Array, total: float, n: int) -> tuple[Array, float]:
        kept = eigen > SINGULAR * max(float(eigen[-1]), 1.0)
        inverse = np.where(kept, 1 / np.where(kept, eigen, 1.0), 0.0)
        left = max(total - float(inverse @ np.square(projection)), 0.0)
        return inverse, (left + NOISE_COUNT * NOISE) / max(n - float(kept.sum()), 1.0)


class ScheffeQuadratic(Ridge):
    """Ridge regression on r_i and r_i·r_j: Scheffé's quadratic polynomial for mixtures (1958).

    Shrinkage makes d(d+1)/2 terms identifiable from fewer runs than that.
    """

    def __init__(self, features: FeatureName = "identity") -> None:
        super().__init__(features)

    def terms(self, ratios: Array) -> Array:
        """Return r_i and r_i·r_j for i < j: `n x d(d+1)/2`."""
        first, second = np.triu_indices(ratios.shape[1], k=1)
        return np.hstack([ratios, ratios[:, first] * ratios[:, second]])

    def scales(self, spread: Array) -> Array:
        """Return ones: a product that hardly varies over the runs must not be scaled up."""
        return np.ones(len(spread))

    def gradient_of_terms(self, ratios: Array, weights: Array) -> Array:
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        blends = np.zeros((len(weights), d, d))
        blends[:, first, second] = blends[:, second, first] = weights[:, d:]
        return np.asarray(weights[:, :d] + np.einsum("nij,nj->ni", blends, ratios))
