"""The objective of a study: the one unit in which every gain is computed and told.

The spread of each metric is measured once, over ensembles at mixtures around natural, before anything is
searched. It is used for every fidelity and round after, so that the unit does not change with the runs.
See docs/methods.md, section 11.5. Shapes: `n` mixtures, `m` metrics, `c` combinations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mixopt.decision import NATIVE, SPREADS
from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.surrogates.metric_arrays import signs
from mixopt.surrogates.utility import (
    TRUSTED,
    AnyUtility,
    Utility,
    WorstCapability,
    require_one_direction,
)
from mixopt.trial import Metric

DRAWS = 64
"""Mixtures around natural over which a spread is measured."""
CONCENTRATION = 1.0
"""Total concentration of these draws, per domain."""
TEMPER = 0.7
FLOOR = 0.05
"""Least concentration of a domain, so that small domains are drawn at all."""
LEAST_SPREAD = 1e-9
DOUBTFUL = 0.5
"""Trust of an accuracy below which the search follows the loss of its right answers instead."""

ObjectiveUnit = Literal["z", "raw"]


@dataclass(frozen=True, eq=False)
class Objective:
    """What is maximized: weights of capabilities over metrics in units of their spread.

    Attributes:
        metrics: The metrics that choose (`m`).
        spreads: Spread of each metric over mixtures, in its native units (`m`).
        trust: Weight of each metric inside its capability, from 0 to 1 (`m`).
        weights: Weight by capability; those left out have 1.
        worst: Whether the worst capability counts instead of the weighted mean.
        unit: `z` if gains of metrics are averaged in units of their spread, `raw` in native units.
        growth: By how much a spread grows from the experts' length to the tokens at which gains are
            stated. Combinations divide by it, so that their unit is the spread there.
        loss_trust: Trust of the smooth loss of each metric, from 0 to 1 (`m`); None where unknown.
        seed_differences: Difference of two seeds of natural, in native units (`m`); NaN for a metric
            where it is unknown, None where it is for all.
    """

    metrics: tuple[Metric, ...]
    spreads: Array
    trust: Array
    weights: Mapping[str, float]
    worst: bool = False
    unit: ObjectiveUnit = "z"
    growth: float = 1.0
    loss_trust: Array | None = None
    seed_differences: Array | None = None

    @classmethod
    def measure(
        cls,
        metrics: tuple[Metric, ...],
        scores: Array,
        noise_sd: Array,
        *,
        trust: Array | None = None,
        unit: ObjectiveUnit = "z",
        growth: float = 1.0,
        weights: Mapping[str, float] | None = None,
        worst: bool = False,
    ) -> "Objective":
        """Return the objective in the spread of scores around natural.

        A spread is half the distance of the 16th and 84th percentiles, so that corners of the simplex do
        not set it. A metric is trusted by s² ÷ (s² + σ²), with σ the noise of seeds: what seeds cannot
        reproduce loses its weight.

        Args:
            metrics: The metrics that choose (`m`).
            scores: Scores at mixtures around natural (`n x m`).
            noise_sd: Standard deviation of the difference of two runs by their seed, in native units
                (`m`); 0 where unknown.
            trust: Further weight of each metric, from 0 to 1 (`m`); 1 if left out.
            unit: `z` for spreads, `raw` for native units.
            growth: Growth of the spreads to the tokens at which gains are stated.
            weights: Weight by capability; 1 where none is given.
            worst: Whether the worst capability counts.

        Raises:
            TrialsError: No metric differs between mixtures, or raw metrics differ in direction.
        """
        spreads, signal = measure_signal(scores, noise_sd)
        varying = spreads > LEAST_SPREAD
        if not varying.any():
            raise TrialsError(
                "No benchmark's score differs between mixtures; use benchmarks that separate them."
            )
        if unit == "raw":
            require_one_direction(metrics)
        trusted = signal if trust is None else signal * trust
        spreads = np.where(varying, spreads, 1.0)
        return cls(metrics, spreads, trusted, dict(weights or {}), worst, unit, growth)

    @property
    def seed_gains(self) -> Array:
        """Difference of two seeds of natural in spreads (`m`); NaN where it or the spread is unknown."""
        if self.seed_differences is None:
            return np.full(len(self.metrics), np.nan)
        return np.where(self.trust > 0, self.seed_differences / self.spreads, np.nan)

    @property
    def search_trust(self) -> Array:
        """Weight of each metric in a search by smooth losses (`m`).

        An accuracy that is mostly noise has the trust of the loss of its right answers there.
        """
        if self.loss_trust is None:
            return self.trust
        return np.where(self._by_loss, self.loss_trust, self.trust)

    @property
    def searched_by_loss(self) -> tuple[str, ...]:
        """Names of the metrics whose trust in a search is that of their loss."""
        pairs = zip(self.metrics, self._by_loss, strict=True)
        return tuple(metric.name for metric, own in pairs if own)

    @property
    def _by_loss(self) -> NDArray[np.bool_]:
        if self.loss_trust is None:
            return np.zeros(len(self.metrics), dtype=bool)
        jumps = np.array([metric.better == "higher" for metric in self.metrics])
        return np.asarray(jumps & (self.trust < DOUBTFUL) & (self.loss_trust > self.trust))

    @property
    def capabilities(self) -> list[str]:
        """Capabilities with a weight and a metric that varies, in the order of the metrics."""
        return [
            name
            for name in dict.fromkeys(metric.capability for metric in self.metrics)
            if self.weights.get(name, 1.0) > 0 and self._of(name).any()
        ]

    @property
    def counted(self) -> list[str]:
        """Capabilities that the objective is made of.

        Where the worst one counts, those with a trusted metric, as in a surrogate's utility: what is
        mostly noise must not be the worst. If none has one, all count.
        """
        trusted = [name for name in self.capabilities if self._of(name).max() >= TRUSTED]
        return trusted if self.worst and trusted else self.capabilities

    @property
    def usual_gain(self) -> float:
        """Gain of a mixture that is one spread better in every metric; 1 but with the unit `raw`.

        Gains are compared with what counts as none in this unit.
        """
        return float(self.combinations().sum(axis=1).min() * self.growth)

    @property
    def gain_unit(self) -> str:
        """Unit of the utility's gains, in the words that follow a number."""
        # ranks have no spread that ensembles share, so the objective is in spreads there too
        return NATIVE if self.unit == "raw" else SPREADS

    def combinations(self) -> Array:
        """Return weights of standardized gains (`c x m`), one row; for the worst one by capability."""
        rows = np.stack([self.capability(name) for name in self.counted])
        if self.worst:
            return rows
        # a capability has the trust of its most trusted metric
        trust = np.array([self._of(name).max() for name in self.capabilities])
        weights = trust * [self.weights.get(name, 1.0) for name in self.capabilities]
        return np.asarray(weights / weights.sum() @ rows)[None]

    def capability(self, name: str) -> Array:
        """Return the weights of standardized gains (`m`) that make the gain of one capability."""
        mine = self._of(name)
        scale = self.spreads if self.unit == "raw" else 1 / self.growth
        return np.asarray(mine / mine.sum() * scale)

    def gains(self, scores: Array, reference: Array) -> Array:
        """Return standardized gains over a reference, positive where better.

        Args:
            scores: `n x m`.
            reference: Scores of the reference (`m`, or `n x m` for one each).
        """
        return np.asarray((scores - reference) * signs(self.metrics) / self.spreads)

    def utility(self, reference: Array) -> AnyUtility:
        """Return the utility whose value is the gain over a reference.

        Args:
            reference: Scores of the reference (`m`).
        """

        def linear(row: Array) -> Utility:
            return Utility(self.metrics, row * signs(self.metrics) / self.spreads, reference)

        if not self.worst:
            return linear(self.combinations()[0])
        parts = {name: linear(self.capability(name)) for name in self.counted}
        return WorstCapability(self.metrics, parts)

    def _of(self, capability: str) -> Array:
        mine = np.array([metric.capability == capability for metric in self.metrics])
        return np.asarray(mine * self.trust)


def measure_signal(scores: Array, noise_sd: Array) -> tuple[Array, Array]:
    """Return the spread s of each metric over mixtures, and s² ÷ (s² + σ²) (`m` each).

    Args:
        scores: At mixtures around natural (`n x m`).
        noise_sd: σ, the standard deviation of the difference of two seeds, in the same unit (`m`).
    """
    low, high = np.percentile(scores, [16, 84], axis=0)
    spreads = (high - low) / 2
    squares = np.square(spreads)
    signal = squares / np.maximum(squares + np.square(noise_sd), 1e-300)
    return spreads, np.where(spreads > LEAST_SPREAD, signal, 0.0)


def draw_around(natural: Array, n: int, rng: np.random.Generator) -> Array:
    """Return mixtures around natural (`n x d`), small domains more often than their share.

    Args:
        natural: The natural mixture (`d`).
        n: Number of mixtures.
        rng: Draws them.
    """
    tempered = natural**TEMPER
    alpha = CONCENTRATION * len(natural) * tempered / tempered.sum()
    return rng.dirichlet(np.maximum(alpha, FLOOR), size=n)
