"""A cheaper fidelity's surrogate, gently corrected by the few runs of a dearer one.

    z(r) = a + ρ·c(r) + g(r) + ε,   g ~ GP on √r

c is what the cheaper fidelity predicts (Kennedy & O'Hagan 2000, with the first stage
fitted before the second). The priors say that a proxy is good until runs say otherwise: plain
regression on proxy and ratios is worse than the proxy alone at 8 to 16 runs (METHODS §13). A handful
of runs cannot say of each metric how large its correction and its noise are, so the metrics share
what they say of it (empirical Bayes), and each may move a little away from that.

Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from mixopt.mixture import Array
from mixopt.surrogates.kernels import matern52, matern52_slope, root_slope, square_distances
from mixopt.surrogates.minimize import minimise

SLOPE, SLOPE_VARIANCE = 1.0, 0.1
"""Prior of ρ: both sides are in one scale, so a perfect proxy has one."""
OFFSET_VARIANCE = 25.0
"""Of what a proxy is off by for all mixtures alike, in standardised units: hardly anything is known."""
LENGTH = 0.5
"""Of the correction, in Hellinger-like units (‖√r − √r′‖)."""
PRIOR_MEANS = np.log([0.1, 0.1])
"""Of log variance of the correction and log noise, in standardised units."""
PRIOR_SDS = np.array([1.2, 1.2])
OWN_SDS = np.array([0.5, 0.5])
"""How far a metric's own values may be from what all metrics say together."""
STEPS = 40
MISSING = 1e6


