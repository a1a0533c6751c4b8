"""Outcome constraints: no metric worse than at a mixture by more than ε, with probability 1 − δ.

See docs/methods.md, section 7.6.
Shapes: `n` mixtures, `d` domains, `m` metrics, `g` constrained metrics.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mixopt.errors import (
    ArgumentTypeError,
    MixtureError,
    TrialsError,
    did_you_mean,
    require_number,
)
from mixopt.mixture import Array, MixtureLike, as_mixture
from mixopt.surrogates.surrogate import Surrogate

MIN_MARGIN = -1e-6  # margin, in standard deviations, at which a limit counts as met


class _Limits(NamedTuple):
    """Places among the metrics, signs (+1: lower is better), tolerances and scales (`g` each)."""

    places: NDArray[np.int64]
    signs: Array
    tolerances: Array
    scales: Array


@dataclass(frozen=True)
class OutcomeConstraint:
    """No metric worse than at a reference mixture by more than a tolerance, with a probability.

    Attributes:
        reference: The mixture to compare with: a mixture, a dict, a Series, or an array in the
            order of the surrogate's domains.
        tolerance: Largest loss of a metric, in its units, for all or by metric.
        probability: Probability of meeting each metric's limit.
        metrics: The constrained metrics; all fitted ones if empty.
        name: Name of the reference in messages.

    Raises:
        MixtureError: The probability is not between 0 and 1.
        UserError: A tolerance is not finite.
        ArgumentTypeError: A number is none, or `metrics` is a single string.
    """

    reference: MixtureLike
    tolerance: float | Mapping[str, float] = 0.0
    probability: float = 0.9
    metrics: tuple[str, ...] = ()
    name: str = "reference"

    def __post_init__(self) -> None:
        require_number("The probability of an outcome constraint", self.probability)
        metrics: Any = self.metrics
        if isinstance(metrics, str):
            raise ArgumentTypeError(f"metrics is {metrics!r}; give ({metrics!r},).")
        for name, tolerance in self._tolerances(("all metrics",)).items():
            require_number(f"The tolerance of {name}", tolerance)
        if not 0 < self.probability < 1:
            raise MixtureError(
                f"The probability of an outcome constraint is {self.probability:g}; give one between "
                "0 and 1."
            )

    def margins(self, surrogate: Surrogate, ratios: Array) -> Array:
        """Return by how much mixtures meet each limit (`n x g`).

        In standard deviations of the metric over the trials; negative where a limit is violated.

        Args:
            surrogate: Predicts the constrained metrics.
            ratios: Mixtures (`n x d`).

        Raises:
            TrialsError: A constrained metric is not fitted.
        """
        places, signs, tolerances, scales = self._limits(surrogate)
        mean, std = surrogate.differences(ratios, self._at_reference(surrogate))
        worse = signs * mean[:, places] + float(ndtri(self.probability)) * std[:, places]
        return np.asarray((tolerances - worse) / scales)

    def met(self, surrogate: Surrogate, ratios: Array) -> NDArray[np.bool_]:
        """Return which mixtures meet every limit (`n`), but for rounding.

        Args:
            surrogate: Predicts the constrained metrics.
            ratios: Mixtures (`n x d`).
        """
        return np.asarray((self.margins(surrogate, ratios) >= MIN_MARGIN).all(axis=1))

    def expected(self, surrogate: Surrogate, ratios: Array) -> Array:
        """Return the margins (`n x g`) of expected scores, without their uncertainty.

        Only the differentiable models predict, because SLSQP needs gradients.

        Args:
            surrogate: Predicts the constrained metrics.
            ratios: Mixtures (`n x d`).
        """
        places, signs, tolerances, scales = self._limits(surrogate)
        both = np.vstack([ratios, self._at_reference(surrogate)])
        scores = surrogate.smooth_scores(both)[:, places]
        return np.asarray((tolerances - signs * (scores[:-1] - scores[-1:])) / scales)

    def slopes(self, surrogate: Surrogate, ratios: Array) -> Array:
        """Return the gradients of `expected` (`g x d`) by the `surrogate` at `ratios` (`d`)."""
        places, signs, _, scales = self._limits(surrogate)
        return np.asarray(-(signs / scales)[:, None] * surrogate.metric_gradients(ratios)[places])

    def metric_names(self, surrogate: Surrogate) -> list[str]:
        """Return the names of the constrained metrics, in the order of the margins."""
        places = self._limits(surrogate).places
        return [surrogate.metrics[place].metric.name for place in places]

    def _limits(self, surrogate: Surrogate) -> _Limits:
        fitted = {one.metric.name: index for index, one in enumerate(surrogate.metrics)}
        own_name = surrogate.trials.own_name
        given = {own_name(name): value for name, value in self._tolerances(fitted).items()}
        metrics = tuple(map(own_name, self.metrics))
        for name in (*metrics, *given):
            if name not in fitted:
                raise TrialsError(
                    f"The outcome constraint names metric {name!r}, which is not fitted. "
                    f"{did_you_mean(name, fitted)}"
                )
        varying = surrogate.standardization.varying
        names = [n for n in (metrics or fitted) if varying[fitted[n]]]
        places = np.array([fitted[name] for name in names], dtype=np.int64)
        lower = [surrogate.metrics[place].metric.better == "lower" for place in places]
        signs = np.where(np.array(lower, dtype=bool), 1.0, -1.0)
        tolerances = np.array([float(given.get(name, 0.0)) for name in names])
        return _Limits(places, signs, tolerances, np.abs(surrogate.standardization.scales[places]))

    def _tolerances(self, names: Iterable[str]) -> dict[str, float]:
        """Return the tolerances that are given by metric, or the one of all for each of `names`."""
        given: Any = self.tolerance  # a Series has names too
        return dict(given.items()) if hasattr(given, "items") else dict.fromkeys(names, given)

    def _at_reference(self, surrogate: Surrogate) -> Array:
        return as_mixture(self.reference, surrogate.domains).vector(surrogate.domains)
