"""The scaling law in effective tokens plus a Gaussian process on its residuals.

`scaling_law` fits the law of all metrics at once, and `residual_gp` what it leaves of each. The model
averages kernels of the process by their evidence. See docs/methods.md, sections 3.3 and 3.4.

Shapes: `n` mixtures, `d` domains, `m` metrics, `k` processes, `p` parameters of the law.
"""

from functools import cached_property

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates import scaling_law
from mixopt.surrogates.covariance import choose_centers
from mixopt.surrogates.kernels import SMALL_RATIO, KernelExpansions, sqrt_derivative
from mixopt.surrogates.residual_gp import (
    Kernel,
    KernelCache,
    MetricData,
    ResidualGP,
    ScalingLawMode,
    select_kernels,
)

SHAPES = ((1, 1.5), (4, 1.5), (16, 1.5), (4, 3.0), (16, 3.0), (64, 3.0), (4, 0.7), (1, 0.7))
"""(ρ, ℓ): the variance of the process in units of the noise, and its length."""
TILTS = (0.0, 0.5)  # exponents of the sensitivities that stretch √r
KERNELS = (
    Kernel(0.0, 1.0, 0.0),
    *(Kernel(float(rho), length, tilt) for tilt in TILTS for rho, length in SHAPES),
)
KEPT, KEPT_OF_MANY, MANY = 5, 2, 256
"""Kernels averaged for a metric; fewer from `MANY` runs, whose evidence separates kernels."""
FRESH_BELOW = 48  # number of runs below which a refit starts from the prior
LEAST_SENSITIVITY = 0.03


