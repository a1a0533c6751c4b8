"""A cubic radial basis function (RBF) interpolant of the surrogate, small enough to embed in a page.

The surrogate itself does not fit into a page: it is a stack of models, each with the matrix of runs.
The page interpolates its outputs between some hundred mixtures instead:

    f(r) = Σᵢ wᵢ ‖√r − √rᵢ‖³ + b·φ(r) + c,

the cubic RBF with a polynomial-like tail (Fornberg & Flyer, "A Primer on Radial Basis Functions", §2).
In the coordinates √r, distances are Hellinger distances up to a constant. The tail φ holds √r, r,
log(r + 0.01) and log(r + 0.1) of every domain, in which the surrogate's models are nearly linear.
The interpolant is exact at the nodes; `what_if` measures its error between them, and the page shows it.
See docs/methods.md, section 10.1.

Shapes: `n` nodes, `d` domains, `k` outputs, `q` query points.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array

SHIFTS = (0.01, 0.1)
"""Added to ratios before the logarithm."""
DIGITS = 10
"""Significant digits of the coefficients, which Python and the page compute with alike."""


@dataclass(frozen=True, eq=False)
class Emulator:
    """The coefficients of the interpolant.

    Attributes:
        nodes: √ratios (`n x d`).
        weights: w (`n x k`).
        slopes: b (`4d x k`), in the order of `tail_terms`.
        offsets: c (`k`).
    """

    nodes: Array
    weights: Array
    slopes: Array
    offsets: Array

    @classmethod
    def fit(cls, ratios: Array, outputs: Array) -> "Emulator":
        """Interpolate `outputs` (`n x k`) at `n x d` ratios, all different."""
        nodes = _round(np.sqrt(np.maximum(ratios, 0.0)))
        n = len(nodes)
        tail = np.column_stack([tail_terms(nodes), np.ones(n)])
        size = n + tail.shape[1]
        system = np.zeros((size, size))
        system[:n, :n] = _cubic(nodes, nodes)
        system[:n, n:], system[n:, :n] = tail, tail.T
        right = np.concatenate([outputs, np.zeros((tail.shape[1], outputs.shape[1]))])
        # the system is singular: ratios sum to one, and few nodes do not determine the whole tail
        solution = np.linalg.lstsq(system, right, rcond=1e-14)[0]
        return cls(nodes, *map(_round, (solution[:n], solution[n:-1], solution[-1])))

    def predict(self, ratios: Array) -> Array:
        """Return outputs (`q x k`) at `q x d` ratios."""
        points = np.sqrt(np.maximum(ratios, 0.0))
        return np.asarray(
            _cubic(points, self.nodes) @ self.weights
            + tail_terms(points) @ self.slopes
            + self.offsets
        )

    def to_dict(self) -> dict[str, list[object]]:
        """Return plain lists for JSON."""
        return {
            "nodes": self.nodes.tolist(),
            "weights": self.weights.tolist(),
            "slopes": self.slopes.tolist(),
            "offsets": self.offsets.tolist(),
        }


def tail_terms(roots: Array) -> Array:
    """Return φ (`n x 4d`) of √ratios (`n x d`): √r, r, log(r + 0.01), log(r + 0.1)."""
    shares = np.square(roots)
    return np.hstack([roots, shares, *(np.log(shares + shift) for shift in SHIFTS)])


def _cubic(points: Array, nodes: Array) -> Array:
    square = np.square(points[:, None, :] - nodes[None, :, :]).sum(axis=2)
    return np.asarray(square * np.sqrt(square))


def _round(values: Array) -> Array:
    """Round each number to `DIGITS` significant digits."""
    flat = [float(f"{value:.{DIGITS - 1}e}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))
