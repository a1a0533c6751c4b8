"""Guards: no metric worse than at a named mixture by more than ε, with probability 1 − δ.

Shapes: `n` mixtures, `d` domains, `m` metrics, `g` guarded ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mixopt.errors import MixtureError, TrialsError, did_you_mean
from mixopt.mixture import Array, Mixture
from mixopt.surrogates.surrogate import Surrogate


class _Limits(NamedTuple):
    """Places among the metrics, signs (+1: lower is better), tolerances and scales (`g` each)."""

    places: NDArray[np.int64]
    signs: Array
    tolerances: Array
    scales: Array


@dataclass(frozen=True)
class OutcomeConstraint:
    """No metric worse than at `reference` by more than a tolerance, with some probability.

    Attributes:
        reference: The mixture that is not to be fallen behind.
        tolerance: How much worse a metric may get, in its own units, for all or by metric.
        probability: Of keeping to it, for each metric.
        metrics: The metrics that are guarded; all that are searched by if none is given.
        name: What the reference is called in messages.
    """

    reference: Mixture
    tolerance: float | Mapping[str, float] = 0.0
    probability: float = 0.9
    metrics: tuple[str, ...] = ()
    name: str = "reference"

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise MixtureError(
                f"The probability of a guard is {self.probability:g}; give one between 0 and 1."
            )

    def margins(self, surrogate: Surrogate, ratios: Array) -> Array:
        """By how much each guarded metric keeps its limit (`n x guarded`); negative: it does not.

        In standard deviations of the metric over the trials.

        Raises:
            TrialsError: A guarded metric is none that was fitted.
        """
        places, signs, tolerances, scales = self.limits(surrogate)
        mean, std = surrogate.differences(ratios, self.reference.vector(surrogate.domains))
        worse = signs * mean[:, places] + float(ndtri(self.probability)) * std[:, places]
        return np.asarray((tolerances - worse) / scales)

    def expected(self, surrogate: Surrogate, ratios: Array) -> Array:
        """The margins (`n x g`) without doubt, by the laws that have slopes: what is climbed."""
        places, signs, tolerances, scales = self.limits(surrogate)
        both = np.vstack([ratios, self.reference.vector(surrogate.domains)])
        scores = surrogate.smooth_scores(both)[:, places]
        return np.asarray((tolerances - signs * (scores[:-1] - scores[-1:])) / scales)

    def slopes(self, surrogate: Surrogate, ratios: Array) -> Array:
        """Gradients of the margins (`guarded x d`) at one mixture (`d`), the doubt held."""
        places, signs, _, scales = self.limits(surrogate)
        return np.asarray(-(signs / scales)[:, None] * surrogate.metric_slopes(ratios)[places])

    def guarded(self, surrogate: Surrogate) -> list[str]:
        """Names of the guarded metrics, in the order of the margins."""
        places = self.limits(surrogate).places
        return [surrogate.metrics[place].metric.name for place in places]

    def limits(self, surrogate: Surrogate) -> _Limits:
        """Which metrics are guarded, which way, how far, and on what scale."""
        fitted = {one.metric.name: index for index, one in enumerate(surrogate.metrics)}
        given = self.tolerance if isinstance(self.tolerance, Mapping) else {}
        for name in (*self.metrics, *given):
            if name not in fitted:
                raise TrialsError(
                    f"The guard names metric {name!r}, which is not fitted. "
                    f"{did_you_mean(name, fitted)}"
                )
        varying = surrogate.scales.varying
        names = [n for n in (self.metrics or fitted) if varying[fitted[n]]]
        places = np.array([fitted[name] for name in names], dtype=np.int64)
        signs = np.array([
            1.0 if surrogate.metrics[place].metric.better == "lower" else -1.0 for place in places
        ])  # fmt: skip
        if isinstance(self.tolerance, Mapping):
            tolerances = np.array([float(given.get(name, 0.0)) for name in names])
        else:
            tolerances = np.full(len(names), float(self.tolerance))
        return _Limits(places, signs, tolerances, np.abs(surrogate.scales.slopes[places]))
