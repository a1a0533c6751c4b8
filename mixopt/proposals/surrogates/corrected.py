"""A cheaper fidelity's surrogate, gently corrected by the few runs of a dearer one.

    z(r) = a + ρ·c(r) + g(r) + ε,   g ~ GP on √r

c is what the cheaper fidelity predicts (Kennedy & O'Hagan 2000, with the first stage
fitted before the second). The priors say that a proxy is good until runs say otherwise: plain
regression on proxy and ratios is worse than the proxy alone at 8 to 16 runs (METHODS §13).

Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from mixopt.mixture import Array
from mixopt.proposals.optimising import minimise
from mixopt.proposals.surrogates.kernels import (
    matern52,
    matern52_slope,
    root_slope,
    square_distances,
)

SLOPE, SLOPE_VARIANCE = 0.9, 0.15
"""Prior of ρ: both sides are standardised, so a perfect proxy has one."""
OFFSET_VARIANCE = 0.5
LENGTH = 0.5
"""Of the correction, in Hellinger-like units (‖√r − √r′‖)."""
PRIOR_MEANS = np.log([0.1, 0.1])
"""Of log variance of the correction and log noise, in standardised units."""
PRIOR_SDS = np.array([1.2, 1.2])
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
        self._stages = [
            self._fit_metric(m, near, scores[:, m], noise[:, m]) for m in range(scores.shape[1])
        ]
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Corrected":
        """Another on the same cheaper surrogate, fitted to other runs."""
        return Corrected(self._cheaper).fit(ratios, scores, noise)

    def _fit_metric(self, m: int, near: Array, scores: Array, noise: Array) -> _Stage:
        known = np.isfinite(scores)
        proxy, rest = self._proxy[:, m], np.where(known, scores, 0.0)
        rest = np.where(known, rest - SLOPE * proxy, 0.0)
        shared = OFFSET_VARIANCE + SLOPE_VARIANCE * np.outer(proxy, proxy)
        extra = np.where(known, noise, MISSING)

        def factorise(theta: Array) -> Array:
            process, own = np.exp(theta)
            return np.asarray(cholesky(shared + process * near + np.diag(own + extra), lower=True))

        theta = minimise(
            _penalised_evidence(factorise, rest),
            PRIOR_MEANS,
            method="L-BFGS-B",
            bounds=np.stack([PRIOR_MEANS - 4 * PRIOR_SDS, PRIOR_MEANS + 4 * PRIOR_SDS], axis=1),
            steps=STEPS,
            gradient=False,
        )
        factor = factorise(theta)
        process, own = np.exp(theta)
        return _Stage(float(process), float(own), factor, cho_solve((factor, True), rest))

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


def _penalised_evidence(
    factorise: Callable[[Array], Array], rest: Array
) -> Callable[[Array], float]:
    def objective(theta: Array) -> float:
        factor = factorise(theta)
        white = solve_triangular(factor, rest, lower=True)
        away = (theta - PRIOR_MEANS) / PRIOR_SDS
        return float(0.5 * white @ white + np.log(np.diag(factor)).sum() + 0.5 * away @ away)

    return objective
