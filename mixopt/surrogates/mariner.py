"""MARINER: the benefit and the harm of a domain's epochs, in the logarithm of the score above a floor.

    log(z(r) − φ) = a + Σ_j [ h_j softplus(log(1 + e_j) − τ)² − b_j (1 − exp(−(ρ e_j)^p)) ],   b, h ≥ 0

(marin-community/marin, 2026). e_j is the ratio of domain j in units of its mean over the runs: epochs up
to a factor, since runs around natural read all domains about equally often. Metrics share the shape
(ρ, p, τ, ridge) and κ, the distance of the floor, which the few runs of one do not identify. See
docs/methods.md, section 3.13.

Shapes: `n` mixtures, `d` domains, `m` metrics, `f` = 2d columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize_scalar, nnls
from scipy.special import expit

from mixopt.mixture import Array
from mixopt.surrogates.covariance import choose_centers
from mixopt.surrogates.kernels import SMALL_RATIO
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT, relative_precisions
from mixopt.surrogates.repeats import assign_folds

GRID: Mapping[str, tuple[float, ...]] = {
    "rate": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
    "power": (0.3, 0.5, 0.7, 1.0),
    "threshold": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    "ridge": (1e-6, 1e-3, 1e-2, 0.1, 1.0),
}
DECIDING = 6  # metrics that decide about the shape and κ, spread over all
GAP, GAPS, EVALUATIONS = 2.5, (1.05, 6.0), 10
"""κ while the shape is chosen, its range, and evaluations of the search for it."""
TOO_LARGE, USUAL_GAP = 0.9, 1.5
"""A κ beyond this share of its logarithmic range makes the law additive; the second replaces it."""
NOISE_WIDTHS = 3.0  # standard deviations of the noise that the floor is below the mean at least
FRESH_BELOW = 48  # number of runs below which a refit chooses shapes afresh
LARGEST_EXPONENT = 5.0  # of e in what a prediction is above its floor, in standardized units
LEAST_RIDGE = 1e-2  # least penalty of the covariance of coefficients


@dataclass(frozen=True)
class Shape:
    """Rate ρ and power p of the benefit, threshold τ of the harm, and the ridge of the coefficients."""

    rate: float = 1.0
    power: float = 0.7
    threshold: float = 3.0
    ridge: float = 1e-2


def columns(epochs: Array, shape: Shape) -> Array:
    """Return benefits and harms (`n x f`) of epochs (`n x d`)."""
    benefit = np.expm1(-((shape.rate * epochs) ** shape.power))
    harm = np.square(np.logaddexp(0.0, np.log1p(epochs) - shape.threshold))
    return np.hstack([benefit, harm])


def slopes(epochs: Array, shape: Shape) -> Array:
    """Return the derivatives of `columns` by the epochs (`n x f`)."""
    inner = (shape.rate * epochs) ** shape.power
    benefit = -np.exp(-inner) * inner * shape.power / epochs
    above = np.log1p(epochs) - shape.threshold
    harm = 2 * np.logaddexp(0.0, above) * expit(above) / (1 + epochs)
    return np.hstack([benefit, harm])


@dataclass(frozen=True, eq=False)
class _Law:
    """One metric at its shape and floor.

    Attributes:
        gap: κ, the distance of the floor from the mean in units of that of the best score.
        center: Weighted means of the columns (`f`).
        root: Cholesky factor of the covariance of the coefficients (`f x f`).
    """

    shape: Shape
    gap: float
    floor: float
    intercept: float
    coefficients: Array
    center: Array
    root: Array
    intercept_variance: float
    noise: float

    def above_floor(self, design: Array) -> Array:
        """Return z − φ (`n`) for columns `n x f`."""
        inner = self.intercept + (design - self.center) @ self.coefficients
        return np.asarray(np.exp(np.minimum(inner, LARGEST_EXPONENT)))


class Mariner:
    """MARINER's law for each metric."""

    def __init__(self) -> None:
        self._means = np.zeros(1)
        self._laws: list[_Law] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Mariner":
        self._means = ratios.mean(axis=0)
        return self._solve(ratios, scores, noise, None)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Mariner":
        if len(ratios) < FRESH_BELOW:
            return Mariner().fit(ratios, scores, noise)
        other = Mariner()
        other._means = self._means
        return other._solve(ratios, scores, noise, (self._laws[0].shape, self._laws[0].gap))

    def _solve(
        self, ratios: Array, scores: Array, noise: Array, known: "tuple[Shape, float] | None"
    ) -> "Mariner":
        if known is None:
            some = choose_centers(np.sqrt(ratios))
            known = choose(self._metrics(ratios[some], scores[some], noise[some]))
        self._laws = [one.law(*known) for one in self._metrics(ratios, scores, noise)]
        return self

    def _metrics(self, ratios: Array, scores: Array, noise: Array) -> "list[_Metric]":
        regressors, folds = _Regressors(self._epochs(ratios)), assign_folds(ratios, 0)
        pairs = zip(scores.T, noise.T, strict=True)
        return [_Metric(z, extra, folds, regressors) for z, extra in pairs]

    def _epochs(self, ratios: Array) -> Array:
        """Return ratios in units of the runs' means (`n x d`), 0 for a domain that no run had."""
        had = self._means > SMALL_RATIO
        return np.asarray(np.maximum(ratios, 0.0) * had / np.where(had, self._means, 1.0))

    def _design(self, ratios: Array) -> Array:
        """Return the columns (`n x f`), which all metrics share as they share the shape."""
        return columns(self._epochs(ratios), self._laws[0].shape)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        design, means, variances = self._design(ratios), [], []
        for law in self._laws:
            above = law.above_floor(design)
            own = np.square((design - law.center) @ law.root).sum(axis=1) + law.intercept_variance
            means.append(law.floor + above)
            variances.append(np.square(above) * (own + law.noise))
        return np.stack(means, axis=1), np.sqrt(np.stack(variances, axis=1))

    def mean(self, ratios: Array) -> Array:
        design = self._design(ratios)
        return np.stack([law.floor + law.above_floor(design) for law in self._laws], axis=1)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        design, means, variances = self._design(np.vstack([ratios, reference])), [], []
        for law in self._laws:
            above = law.above_floor(design)
            # derivatives of the score by the coefficients, whitened, and by the intercept
            steps = above[:, None] * ((design - law.center) @ law.root)
            variance = np.square(steps[:-1] - steps[-1]).sum(axis=1)
            variances.append(variance + law.intercept_variance * np.square(above[:-1] - above[-1]))
            means.append(above[:-1] - above[-1])
        return np.stack(means, axis=1), np.stack(variances, axis=1)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        # benefits of a power below one have no slope at zero epochs
        epochs = self._epochs(np.maximum(ratios, SMALL_RATIO))
        inside = epochs > 0
        held, d = np.where(inside, epochs, 1.0), ratios.shape[1]
        by_epochs = np.zeros(ratios.shape)
        shape = self._laws[0].shape
        design, steep = columns(epochs, shape), slopes(held, shape)
        for law, share in zip(self._laws, weights.T, strict=True):
            above = law.above_floor(design)
            both = steep * law.coefficients
            by_epochs += (share * above)[:, None] * (both[:, :d] + both[:, d:]) * inside
        return np.asarray(by_epochs / np.where(self._means > SMALL_RATIO, self._means, 1.0))


