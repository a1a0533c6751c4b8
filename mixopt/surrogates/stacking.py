"""A portfolio of surrogates: weighed by cross-validation, bounded where it extrapolates.

No law is the best on every table (METHODS §12), so several are fitted and each counts by how
well it predicts runs that it has not seen. Test runs have no say: every number here comes from
the runs that are fitted.

Shapes: `n` runs, `d` domains, `m` metrics, `l` laws, `q` points. Scores are standardised and
turned so that lower is better.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mixopt.mixture import Array
from mixopt.proposal import Z80, Z95
from mixopt.surrogates.calibration import Tails, calibrate
from mixopt.surrogates.registry import FEWEST_TRIALS, SurrogateModel, is_smooth

log = logging.getLogger(__name__)

FOLDS = 4
CLIP_MARGIN = 0.5
"""Predictions stay in the range of the scores, widened by this share of it on either side."""
POWER = 2.0
"""A law's weight falls with so high a power of its squared error."""
SCREENED_FROM, SAMPLE, WORTH = 8000, 10, 0.05
"""Scores from which laws are first tried on a sample of metrics, its size, and the least weight."""
SUM_WEIGHT = 1e4
"""Weight of Σ weights = 1 in the stacking regression."""


@dataclass(frozen=True, eq=False)
class StackedModel:
    """Fitted laws and what they count for.

    Attributes:
        laws: By name.
        weights: Of each law for each metric (`l x m`), summing to one over the laws.
        scales: Factor on each law's standard deviation (`l x m`).
        low: Smallest prediction (`m`).
        high: Largest prediction (`m`).
        cv_errors: Squared out-of-fold error of each law (`l x m`), in units of the variance.
        cv_means: Out-of-fold predictions of the runs (`n x m`).
        cv_stds: Their standard deviations before calibration (`n x m`).
        tails: How wide intervals have to be, by metric.
    """

    laws: Mapping[str, SurrogateModel]
    weights: Array
    scales: Array
    low: Array
    high: Array
    cv_errors: Array
    cv_means: Array
    cv_stds: Array
    tails: Tails

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and uncalibrated standard deviation (`n x m` each) of new runs."""
        pairs = [law.predict(ratios) for law in self.laws.values()]
        means, stds = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
        return _combine(means, stds, self.weights, self.scales, (self.low, self.high))

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores at `ratios` (`n x d`) minus those at `reference` (`d`): mean and std.

        Both `n x m`. The laws that know how two mixtures go together say how unsure the
        difference is; how far the laws disagree about it is added.
        """
        means, there = self._means(ratios), self._means(reference[None])
        bounds = (self.low, self.high)
        mean = np.einsum("lm,lnm->nm", self.weights, np.clip(means, *bounds))
        at_reference = np.einsum("lm,lnm->nm", self.weights, np.clip(there, *bounds))
        variances, weights, smooth = [], [], []
        for law, weight, scale in zip(self.laws.values(), self.weights, self.scales, strict=True):
            smooth.append(is_smooth(law))
            if is_smooth(law):
                variances.append(scale * scale * law.contrast(ratios, reference)[1])
                weights.append(weight)
        share = np.stack(weights) if weights else np.zeros((0, mean.shape[1]))
        if not (share.sum(axis=0) > 0).all():
            _, std = self.predict(np.vstack([ratios, reference]))
            return mean - at_reference, np.hypot(std[:-1], std[-1:])
        share = share / share.sum(axis=0)
        apart = (means - there)[smooth]
        widest = self.high - self.low
        middle = np.einsum("lm,lnm->nm", share, np.clip(apart, -widest, widest))
        spread = np.stack(variances) + np.square(np.clip(apart - middle, -widest, widest))
        doubt = np.sqrt(np.einsum("lm,lnm->nm", share, spread))
        # what was cut off one of the two is doubt about their difference
        beyond = (means - np.clip(means, *bounds)) - (there - np.clip(there, *bounds))
        cut = np.minimum(np.einsum("lm,lnm->nm", self.weights, np.abs(beyond)), widest)
        return mean - at_reference, doubt + cut

    def _means(self, ratios: Array) -> Array:
        """What each law expects, unbounded (`l x n x m`)."""
        return np.stack([
            law.mean(ratios) if is_smooth(law) else law.predict(ratios)[0]
            for law in self.laws.values()
        ])  # fmt: skip

    def mean(self, ratios: Array, *, smooth: bool = True) -> Array:
        """The mean alone (`n x m`); with `smooth`, what the laws with `slopes` put into it."""
        total = np.zeros((len(ratios), self.weights.shape[1]))
        for law, share in zip(self.laws.values(), self.weights, strict=True):
            if is_smooth(law):
                total += share * np.clip(law.mean(ratios), self.low, self.high)
            elif not smooth:
                total += share * np.clip(law.predict(ratios)[0], self.low, self.high)
        return total

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) of Σ_m weights_nm · mean_nm."""
        gradient = np.zeros(ratios.shape)
        for law, share in zip(self.laws.values(), self.weights, strict=True):
            if is_smooth(law) and share.any():
                mean = law.mean(ratios)
                inside = (mean > self.low) & (mean < self.high)
                gradient += law.slopes(ratios, weights * share * inside)
        return gradient

    @property
    def smooth_share(self) -> float:
        """Mean weight of the laws that have slopes."""
        smooth = [is_smooth(law) for law in self.laws.values()]
        return float(self.weights[smooth].sum(axis=0).mean())


@dataclass(frozen=True, eq=False)
class Beside:
    """Rows that go with runs: what is known around them, and tells nothing new of itself.

    Attributes:
        ratios: `e x d`.
        scores: `e x m`, as the runs'.
        parents: The run that each belongs to (`e`).
    """

    ratios: Array
    scores: Array
    parents: NDArray[np.intp]

    @classmethod
    def nothing(cls, d: int, m: int) -> "Beside":
        """No rows."""
        return cls(np.empty((0, d)), np.empty((0, m)), np.empty(0, dtype=np.intp))

    def below(self, ratios: Array, scores: Array, noise: Array) -> tuple[Array, Array, Array]:
        """The runs' tables with these rows below, as noisy as the runs they belong to."""
        return (
            np.vstack([ratios, self.ratios]),
            np.vstack([scores, self.scores]),
            np.vstack([noise, noise[self.parents]]),
        )


