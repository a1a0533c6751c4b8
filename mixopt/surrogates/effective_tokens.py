"""The effective-token law with a Gaussian process for what it misses, shared over metrics.

`token_law` fits the law of all metrics at once, `residual_process` what it misses of each; here
kernels are weighed by their evidence and averaged (METHODS §12).

Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates import token_law
from mixopt.surrogates.kernel_expansions import Expansions
from mixopt.surrogates.kernels import SMALL_RATIO, root_slope
from mixopt.surrogates.residual_process import (
    Kernel,
    LawAtMode,
    ResidualProcess,
    Runs,
    weigh_kernels,
)

SHAPES = ((1, 1.5), (4, 1.5), (16, 1.5), (4, 3.0), (16, 3.0), (64, 3.0), (4, 0.7), (1, 0.7))
"""(ρ, ℓ): the process' variance in units of the noise, and its length."""
TILTS = (0.0, 0.5)
"""Exponents of the sensitivities that stretch √r."""
KERNELS = (
    Kernel(0.0, 1.0, 0.0),
    *(Kernel(float(rho), length, tilt) for tilt in TILTS for rho, length in SHAPES),
)
KEPT, KEPT_OF_MANY, MANY = 5, 2, 256
"""Kernels averaged for a metric, and from so many runs, whose evidence tells kernels apart."""
FRESH_BELOW = 48
"""Runs below which a refit starts from nothing."""
LEAST_SENSITIVITY = 0.03


@dataclass(frozen=True, eq=False)
class _Packed:
    """Parameters of the law in each of `k` processes, shares of the `m` metrics (`k x m`)."""

    parameters: Array
    shares: Array
    expansions: Expansions