class Cheaper(Protocol):
    """What is corrected: standardised predictions of the same metrics."""

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each)."""

    def mean(self, ratios: Array) -> Array:
        """Mean (`n x m`) by what has slopes."""

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each) of scores minus those at `reference`."""

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) of Σ_m weights_nm · mean_nm."""


@dataclass(frozen=True, eq=False)
class _Stage:
    """One metric: variance of the correction, noise, and the factorised covariance."""

    process: float
    noise: float
    factor: Array
    pull: Array


class Corrected:
    """The dearer fidelity's scores given the cheaper one's surrogate."""

    def __init__(self, cheaper: Cheaper) -> None:
        self._cheaper = cheaper
        self._roots = self._proxy = np.zeros((0, 0))
        self._stages: list[_Stage] = []

    @property
    def slopes_on_proxy(self) -> Array:
        """Posterior mean of ρ by metric (`m`)."""
        return np.array([
            SLOPE + SLOPE_VARIANCE * self._proxy[:, m] @ stage.pull
            for m, stage in enumerate(self._stages)
        ])  # fmt: skip

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Corrected":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        self._roots = np.sqrt(ratios)
        self._proxy, _ = self._cheaper.predict(ratios)
        near = matern52(square_distances(self._roots, self._roots), LENGTH)
        evidences = [
            self._evidence(m, near, scores[:, m], noise[:, m]) for m in range(scores.shape[1])
        ]
        shared = _descend(
            lambda theta: sum(each(theta) for each in evidences) / max(len(evidences), 1),
            PRIOR_MEANS,
            PRIOR_SDS,
            weight=1 / max(len(evidences), 1),
        )
        self._stages = [each.stage(_descend(each, shared, OWN_SDS)) for each in evidences]
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Corrected":
        """Another on the same cheaper surrogate, fitted to other runs."""
        return Corrected(self._cheaper).fit(ratios, scores, noise)

    def _evidence(self, m: int, near: Array, scores: Array, noise: Array) -> "_Evidence":
        known = np.isfinite(scores)
        proxy = self._proxy[:, m]
        rest = np.where(known, np.where(known, scores, 0.0) - SLOPE * proxy, 0.0)
        shared = OFFSET_VARIANCE + SLOPE_VARIANCE * np.outer(proxy, proxy)
        return _Evidence(shared, near, np.where(known, noise, MISSING), rest)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each), observation noise included."""
        proxy, unsure = self._cheaper.predict(ratios)
        near = matern52(square_distances(np.sqrt(ratios), self._roots), LENGTH)
        means, variances = [], []
        for m, stage in enumerate(self._stages):
            cross = self._cross(m, stage, proxy[:, m], near)
            half = solve_triangular(stage.factor, cross.T, lower=True)
            own = OFFSET_VARIANCE + SLOPE_VARIANCE * np.square(proxy[:, m]) + stage.process
            means.append(SLOPE * proxy[:, m] + cross @ stage.pull)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0) + stage.noise)
        variance = np.stack(variances, axis=1) + np.square(self.slopes_on_proxy * unsure)
        return np.stack(means, axis=1), np.sqrt(variance)

    def mean(self, ratios: Array) -> Array:
        """Expected scores (`n x m`)."""
        proxy = self._cheaper.mean(ratios)
        near = matern52(square_distances(np.sqrt(ratios), self._roots), LENGTH)
        means = [
            SLOPE * proxy[:, m] + self._cross(m, stage, proxy[:, m], near) @ stage.pull
            for m, stage in enumerate(self._stages)
        ]
        return np.stack(means, axis=1)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores minus those at `reference`: mean and variance (`n x m` each)."""
        points = np.vstack([ratios, reference])
        proxy, _ = self._cheaper.predict(points)
        _, unsure = self._cheaper.differences(ratios, reference)
        roots = np.sqrt(points)
        near = matern52(square_distances(roots, self._roots), LENGTH)
        away = matern52(square_distances(roots[:-1], roots[-1:]), LENGTH)[:, 0]
        means, variances = [], []
        for m, stage in enumerate(self._stages):
            cross = self._cross(m, stage, proxy[:, m], near)
            apart, step = cross[:-1] - cross[-1], proxy[:-1, m] - proxy[-1, m]
            half = solve_triangular(stage.factor, apart.T, lower=True)
            own = SLOPE_VARIANCE * np.square(step) + 2 * stage.process * (1 - away)
            means.append(SLOPE * step + apart @ stage.pull)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0))
        return np.stack(means, axis=1), (
            np.stack(variances, axis=1) + np.square(self.slopes_on_proxy * unsure)
        )

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm."""
        gradient = self._cheaper.slopes(ratios, weights * self.slopes_on_proxy)
        roots = np.sqrt(ratios)
        steep = matern52_slope(square_distances(roots, self._roots), LENGTH)
        for m, stage in enumerate(self._stages):
            pulled = stage.process * steep * stage.pull
            by_root = pulled.sum(axis=1, keepdims=True) * roots - pulled @ self._roots
            gradient = gradient + weights[:, m : m + 1] * by_root * root_slope(ratios)
        return gradient

    def _cross(self, m: int, stage: _Stage, proxy: Array, near: Array) -> Array:
        """Covariances of new scores with those of the runs (`q x n`)."""
        shared = OFFSET_VARIANCE + SLOPE_VARIANCE * np.outer(proxy, self._proxy[:, m])
        return np.asarray(shared + stage.process * near)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What the runs say of one metric's correction.

    Attributes:
        shared: Covariance that offset and slope give (`n x n`).
        near: Correlation of the correction (`n x n`).
        extra: Known noise of each run (`n`).
        rest: Scores minus what the prior makes of the proxy (`n`).
    """

    shared: Array
    near: Array
    extra: Array
    rest: Array

    def __call__(self, theta: Array) -> float:
        """Minus the logarithm of the evidence for log variance and log noise."""
        factor = self._factorise(theta)
        white = solve_triangular(factor, self.rest, lower=True)
        return float(0.5 * white @ white + np.log(np.diag(factor)).sum())

    def stage(self, theta: Array) -> _Stage:
        """The metric at these values."""
        factor = self._factorise(theta)
        process, own = np.exp(theta)
        return _Stage(float(process), float(own), factor, cho_solve((factor, True), self.rest))

    def _factorise(self, theta: Array) -> Array:
        process, own = np.exp(theta)
        noise = np.diag(own + self.extra)
        return np.asarray(cholesky(self.shared + process * self.near + noise, lower=True))


def _descend(
    evidence: Callable[[Array], float], centre: Array, widths: Array, *, weight: float = 1.0
) -> Array:
    """Log variance and log noise that the runs and a normal prior around `centre` say."""

    def objective(theta: Array) -> float:
        away = (theta - centre) / widths
        return evidence(theta) + weight * float(0.5 * away @ away)

    bounds = np.stack([centre - 4 * widths, centre + 4 * widths], axis=1)
    return minimise(
        objective, centre, method="L-BFGS-B", bounds=bounds, steps=STEPS, gradient=False
    )