def fit_portfolio(
    laws: Mapping[str, SurrogateModel],
    ratios: Array,
    scores: Array,
    noise: Array,
    *,
    seed: int,
    beside: Beside | None = None,
) -> StackedModel:
    """The portfolio of `laws`, which are fitted here.

    Args:
        laws: Unfitted, by name.
        ratios: `n x d`.
        scores: `n x m`, standardised, lower better, NaN where missing.
        noise: Sampling variances (`n x m`), 0 where not known.
        seed: Of the assignment to folds.
        beside: Rows that are fitted too and never tested on.
    """
    if scores.size > SCREENED_FROM:
        laws = _screen(laws, ratios, scores, noise, seed)
    beside = beside or Beside.nothing(ratios.shape[1], scores.shape[1])
    every = beside.below(ratios, scores, noise)
    fitted = {name: law.fit(*every) for name, law in laws.items()}
    folds = assign_folds(ratios, seed)
    parents = np.concatenate([np.arange(len(ratios)), beside.parents])
    if len(scores) < FEWEST_TRIALS or len(np.unique(folds)) < 2:
        return _unweighed(fitted, scores)
    bounds = _clip_range(scores)
    means = np.zeros((len(laws), *scores.shape))
    stds = np.ones_like(means)
    for fold in np.unique(folds):
        learn, test = folds[parents] != fold, folds == fold
        for index, law in enumerate(fitted.values()):
            again = law.refit(*(table[learn] for table in every))
            means[index, test], stds[index, test] = again.predict(ratios[test])
    errors = np.square(np.clip(means, *bounds) - scores)
    squares = np.nanmean(errors, axis=1)
    weights = _weigh(np.clip(means, *bounds), scores, squares)
    scales = np.sqrt(np.nanmean(np.square((means - scores) / stds), axis=1))
    cv_means, cv_stds = _combine(means, stds, weights, scales, bounds)
    tails = calibrate(scores - cv_means, cv_stds)
    return StackedModel(fitted, weights, scales, *bounds, squares, cv_means, cv_stds, tails)