class EffectiveTokens:
    """One law for all metrics at once: a few runs of each inform the others."""

    def __init__(self, seed: int = 0) -> None:
        del seed  # nothing random here; every surrogate is made the same way
        self._law: token_law.FittedLaw | None = None
        self._processes: list[list[tuple[float, ResidualProcess]]] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "EffectiveTokens":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        self._law = None
        return self._fit(ratios, scores, noise, [list(KERNELS)] * scores.shape[1])

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "EffectiveTokens":
        """Another, fitted to other runs: afresh while that is cheap, else from what stood out here.

        Parameters that have seen a run predict it too well, which shows below a few dozen runs.
        """
        if len(ratios) < FRESH_BELOW:
            return EffectiveTokens().fit(ratios, scores, noise)
        kept = [[process.kernel for _, process in metric] for metric in self._processes]
        other = EffectiveTokens()
        other._law = self._law
        return other._fit(ratios, scores, noise, kept)

    def _fit(
        self, ratios: Array, scores: Array, noise: Array, kernels: list[list[Kernel]]
    ) -> "EffectiveTokens":
        known = np.isfinite(scores)
        z, extra = np.where(known, scores, 0.0), np.where(known, noise, np.inf)
        law = self._law = token_law.fit_law(ratios, z, extra, self._law)
        _, jacobian = token_law.evaluate(law.parameters, ratios)
        stretches = _sensitivities(jacobian[..., token_law.N_SCALARS :], known.T)
        kept = KEPT if len(ratios) < MANY else KEPT_OF_MANY
        factors: dict[Kernel, Array] = {}
        self._processes = []
        for m, stretch in enumerate(stretches):
            at_mode = LawAtMode(
                law.parameters[m], law.prior.means[m], law.prior.precisions[m], float(law.noise[m])
            )
            runs = Runs(ratios, z[:, m], extra[:, m])
            made = [
                (share, ResidualProcess(runs, at_mode, kernel, s2, stretch, factors))
                for kernel, s2, share in weigh_kernels(
                    runs, at_mode, kernels[m], stretch, kept, factors
                )
            ]
            total = sum(share for share, _ in made)
            made = [(share / total, process) for share, process in made]
            # one covariance per metric, of the kernel with most evidence: five would not fit
            self._processes.append(made[:1] + [(w, p.drop_covariance()) for w, p in made[1:]])
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each), observation noise included."""
        mean, doubt = self._average(ratios)
        firsts = [metric[0][1] for metric in self._processes]
        own = [process.variance(ratios) + process.noise for process in firsts]
        return mean, np.sqrt(np.stack(own, axis=1) + doubt)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores minus those at `reference`: mean and variance (`n x m` each)."""
        mean, doubt = self._average(ratios)
        there, doubt_there = self._average(reference[None])
        firsts = [metric[0][1] for metric in self._processes]
        own = [process.variance_of_difference(ratios, reference) for process in firsts]
        apart = np.square(np.sqrt(doubt) - np.sqrt(doubt_there))
        return mean - there, np.stack(own, axis=1) + apart

    def mean(self, ratios: Array) -> Array:
        """Expected scores (`n x m`)."""
        return np.asarray((self._packed.shares.T @ self._each(ratios)).T)

    def _each(self, ratios: Array) -> Array:
        """What every process expects (`k x n`)."""
        values, _ = token_law.evaluate(self._packed.parameters, ratios)
        return np.asarray(values + self._packed.expansions.values(np.sqrt(ratios)))

    def _average(self, ratios: Array) -> tuple[Array, Array]:
        """Mean over a metric's kernels, and how far they disagree (a variance), `n x m` each."""
        each, shares = self._each(ratios), self._packed.shares
        mean = shares.T @ each
        disagreement = shares.T @ np.square(each) - np.square(mean)
        return mean.T, np.maximum(disagreement, 0.0).T

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm."""
        packed = self._packed
        by_process = packed.shares @ weights.T
        by_root = packed.expansions.slopes(np.sqrt(ratios), by_process)
        by_law = token_law.slopes(packed.parameters, ratios, by_process.T, SMALL_RATIO)
        return np.asarray(by_law + by_root * root_slope(ratios))

    @cached_property
    def _packed(self) -> "_Packed":
        """All processes side by side, so that climbing costs a few array operations."""
        listed = [(m, w, p) for m, metric in enumerate(self._processes) for w, p in metric]
        shares = np.zeros((len(listed), len(self._processes)))
        for index, (m, share, _) in enumerate(listed):
            shares[index, m] = share
        processes = [process for _, _, process in listed]
        expansions = Expansions(
            np.sqrt(processes[0].runs.ratios),
            np.stack([process.kernel.rho * process.pull for process in processes]),
            np.stack([process.stretch / process.kernel.length for process in processes]),
        )
        return _Packed(np.stack([p.parameters for p in processes]), shares, expansions)

    def shrink(self, ratios: Array, share: Array) -> Array:
        """What the law adds to scores (`n x m`) where only `share` (`n`) of the tokens are there.

        The law is in effective tokens, so a run of fewer is the same formula at ratios that sum
        to less than one.
        """
        parameters = self._leading_parameters()
        fewer, _ = token_law.evaluate(parameters, ratios * share[:, None])
        full, _ = token_law.evaluate(parameters, ratios)
        return np.asarray((fewer - full).T)

    def shrink_slopes(self, ratios: Array, share: Array, weights: Array) -> tuple[Array, Array]:
        """Gradients of Σ_m weights_nm · shrink_nm by the ratios (`n x d`) and the share (`n`)."""
        parameters = self._leading_parameters()
        fewer = ratios * share[:, None]
        by_fewer = token_law.slopes(parameters, fewer, weights, SMALL_RATIO)
        by_full = token_law.slopes(parameters, ratios, weights, SMALL_RATIO)
        return share[:, None] * by_fewer - by_full, (by_fewer * ratios).sum(axis=1)

    def _leading_parameters(self) -> Array:
        return np.stack([metric[0][1].parameters for metric in self._processes])


def _sensitivities(slopes: Array, known: Array) -> Array:
    """Root mean square of ∂z/∂e_j over the runs (`m x d`), the largest one, floored."""
    sizes = np.sqrt(np.where(known[..., None], np.square(slopes), 0.0).mean(axis=1))
    largest = np.maximum(sizes.max(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.maximum(sizes / largest, LEAST_SENSITIVITY))
