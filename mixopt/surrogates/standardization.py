"""Standardized scores, in which surrogate models are fitted: lower is better, variance one.

Shapes: `n` mixtures, `m` metrics, `m'` metrics that differ between runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array


@dataclass(frozen=True, eq=False)
class Standardization:
    """The affine transform of standardized scores z to the metrics' units: y = center + scale · z.

    Attributes:
        centers: Means over the runs (`m`).
        scales: Standard deviations over the runs (`m`), negative where higher is better; 0 where
            the scores do not differ.
    """

    centers: Array
    scales: Array

    @property
    def varying(self) -> NDArray[np.bool_]:
        """Which metrics differ between runs (`m`)."""
        return np.asarray(self.scales != 0)

    def transform(self, values: Array) -> Array:
        """Return z (`n x m'`, lower better) of scores (`n x m`)."""
        keep = self.varying
        return np.asarray((values[:, keep] - self.centers[keep]) / self.scales[keep])

    def transform_variances(self, std_errors: Array) -> Array:
        """Return variances of z (`n x m'`) from standard errors (`n x m`), 0 where unknown."""
        keep = self.varying
        known = np.nan_to_num(std_errors[:, keep], nan=0.0, posinf=0.0)
        return np.asarray(np.square(known / self.scales[keep]))

    def untransform(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation in the metrics' units (`n x m` each) from `n x m'`."""
        values = np.tile(self.centers, (len(mean), 1))
        errors = np.zeros_like(values)
        keep = self.varying
        values[:, keep] += mean * self.scales[keep]
        errors[:, keep] = std * np.abs(self.scales[keep])
        return values, errors