class ScalingLawGP:
    """One scaling law for all metrics, so that a few runs of each inform the others."""

    def __init__(self) -> None:
        self._law: scaling_law.FittedScalingLaw | None = None
        self._roots = np.zeros((0, 0))
        self._processes: list[list[tuple[float, ResidualGP]]] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "ScalingLawGP":
        self._law = None
        return self._fit(ratios, scores, noise, [list(KERNELS)] * scores.shape[1])

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "ScalingLawGP":
        """Return a new model fitted to other runs.

        It starts from these parameters and kernels if there are many runs. Below a few dozen it
        starts afresh, because parameters that have seen a run predict that run too well.
        """
        if len(ratios) < FRESH_BELOW:
            return ScalingLawGP().fit(ratios, scores, noise)
        kept = [[process.kernel for _, process in metric] for metric in self._processes]
        other = ScalingLawGP()
        other._law = self._law
        return other._fit(ratios, scores, noise, kept)

    def _fit(
        self, ratios: Array, scores: Array, noise: Array, kernels: list[list[Kernel]]
    ) -> "ScalingLawGP":
        known = np.isfinite(scores)
        z, extra = np.where(known, scores, 0.0), np.where(known, noise, np.inf)
        law = self._law = scaling_law.fit_scaling_law(ratios, z, extra, self._law)
        _, jacobian = scaling_law.evaluate(law.parameters, ratios)
        stretches = _sensitivities(jacobian[..., scaling_law.N_SCALARS :], known.T)
        kept = KEPT if len(ratios) < MANY else KEPT_OF_MANY
        cache = KernelCache()
        self._processes = []
        centers = choose_centers(np.sqrt(ratios))
        self._roots = np.sqrt(ratios[centers])
        for m, stretch in enumerate(stretches):
            prior, noise_m = law.prior, float(law.noise[m])
            mode = ScalingLawMode(law.parameters[m], prior.means[m], prior.precisions[m], noise_m)
            runs = MetricData(ratios, z[:, m], extra[:, m], centers)
            cache = cache.of_all_metrics()
            chosen = select_kernels(runs, mode, kernels[m], stretch, kept, cache)
            total = sum(share for _, _, share in chosen)
            processes: list[tuple[float, ResidualGP]] = []
            for kernel, s2, share in chosen:
                leading = not processes
                process = ResidualGP(runs, mode, kernel, s2, stretch, cache, leading=leading)
                processes.append((share / total, process))
            self._processes.append(processes)
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        mean, disagreement = self._average(ratios)
        leading = [metric[0][1] for metric in self._processes]
        own = [process.variance(ratios) + process.noise for process in leading]
        return mean, np.sqrt(np.stack(own, axis=1) + disagreement)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        _, shares, _ = self._batch
        apart = self._each(ratios) - self._each(reference[None])
        mean = shares.T @ apart
        disagreement = np.maximum(shares.T @ np.square(apart) - np.square(mean), 0.0)
        leading = [metric[0][1] for metric in self._processes]
        own = [process.variance_of_difference(ratios, reference) for process in leading]
        return mean.T, np.stack(own, axis=1) + disagreement.T

    def mean(self, ratios: Array) -> Array:
        _, shares, _ = self._batch
        return np.asarray((shares.T @ self._each(ratios)).T)

    def _each(self, ratios: Array) -> Array:
        parameters, _, expansions = self._batch
        values = scaling_law.evaluate_values(parameters, ratios)
        return np.asarray(values + expansions.values(np.sqrt(ratios)))

    def _average(self, ratios: Array) -> tuple[Array, Array]:
        """Return mean and variance over a metric's kernels, `n x m` each."""
        each, (_, shares, _) = self._each(ratios), self._batch
        mean = shares.T @ each
        disagreement = shares.T @ np.square(each) - np.square(mean)
        return mean.T, np.maximum(disagreement, 0.0).T

    def gradient(self, ratios: Array, weights: Array) -> Array:
        parameters, shares, expansions = self._batch
        by_process = shares @ weights.T
        by_root = expansions.gradient(np.sqrt(ratios), by_process)
        by_law = scaling_law.gradient(parameters, ratios, by_process.T, SMALL_RATIO)
        return np.asarray(by_law + by_root * sqrt_derivative(ratios))

    @cached_property
    def _batch(self) -> tuple[Array, Array, KernelExpansions]:
        """The law's parameters (`k x p`) and shares (`k x m`) of all processes, and their sums.

        In arrays, an evaluation costs a few array operations.
        """
        listed = [(m, share, p) for m, metric in enumerate(self._processes) for share, p in metric]
        shares = np.zeros((len(listed), len(self._processes)))
        for index, (m, share, _) in enumerate(listed):
            shares[index, m] = share
        processes = [process for _, _, process in listed]
        expansions = KernelExpansions(
            self._roots,
            np.stack([process.kernel.rho * process.alpha for process in processes]),
            np.stack([process.stretch / process.kernel.length for process in processes]),
        )
        return np.stack([p.parameters for p in processes]), shares, expansions

    def budget_effect(self, ratios: Array, share: Array) -> Array:
        """Return the change of scores (`n x m`) when a run has a share (`n`) of the tokens.

        The law is in effective tokens, so a run of fewer tokens is the same formula at ratios
        that sum to less than one.
        """
        parameters = self._leading_parameters()
        fewer = scaling_law.evaluate_values(parameters, ratios * share[:, None])
        full = scaling_law.evaluate_values(parameters, ratios)
        return np.asarray((fewer - full).T)

    def budget_gradient(self, ratios: Array, share: Array, weights: Array) -> tuple[Array, Array]:
        """Return gradient (`n x d`) and derivative by share (`n`) of Σ_m weights_nm · effect_nm."""
        parameters = self._leading_parameters()
        fewer = ratios * share[:, None]
        by_fewer = scaling_law.gradient(parameters, fewer, weights, SMALL_RATIO)
        by_full = scaling_law.gradient(parameters, ratios, weights, SMALL_RATIO)
        return share[:, None] * by_fewer - by_full, (by_fewer * ratios).sum(axis=1)

    def _leading_parameters(self) -> Array:
        return np.stack([metric[0][1].parameters for metric in self._processes])


def _sensitivities(derivatives: Array, known: Array) -> Array:
    """Return the root mean square of ∂z/∂e_j over the runs (`m x d`), relative to the largest."""
    sizes = np.sqrt(np.where(known[..., None], np.square(derivatives), 0.0).mean(axis=1))
    largest = np.maximum(sizes.max(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.maximum(sizes / largest, LEAST_SENSITIVITY))
