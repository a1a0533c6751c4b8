"""One Gaussian model of what a user asks: the gain of really training on a mixture over natural.

The mean is the ensemble's gain times its growth with the tokens; a Gaussian process holds what ensembles
miss. Runs of any mixture, length and seed are observations:

    y_iem   = g_m(λ_i, T_i) + ε_im
    g_m(λ, T) = G(T) · ((1 + u_0 + u_1·log2(T/T_e)) · e_m(λ) + f_m(λ, T)),   G(T) = A · (T/T_e)^ρ

e_m is the ensemble's gain, T_e the experts' tokens, u_0 and u_1 normal, and f a Gaussian process that is
zero at natural: its standard deviation is s_m times D_m · ‖√λ − √λ_nat‖ + r·|e_m|, with the error of
e_m beside these where e_m is what a surrogate predicts of merges. With few runs the interval is wide; D
and r were measured on other worlds (studies/arena), and s_m is 1 unless runs of the metric itself are
further from their ensembles than these say (`bias_width`). See docs/methods.md, section 11.2.

Shapes: `n` runs, `q` mixtures asked about, `d` domains, `m` metrics, `c` linear combinations of metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from mixopt.mixture import Array
from mixopt.surrogates.bias_width import fit_bias_factor

JITTER = 1e-9
SAME = 1e-9  # difference of ratios below which mixtures are the same


@dataclass(frozen=True)
class GainPrior:
    """What other worlds tell about ensembles and training (`studies/arena/RESULTS.md`).

    Attributes:
        scale: A, real gain ÷ ensemble gain at the experts' own length.
        growth: ρ, exponent of the gains' growth with tokens.
        scale_sd: Standard deviation of u_0.
        growth_sd: Standard deviation of u_1, by doubling of the tokens.
        bias: D of a metric of usual spread, in units of its spread.
        bias_floor: Part of D that does not shrink with a metric's spread, in units of the median spread
            of the metrics of one native unit.
        relative: Standard deviation of the bias by size of the ensemble's gain: corners forget the
            other domains, and there ensembles err most.
        length_scale: Distance ‖√λ − √λ'‖ over which the bias changes.
        forgetting: Decay of the bias's correlation, by doubling of the tokens.
        within: Correlation of the bias between metrics of one capability.
        across: Correlation of the bias between other metrics.
        noise_within: The same for the noise of seeds.
        noise_forgetting: Decay of one run's noise, by doubling of the tokens.
        bias_freedom: ν of the inverse-gamma prior of s², above 2, which makes the bias of a metric a
            Student-t process of so many degrees of freedom (Shah, Wilson & Ghahramani 2014,
            arXiv:1402.4306).
    """

    scale: float = 1.1
    growth: float = 0.25
    scale_sd: float = 0.2
    growth_sd: float = 0.05
    bias: float = 0.4
    bias_floor: float = 0.6
    relative: float = 0.3
    length_scale: float = 0.5
    forgetting: float = 0.1
    within: float = 0.8
    across: float = 0.35
    noise_within: float = 0.3
    noise_forgetting: float = 0.5
    bias_freedom: float = 4.0

    def growth_to(self, length: float) -> float:
        """Return G: real gain of a run ÷ ensemble gain.

        Args:
            length: Tokens of the run ÷ tokens of the experts.
        """
        return float(self.scale * length**self.growth)


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Mixtures trained for some tokens, or asked about.

    Attributes:
        ratios: λ (`n x d`).
        tokens: Tokens of each (`n`).
        proxy_gains: e, the proxy's gain over natural, in the metrics' units (`n x m`): an ensemble's,
            or what merges predict where a metric needs generated text.
        proxy_errors: Standard deviation of the error of that prediction (`n x m`); 0 for ensembles.
    """

    ratios: Array
    tokens: Array
    proxy_gains: Array
    proxy_errors: Array | None = field(default=None, kw_only=True)

    @property
    def errors(self) -> Array:
        """Standard deviation of the errors of `proxy_gains` (`n x m`)."""
        known = self.proxy_errors
        return np.zeros_like(self.proxy_gains) if known is None else known

    def pick(self, places: Sequence[int], tokens: Array | None = None) -> "Mixtures":
        """Return some of the mixtures.

        Args:
            places: Their indices (`q`).
            tokens: Tokens of each (`q`); as before if left out.
        """
        rows = list(places)
        tokens = self.tokens[rows] if tokens is None else tokens
        errors = None if self.proxy_errors is None else self.proxy_errors[rows]
        return Mixtures(self.ratios[rows], tokens, self.proxy_gains[rows], proxy_errors=errors)

    def join(self, others: "Mixtures") -> "Mixtures":
        """Return these mixtures and others after them."""
        return Mixtures(
            np.vstack([self.ratios, others.ratios]), np.append(self.tokens, others.tokens),
            np.vstack([self.proxy_gains, others.proxy_gains]),
            proxy_errors=np.vstack([self.errors, others.errors]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Runs(Mixtures):
    """Observed gains of runs over the natural run with the same seed and tokens.

    Attributes:
        gains: y (`n x m`), positive where better; NaN where a score is missing.
        seeds: Seed of each run (`n`); runs with one seed share the noise of its natural run.
    """

    gains: Array
    seeds: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GainModel:
    """The joint prior of gains.

    Attributes:
        prior: Numbers of the prior.
        natural: The natural mixture (`d`).
        expert_tokens: T_e.
        spreads: Spread of each metric over mixtures, in native units (`m`); gains are in these units.
        capabilities: Capability of each metric, numbered (`m`).
        noise_sd: Standard deviation of a paired difference between seeds, in the metric's spread (`m`).
        usual_spreads: Spread of a usual metric of the same native unit (`m`), of `usual_spreads`; the
            median of `spreads` if left out.
        bias_factor: s of each metric (`m`); 1 if left out.
    """

    prior: GainPrior
    natural: Array
    expert_tokens: float
    spreads: Array
    capabilities: NDArray[np.int64]
    noise_sd: Array
    usual_spreads: Array | None = None
    bias_factor: Array | None = None

    def condition(self, runs: Runs | None, base: Mixtures | None = None) -> "GainPosterior":
        """Return the posterior of gains given runs; the prior if there are none.

        Args:
            runs: The observations.
            base: One mixture over which gains are stated; natural if left out.
        """
        if runs is None:
            return GainPosterior(self, runs, base)
        factor = fit_bias_factor(self, runs)
        return GainPosterior(replace(self, bias_factor=factor), runs, base)

    def growth(self, tokens: Array) -> Array:
        """Return G(T) (`n`)."""
        return np.asarray(self.prior.scale * (tokens / self.expert_tokens) ** self.prior.growth)

    def mean(self, at: Mixtures) -> Array:
        """Return the prior mean of the gains (`n x m`)."""
        return np.asarray(self.growth(at.tokens)[:, None] * at.proxy_gains)

    @cached_property
    def bias_sd(self) -> Array:
        """D of each metric, in its own spread (`m`).

        A metric that no expert improves much has a large one: its small spread says little about it.
        """
        usual = np.median(self.spreads) if self.usual_spreads is None else self.usual_spreads
        relative = usual / self.spreads
        return np.asarray(np.hypot(self.prior.bias, self.prior.bias_floor * relative))

    def covariance(self, first: Mixtures, second: Mixtures) -> Array:
        """Return the prior covariance of two sets of gains (`n1 x m x n2 x m`)."""
        p = self.prior
        slope, kernel = self.kernels(first, second)
        amplitudes = [self.amplitudes(at) for at in (first, second)]
        scaled = np.einsum("ij,ik,jl->ikjl", slope, first.proxy_gains, second.proxy_gains)
        correlation = self._correlation(p.within, p.across)
        bias = np.einsum("ij,kl,ik,jl->ikjl", kernel, correlation, *amplitudes, optimize=True)
        return np.asarray(scaled + bias)

    def kernels(self, first: Mixtures, second: Mixtures) -> tuple[Array, Array]:
        """Return the covariances of ensembles' gains and of the bias, ÷ amplitudes (`n1 x n2` each)."""
        p = self.prior
        doublings = [np.log2(at.tokens / self.expert_tokens) for at in (first, second)]
        slope = p.scale_sd**2 + p.growth_sd**2 * np.outer(*doublings)
        apart = np.abs(np.subtract.outer(*doublings))
        roots = [np.sqrt(at.ratios) for at in (first, second)]
        squared = np.square(roots[0][:, None] - roots[1][None]).sum(axis=2)
        kernel = np.exp(-squared / (2 * p.length_scale**2) - p.forgetting * apart)
        growth = np.outer(self.growth(first.tokens), self.growth(second.tokens))
        return growth * slope, growth * kernel

    def amplitudes(self, at: Mixtures) -> Array:
        """Return the standard deviation of the bias ÷ G (`n x m`)."""
        moved = np.linalg.norm(np.sqrt(at.ratios) - np.sqrt(self.natural), axis=1)
        own = np.outer(moved, self.bias_sd) + self.prior.relative * np.abs(at.proxy_gains)
        factor = 1.0 if self.bias_factor is None else self.bias_factor
        return np.asarray(np.hypot(own, at.errors) * factor)

    def noise(self, runs: Runs) -> Array:
        """Return the covariance of the noise of runs (`n x m x n x m`).

        Two runs with one seed share the noise of the natural run, half of the difference's variance.
        Checkpoints of one run share a part of their noise.
        """
        shared = self.shared_noise(runs)
        return np.asarray(np.einsum("ij,kl->ikjl", shared, self._noise_of_a_run))

    def shared_noise(self, runs: Runs) -> Array:
        """Return the correlation of the noise of runs in one metric (`n x n`)."""
        apart = np.abs(np.subtract.outer(np.log2(runs.tokens), np.log2(runs.tokens)))
        same_seed = runs.seeds[:, None] == runs.seeds[None]
        same_mixture = np.abs(runs.ratios[:, None] - runs.ratios[None]).max(axis=2) < SAME
        shared = np.where(same_mixture, 1.0, 0.5) * same_seed
        return np.asarray(shared * np.exp(-self.prior.noise_forgetting * apart))

    def combined_noise(self, weights: Array) -> Array:
        """Return the standard deviation of the noise of one run's gain, by combination (`c`).

        Args:
            weights: Combinations of metrics (`c x m`).
        """
        variances = np.einsum("ck,kl,cl->c", weights, self._noise_of_a_run, weights)
        return np.asarray(np.sqrt(variances))

    @cached_property
    def _noise_of_a_run(self) -> Array:
        """Covariance of the noise of one run's gains (`m x m`)."""
        correlation = self._correlation(self.prior.noise_within, 0.0)
        return correlation * np.outer(self.noise_sd, self.noise_sd)

    def _correlation(self, within: float, across: float) -> Array:
        same = self.capabilities[:, None] == self.capabilities[None]
        correlation = np.where(same, within, across)
        np.fill_diagonal(correlation, 1.0)
        return np.asarray(correlation)


@dataclass(frozen=True, eq=False)
class GainPosterior:
    """Gains given runs.

    Attributes:
        model: The prior.
        runs: The observations, or None.
        base: One mixture over which gains are stated, at the tokens of what is asked; None for natural.
    """

    model: GainModel
    runs: Runs | None
    base: Mixtures | None = None
    _seen: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        seen = np.zeros((0, 0), bool) if self.runs is None else np.isfinite(self.runs.gains)
        object.__setattr__(self, "_seen", seen)

    @cached_property
    def over_natural(self) -> "GainPosterior":
        """The posterior of gains over natural: what runs observe."""
        return self if self.base is None else GainPosterior(self.model, self.runs)

    @cached_property
    def _factor(self) -> tuple[Array, bool]:
        assert self.runs is not None
        n = self.runs.gains.size
        covariance = self.model.covariance(self.runs, self.runs) + self.model.noise(self.runs)
        seen = self._seen.ravel()
        matrix = covariance.reshape(n, n)[np.ix_(seen, seen)]
        matrix[np.diag_indices_from(matrix)] += JITTER
        factor: tuple[Array, bool] = cho_factor(matrix, lower=True)
        return factor

    @cached_property
    def _residual(self) -> Array:
        assert self.runs is not None
        return np.asarray((self.runs.gains - self.model.mean(self.runs))[self._seen])

    @cached_property
    def _solved(self) -> Array:
        return np.asarray(cho_solve(self._factor, self._residual))

    @property
    def log_likelihood(self) -> float:
        """Log-density of the observed gains under the prior."""
        lower, _ = self._factor
        solved = self._solved
        fit = -0.5 * float(self._residual @ solved) - float(np.log(np.diag(lower)).sum())
        return fit - 0.5 * len(solved) * float(np.log(2 * np.pi))

    def gains(self, at: Mixtures, weights: Array | None = None) -> tuple[Array, Array]:
        """Return the posterior of linear combinations of gains, free of the noise of single runs.

        Args:
            at: The mixtures and their tokens.
            weights: Combinations (`c x m`), such as utilities; each metric alone if left out.

        Returns:
            Mean (`q x c`) and covariance (`q x c x q x c`).
        """
        w = np.eye(len(self.model.spreads)) if weights is None else weights
        if self.base is not None:
            q = len(at.tokens)
            both = at.join(self.base.pick([0] * q, at.tokens))
            mean, covariance = self.over_natural.gains(both, w)
            over = np.hstack([np.eye(q), -np.eye(q)])
            return over @ mean, np.einsum("ri,iajb,sj->rasb", over, covariance, over, optimize=True)
        mean = self.expected(at, w)
        covariance = self.model.covariance(at, at)
        covariance = np.einsum("ikjl,ak,bl->iajb", covariance, w, w, optimize=True)
        if self.runs is None:
            return mean, covariance
        q, c = mean.shape
        cross = self._with_runs(at, w)
        explained = (cross @ cho_solve(self._factor, cross.T)).reshape(q, c, q, c)
        return mean, np.asarray(covariance - explained)

    def expected(self, at: Mixtures, weights: Array | None = None) -> Array:
        """Return the means of `gains` alone (`q x c`), without their covariance.

        Args:
            at: The mixtures and their tokens.
            weights: Combinations (`c x m`); each metric alone if left out.
        """
        w = np.eye(len(self.model.spreads)) if weights is None else weights
        if self.base is not None:
            bases = self.base.pick([0] * len(at.tokens), at.tokens)
            over = self.over_natural
            return np.asarray(over.expected(at, w) - over.expected(bases, w))
        mean = self.model.mean(at) @ w.T
        if self.runs is not None:
            mean = mean + (self._with_runs(at, w) @ self._solved).reshape(mean.shape)
        return np.asarray(mean)

    def _with_runs(self, at: Mixtures, weights: Array) -> Array:
        """Return the covariance of combinations of gains with what was observed (`q·c x ?`)."""
        assert self.runs is not None
        cross = self.model.covariance(at, self.runs)
        cross = np.einsum("ikjl,ak->iajl", cross, weights, optimize=True)
        rows = len(at.tokens) * len(weights)
        return np.asarray(cross.reshape(rows, -1)[:, self._seen.ravel()])

    def draw(self, at: Mixtures, weights: Array | None, n: int, rng: np.random.Generator) -> Array:
        """Return joint draws of combinations of gains (`n x q x c`).

        Args:
            at: The mixtures and their tokens.
            weights: Combinations (`c x m`); each metric alone if left out.
            n: Number of draws.
            rng: Draws them.
        """
        mean, covariance = self.gains(at, weights)
        size = mean.size
        values, vectors = np.linalg.eigh(covariance.reshape(size, size))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = rng.standard_normal((n, size))
        return np.asarray(mean.ravel() + normal @ root.T).reshape(n, *mean.shape)


def usual_spreads(spreads: Array, units: Sequence[str], varying: NDArray[np.bool_]) -> Array:
    """Return the median spread of the varying metrics of each metric's native unit (`m`).

    A share of items and a loss have no common scale, and what does not vary has no spread: such a metric
    counts as usual.

    Args:
        spreads: Spread of each metric, in native units (`m`).
        units: Native unit of each (`m`).
        varying: Whether it differs between mixtures (`m`).
    """
    names, usual = np.array(units), spreads.astype(np.float64)
    for unit in set(units):
        mine = (names == unit) & varying
        usual[mine] = np.median(spreads[mine]) if mine.any() else 1.0
    return usual