class _Part:
    """Some runs of one metric, and their targets above a floor.

    Args:
        rows: Which runs (`n`).
        z: Scores of all runs (`n`), NaN where missing.
        noise: Their sampling variances (`n`).
        trust: Their weights (`n`).
    """

    def __init__(self, rows: NDArray[np.bool_], z: Array, noise: Array, trust: Array) -> None:
        self.rows, self.z, self.trust = rows, z[rows], trust[rows]
        self.share = self.trust / self.trust.sum()
        self.key = rows.tobytes() + self.trust.tobytes()
        self._middle = float(self.share @ self.z)
        reach = self._middle - float(self.z.min())
        self._reach = reach if reach > 0 else float(self.z.std()) or 1.0
        self._targets: dict[float, tuple[float, float, Array]] = {}
        self._width = NOISE_WIDTHS * float(np.sqrt(np.median(noise[rows])))

    def above(self, gap: float) -> tuple[float, float, Array]:
        """Return the floor at κ, the mean log distance from it, and its weighted deviations."""
        if gap not in self._targets:
            floor = self._middle - max(gap * self._reach, self._width)
            target = np.log(self.z - floor)
            intercept = float(self.share @ target)
            self._targets[gap] = floor, intercept, self.trust * (target - intercept)
        return self._targets[gap]