def _screen(
    laws: Mapping[str, SurrogateModel], ratios: Array, scores: Array, noise: Array, seed: int
) -> Mapping[str, SurrogateModel]:
    """The laws that count for something on a sample of the metrics: the rest is not worth fitting."""
    m = scores.shape[1]
    sample = np.sort(np.random.default_rng(seed).permutation(m)[:SAMPLE])
    if m < 2 * SAMPLE:
        return laws
    trial = fit_portfolio(laws, ratios, scores[:, sample], noise[:, sample], seed=seed)
    counts = dict(zip(trial.laws, trial.weights.mean(axis=1), strict=True))
    kept = {name: law for name, law in laws.items() if counts.get(name, 0.0) >= WORTH}
    log.info("Left out after a look at %d metrics: %s.", SAMPLE,
             ", ".join(sorted(set(laws) - set(kept))) or "nothing")  # fmt: skip
    return kept


def _unweighed(laws: Mapping[str, SurrogateModel], scores: Array) -> StackedModel:
    """Laws that too few runs cannot tell apart, at equal weights and as wide as they say."""
    shape, m = (len(laws), scores.shape[1]), scores.shape[1]
    blank = np.full(scores.shape, np.nan)
    return StackedModel(
        laws, np.full(shape, 1 / len(laws)), np.ones(shape), np.full(m, -np.inf), np.full(m, np.inf),
        np.full(shape, np.nan), blank, blank, Tails(np.full(m, Z80), np.full(m, Z95)),
    )  # fmt: skip


def assign_folds(ratios: Array, seed: int) -> np.ndarray:
    """The fold (of at most `FOLDS`) of each run; repeats of one mixture share theirs."""
    _, same = np.unique(ratios.round(6), axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(same.max()) + 1)
    return np.asarray((order % min(FOLDS, len(order)))[same.ravel()])


def _clip_range(scores: Array) -> tuple[Array, Array]:
    """The range of the scores and half as much on either side, by metric (METHODS §12)."""
    low, high = np.nanmin(scores, axis=0), np.nanmax(scores, axis=0)
    margin = CLIP_MARGIN * (high - low)
    return low - margin, high + margin


def _combine(
    means: Array, stds: Array, weights: Array, scales: Array, bounds: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Weighted mean (`n x m`) of bounded predictions (`l x n x m`), and a standard deviation.

    It has what each law doubts and how far the laws disagree; what was cut off is doubt too.
    """
    bounded = np.clip(means, *bounds)
    mean = np.einsum("lm,lnm->nm", weights, bounded)
    own = np.square(stds * scales[:, None, :]) + np.square(bounded - mean)
    cut = np.einsum("lm,lnm->nm", weights, np.abs(means - bounded))
    # an unbounded law may be absurdly far off; its share of that is not
    cut = np.minimum(cut, bounds[1] - bounds[0])
    return mean, np.sqrt(np.einsum("lm,lnm->nm", weights, own)) + cut


def _weigh(means: Array, scores: Array, squares: Array) -> Array:
    """Weights of the laws (`l x m`): half by each one's error, half by stacking.

    By error: squared errors of a metric, shrunk geometrically to their mean over metrics, to a
    power. Stacking (Breiman 1996): the non-negative combination that predicts best, shared by all
    metrics, because one metric's runs are too few to tell laws apart.
    """
    relative = squares / squares.mean(axis=0)
    shrunk = np.sqrt(relative * relative.mean(axis=1, keepdims=True))
    by_error = np.maximum(shrunk, 1e-9) ** -POWER
    by_error /= by_error.sum(axis=0)
    known = np.isfinite(scores)
    design = np.stack([mean[known] for mean in means], axis=1)
    design = np.vstack([design, np.full((1, len(means)), SUM_WEIGHT)])
    stacked, _ = nnls(design, np.append(scores[known], SUM_WEIGHT))
    return np.asarray((by_error + (stacked / stacked.sum())[:, None]) / 2)


def describe_weights(
    portfolio: StackedModel, metric: int, names: Sequence[str]
) -> dict[str, float]:
    """Weight of each law for one metric, the largest first."""
    shares = dict(zip(names, portfolio.weights[:, metric].tolist(), strict=True))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
