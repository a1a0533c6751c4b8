"""Linear models on r, √r or log r, with and without shrinkage.

Shapes: `n` mixtures, `d` domains, `m` metrics, `q` points, `f` terms.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar

from mixopt.mixture import Array
from mixopt.surrogates.features import LOG_SHARES, RATIOS, ROOTS, Features

SHRINKAGES = (-8.0, 8.0)
"""Range of log λ = log(noise ÷ variance of a coefficient), terms standardised."""
SINGULAR = 1e-8
"""Eigenvalues below this share of the largest count as zero."""
NOISE, NOISE_COUNT = 0.005, 2.0
"""Prior noise variance in standardised units, and what it counts in pseudo-observations."""


class Ridge:
    """Ridge regression whose shrinkage is the one of highest evidence, by metric.

    The Gaussian model behind it (MacKay 1992) gives the standard deviations.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        self._mean = self._scale = np.zeros(1)
        self._centres = self._noises = np.zeros(1)
        self._coefficients = np.zeros((1, 1))
        self._covariances: list[Array] = []

    def terms(self, ratios: Array) -> Array:
        """What is weighed, `n x f`."""
        return self._features.values(ratios)

    def slopes_of_terms(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_f weights_nf · term_nf."""
        return np.asarray(weights * self._features.slopes(ratios))

    def scales(self, spread: Array) -> Array:
        """What terms are divided by (`f`), from their standard deviations over the runs."""
        return np.where(spread > 1e-12, spread, 1.0)

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Ridge":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        raw = self.terms(ratios)
        self._mean, spread = raw.mean(axis=0), raw.std(axis=0)
        self._scale = self.scales(spread)
        design = (raw - self._mean) / self._scale
        fits = [self._fit_metric(design, scores[:, m], noise[:, m]) for m in range(scores.shape[1])]
        self._centres = np.array([centre for centre, _, _, _ in fits])
        self._coefficients = np.stack([coefficients for _, coefficients, _, _ in fits])
        self._covariances = [covariance for _, _, covariance, _ in fits]
        self._noises = np.array([own for _, _, _, own in fits])
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Ridge":
        """Another of the same kind, fitted to other runs."""
        return type(self)(self._features).fit(ratios, scores, noise)

    def _fit_metric(
        self, design: Array, scores: Array, noise: Array
    ) -> tuple[float, Array, Array, float]:
        known = np.isfinite(scores)
        # a score that is twice as noisy as the rest counts a quarter as much
        usual = float(np.median(noise[known])) + NOISE
        trust = usual / (noise[known] + NOISE)
        x, y = design[known], scores[known]
        centre = float(trust @ y / trust.sum())
        x, y = x * np.sqrt(trust)[:, None], (y - centre) * np.sqrt(trust)
        eigen, vectors = eigh(x.T @ x)
        shadow = vectors.T @ (x.T @ y)
        inverse, own = self._solve(np.maximum(eigen, 0.0), shadow, float(y @ y), len(y))
        covariance = (vectors * (own * inverse)) @ vectors.T
        return centre, vectors @ (inverse * shadow), covariance, own

    def _solve(self, eigen: Array, shadow: Array, total: float, n: int) -> tuple[Array, float]:
        """Inverse of XᵀX + λI in its eigenbasis (`f`), and the noise, at the λ of highest evidence.

        Args:
            eigen: Eigenvalues of XᵀX (`f`).
            shadow: Xᵀy in its eigenbasis (`f`).
            total: yᵀy.
            n: Runs.
        """

        def own_noise(shrinkage: float) -> float:
            left = total - float((np.square(shadow) / (eigen + shrinkage)).sum())
            return (max(left, 0.0) + NOISE_COUNT * NOISE) / (n + NOISE_COUNT)

        def evidence(log_shrinkage: float) -> float:
            shrinkage = np.exp(log_shrinkage)
            volume = np.log1p(eigen / shrinkage).sum()
            return float(0.5 * ((n + NOISE_COUNT) * np.log(own_noise(shrinkage)) + volume))

        found = minimize_scalar(evidence, bounds=SHRINKAGES, method="bounded")
        shrinkage = float(np.exp(found.x))
        return 1 / (eigen + shrinkage), own_noise(shrinkage)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each), observation noise included."""
        design = (self.terms(ratios) - self._mean) / self._scale
        variance = [
            ((design @ covariance) * design).sum(axis=1) + own
            for covariance, own in zip(self._covariances, self._noises, strict=True)
        ]
        mean = self._centres + design @ self._coefficients.T
        return np.asarray(mean), np.sqrt(np.stack(variance, axis=1))

    def mean(self, ratios: Array) -> Array:
        """Expected scores (`n x m`)."""
        design = (self.terms(ratios) - self._mean) / self._scale
        return np.asarray(self._centres + design @ self._coefficients.T)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores minus those at `reference`: mean and variance (`n x m` each)."""
        away = (self.terms(ratios) - self.terms(reference[None])) / self._scale
        variances = [((away @ c) * away).sum(axis=1) for c in self._covariances]
        return np.asarray(away @ self._coefficients.T), np.stack(variances, axis=1)

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm."""
        return self.slopes_of_terms(ratios, weights @ (self._coefficients / self._scale))


class LeastSquares(Ridge):
    """Ordinary least squares, of minimum norm where there are fewer runs than terms."""

    def _solve(self, eigen: Array, shadow: Array, total: float, n: int) -> tuple[Array, float]:
        kept = eigen > SINGULAR * max(float(eigen[-1]), 1.0)
        inverse = np.where(kept, 1 / np.where(kept, eigen, 1.0), 0.0)
        left = max(total - float(inverse @ np.square(shadow)), 0.0)
        return inverse, (left + NOISE_COUNT * NOISE) / max(n - float(kept.sum()), 1.0)


def ordinary(seed: int) -> Ridge:
    """Ordinary least squares on r."""
    del seed  # nothing random here; every surrogate is made the same way
    return LeastSquares(RATIOS)


def ordinary_on_roots(seed: int) -> Ridge:
    """Ordinary least squares on √r."""
    del seed
    return LeastSquares(ROOTS)


def ordinary_on_logs(seed: int) -> Ridge:
    """Ordinary least squares on log(r + small)."""
    del seed
    return LeastSquares(LOG_SHARES)


def ridge(seed: int) -> Ridge:
    """Ridge on r."""
    del seed
    return Ridge(RATIOS)


def ridge_on_roots(seed: int) -> Ridge:
    """Ridge on √r."""
    del seed
    return Ridge(ROOTS)


def ridge_on_logs(seed: int) -> Ridge:
    """Ridge on log(r + small)."""
    del seed
    return Ridge(LOG_SHARES)