class _Regressors:
    """Columns of the runs, and their factorizations, which metrics with the same runs share.

    Args:
        epochs: Of all runs (`n x d`).
    """

    def __init__(self, epochs: Array) -> None:
        self._epochs = epochs
        self._columns: dict[Shape, Array] = {}
        self._factors: dict[tuple[Shape, bytes], tuple[Array, Array, Array]] = {}

    def columns(self, shape: Shape) -> Array:
        """Return the columns of all runs (`n x f`) at a shape."""
        key = replace(shape, ridge=0.0)
        if key not in self._columns:
            self._columns[key] = columns(self._epochs, shape)
        return self._columns[key]

    def factorize(self, shape: Shape, part: _Part) -> tuple[Array, Array, Array]:
        """Return columns of some runs, their weighted means (`f`), and the factor of XᵀX + ridge.

        Args:
            shape: Of the columns.
            part: The runs and their weights.
        """
        key = (shape, part.key)
        if key not in self._factors:
            own = self.columns(shape)[part.rows]
            center = part.share @ own
            x = (own - center) * np.sqrt(part.trust)[:, None]
            gram = x.T @ x + shape.ridge * np.eye(x.shape[1])
            self._factors[key] = own, center, cholesky(gram, lower=True, overwrite_a=True)
        return self._factors[key]


class _Metric:
    """The runs of one metric, with the cross-validated error of a shape and a floor.

    Args:
        z: Scores (`n`), NaN where missing.
        noise: Sampling variances (`n`).
        folds: Fold of each run (`n`).
        regressors: Columns of all runs.
    """

    def __init__(
        self, z: Array, noise: Array, folds: NDArray[np.intp], regressors: _Regressors
    ) -> None:
        known, trust = np.isfinite(z), np.zeros(len(z))
        trust[known] = relative_precisions(noise[known])
        self._regressors = regressors
        self.runs = _Part(known, z, noise, trust)
        self._folds = [
            (_Part(known & (folds != fold), z, noise, trust), known & (folds == fold))
            for fold in np.unique(folds)
            if (known & (folds != fold)).any()
        ]
        self._z = z

    def error(self, shape: Shape, gap: float = GAP) -> float:
        """Return the sum of squared cross-validated errors."""
        design, total = self._regressors.columns(shape), 0.0
        for train, test in self._folds:
            law = self.solve(shape, gap, train)
            miss = law.floor + law.above_floor(design[test]) - self._z[test]
            total += float(miss @ miss)
        return total

    def law(self, shape: Shape, gap: float) -> _Law:
        """Return the law at a shape and a κ, with the uncertainty of its coefficients."""
        runs, law = self.runs, self.solve(shape, gap, self.runs)
        own, _, _ = self._regressors.factorize(shape, runs)
        left = np.log(runs.z - law.floor) - np.log(law.above_floor(own))
        used = min(float((law.coefficients > 0).sum()), len(left) / 2)
        noise = (float(runs.trust @ np.square(left)) + NOISE_COUNT * NOISE) / (
            max(len(left) - used, 1.0) + NOISE_COUNT
        )
        steady = replace(shape, ridge=max(shape.ridge, LEAST_RIDGE))
        _, _, factor = self._regressors.factorize(steady, runs)
        root = np.sqrt(noise) * solve_triangular(factor, np.eye(len(factor)), lower=True).T
        variance = noise / float(runs.trust.sum())
        return replace(law, root=root, noise=noise, intercept_variance=variance)

    def solve(self, shape: Shape, gap: float, part: _Part) -> _Law:
        """Return the law of some runs, by non-negative least squares with a free intercept.

        Args:
            shape: Of the columns.
            gap: κ.
            part: The runs.
        """
        floor, intercept, deviations = part.above(gap)
        own, center, factor = self._regressors.factorize(shape, part)
        # ‖Xβ − y‖² + ridge ‖β‖² up to a constant, in as many rows as columns
        right = solve_triangular(factor, own.T @ deviations, lower=True, check_finite=False)
        found, _ = nnls(factor.T, right)
        return _Law(shape, gap, floor, intercept, found, center, np.zeros((0, 0)), 0.0, 0.0)


def choose(metrics: Sequence[_Metric]) -> tuple[Shape, float]:
    """Return shape and κ of the lowest error over `DECIDING` metrics.

    One coordinate of the shape is chosen after another, then κ.

    Args:
        metrics: All `m` metrics.
    """
    deciding = metrics[:: -(-len(metrics) // DECIDING)]
    shape = Shape()

    def error(tried: Shape, gap: float = GAP) -> float:
        return sum(metric.error(tried, gap) for metric in deciding)

    for name, values in GRID.items():
        shape = min((replace(shape, **{name: value}) for value in values), key=error)
    low, high = np.log(GAPS)
    best = minimize_scalar(
        lambda log_gap: error(shape, float(np.exp(log_gap))),
        bounds=(low, high), method="bounded", options={"maxiter": EVALUATIONS},
    )  # fmt: skip
    too_large = best.x > low + TOO_LARGE * (high - low)
    return shape, USUAL_GAP if too_large else float(np.exp(best.x))
