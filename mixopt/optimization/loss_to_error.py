"""Loss-to-error law: Err(L) = ε − k·exp(−γL) (Gadre et al., arXiv:2403.08540, eq. 5).

See docs/methods.md, section 5.4.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from mixopt.errors import TrialsError
from mixopt.estimate import Estimate
from mixopt.mixture import Array

FEWEST_PAIRS = 4  # fewest pairs of loss and error for a fit of three constants
LEAST_ROOM = 1e-3  # between the bounds of ε
STARTING_RATES = (0.3, 0.8, 2.0)  # values of γ from which the fit starts


@dataclass(frozen=True)
class LossToError:
    """Err(L) = ε − k·exp(−γL).

    Attributes:
        epsilon: Error at a large loss.
        k: Scale.
        gamma: Rate per unit of loss.
        residual: Standard deviation of the residuals; 0 if the constants are given.
    """

    epsilon: float
    k: float
    gamma: float
    residual: float = 0.0

    @classmethod
    def fit(cls, losses: Array, errors: Array) -> "LossToError":
        """Fit the constants by least squares, with k and γ positive and ε at most one.

        Args:
            losses: Losses (`n`).
            errors: Benchmark errors (`n`), from 0 to 1; pairs that are not finite are left out.

        Raises:
            TrialsError: Fewer than four pairs, losses that do not differ, or an error outside [0, 1].
        """
        x, y = np.asarray(losses, dtype=np.float64), np.asarray(errors, dtype=np.float64)
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        if len(x) < FEWEST_PAIRS or np.ptp(x) == 0:
            raise TrialsError(
                f"{len(x)} pairs of loss and error are too few, or their losses do not differ; give "
                f"at least {FEWEST_PAIRS}, or the law's constants."
            )
        outside = y[(y < 0) | (y > 1)]
        if len(outside):
            raise TrialsError(
                f"A benchmark's error is {outside[0]:g}; errors are shares of the items from 0 to 1: "
                "divide percent by 100."
            )
        middle = float(x.mean())

        def miss(theta: Array) -> Array:
            epsilon, log_scale, log_rate = theta
            return np.asarray(epsilon - np.exp(log_scale - np.exp(log_rate) * (x - middle)) - y)

        fits = []
        for rate in STARTING_RATES:
            start = np.array([min(float(y.max()) + 0.05, 0.99), np.log(0.2), np.log(rate)])
            # below one, or errors that are all one would leave ε no interval
            least = min(float(y.min()), 1 - LEAST_ROOM)
            bounds = ([least, -20.0, np.log(0.01)], [1.0, 10.0, np.log(20.0)])
            fits.append(least_squares(miss, np.clip(start, *bounds), bounds=bounds))
        best = min(fits, key=lambda fitted: fitted.cost)
        epsilon, log_scale, log_rate = best.x
        gamma = float(np.exp(log_rate))
        residual = float(np.sqrt(2 * best.cost / max(len(x) - 3, 1)))
        return cls(float(epsilon), float(np.exp(log_scale + gamma * middle)), gamma, residual)

    def of(self, loss: Estimate) -> Estimate:
        """Return the error at a predicted loss, with its standard error by the delta method."""
        drop = self.k * float(np.exp(-self.gamma * loss.mean))
        spread = np.hypot(self.gamma * drop * loss.std_error, self.residual)
        return Estimate(self.epsilon - drop, float(spread))
