"""Sums of kernels around the runs, all metrics in one batch: what climbing evaluates.

    f_p(x) = Σ_i a_pi · Matérn52(‖s_p ∘ (x − x_i)‖ / ℓ_p)

Shapes: `p` expansions, `n` runs, `d` features, `q` points.
"""

from collections.abc import Iterator

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.kernels import matern52_and_slope

CHUNK = 2_000_000
"""Kernel values held at once, about 100 MB with what is computed from them."""


class Expansions:
    """`p` functions of `d` features; points are `n x d`, pulls `p x n`, stretches `p x d`."""

    def __init__(self, points: Array, pulls: Array, stretches: Array) -> None:
        self._points, self._pulls = points, pulls
        self._squares = np.square(stretches)
        self._own = np.square(points) @ self._squares.T

    def values(self, x: Array) -> Array:
        """F (`p x q`) at `q x d` features."""
        found = np.empty((len(self._pulls), len(x)))
        for part in self._parts(len(x)):
            near, _ = matern52_and_slope(self._distances(x[part]))
            found[:, part] = np.einsum("pqn,pn->pq", near, self._pulls)
        return found

    def slopes(self, x: Array, weights: Array) -> Array:
        """Gradient (`q x d`) by the features of Σ_p weights_pq · f_p."""
        found = np.empty(x.shape)
        for part in self._parts(len(x)):
            _, slope = matern52_and_slope(self._distances(x[part]))
            steep = slope * self._pulls[:, None, :] * weights[:, part, None]
            here = steep.sum(axis=2, keepdims=True) * x[part]
            found[part] = np.einsum("pqd,pd->qd", here - steep @ self._points, self._squares)
        return found

    def _distances(self, x: Array) -> Array:
        """Squared distances, `p x q x n`."""
        cross = (x[None] * self._squares[:, None]) @ self._points.T
        ends = (np.square(x) @ self._squares.T).T[:, :, None] + self._own.T[:, None, :]
        return np.asarray(np.maximum(ends - 2 * cross, 0.0))

    def _parts(self, q: int) -> Iterator[slice]:
        step = max(1, CHUNK // max(1, self._pulls.size))
        for start in range(0, q, step):
            yield slice(start, start + step)
