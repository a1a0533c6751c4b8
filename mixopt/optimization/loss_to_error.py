"""From a loss to a benchmark's error: Err(L) = ε − k·exp(−γL) (Gadre et al., 2403.08540, eq. 5).

Where the constants are not given they are fitted to pairs of losses and errors.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.proposal import Estimate

FEWEST_PAIRS = 4
"""Pairs of loss and error without which three constants are not fitted."""
STARTING_RATES = (0.3, 0.8, 2.0)


@dataclass(frozen=True)
class LossToError:
    """Err(L) = ε − k·exp(−γL).

    Attributes:
        epsilon: Error of a model that knows nothing.
        k: Scale.
        gamma: Rate per unit of loss.
        residual: Standard deviation of what the law misses, 0 where it was given.
    """

    epsilon: float
    k: float
    gamma: float
    residual: float = 0.0

    @classmethod
    def fit(cls, losses: Array, errors: Array) -> "LossToError":
        """The law of least squares through `n` pairs, k and γ positive, ε at most one.

        Raises:
            TrialsError: Fewer than four pairs, or losses that do not differ.
        """
        x, y = np.asarray(losses, dtype=np.float64), np.asarray(errors, dtype=np.float64)
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        if len(x) < FEWEST_PAIRS or np.ptp(x) == 0:
            raise TrialsError(
                f"{len(x)} pairs of loss and error are too few, or their losses do not differ; give "
                f"at least {FEWEST_PAIRS}, or the law's constants."
            )
        middle = float(x.mean())

        def miss(theta: Array) -> Array:
            epsilon, log_scale, log_rate = theta
            return np.asarray(epsilon - np.exp(log_scale - np.exp(log_rate) * (x - middle)) - y)

        fits = []
        for rate in STARTING_RATES:
            start = np.array([min(float(y.max()) + 0.05, 0.99), np.log(0.2), np.log(rate)])
            bounds = ([float(y.min()), -20.0, np.log(0.01)], [1.0, 10.0, np.log(20.0)])
            fits.append(least_squares(miss, np.clip(start, *bounds), bounds=bounds))
        best = min(fits, key=lambda fitted: fitted.cost)
        epsilon, log_scale, log_rate = best.x
        gamma = float(np.exp(log_rate))
        residual = float(np.sqrt(2 * best.cost / max(len(x) - 3, 1)))
        return cls(float(epsilon), float(np.exp(log_scale + gamma * middle)), gamma, residual)

    def of(self, loss: Estimate) -> Estimate:
        """The error at a loss; its standard error by the delta method."""
        drop = self.k * float(np.exp(-self.gamma * loss.mean))
        spread = np.hypot(self.gamma * drop * loss.std_error, self.residual)
        return Estimate(self.epsilon - drop, float(spread))
