"""The emulator: a surrogate's answers as one short formula, so that a page can compute them alone.

A surrogate is a portfolio of laws with a matrix of the runs for each; none of that fits into a page.
What it says at some hundred mixtures is interpolated instead: f(r) = Σᵢ wᵢ ‖√r − √rᵢ‖³ + b·φ(r) + c, the
cubic radial basis (Fornberg & Flyer, "A Primer on Radial Basis Functions", §2) in the coordinates in
which distances between mixtures are Hellinger's, beside what a domain's share does by itself: φ holds
√r, r, log(r + 0.01) and log(r + 0.1) of every domain, in which the laws are nearly linear. At the nodes
it is exact; how far it is off between them is measured and stands on the page.

Shapes: `n` nodes, `d` domains, `k` answers, `q` points.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array

SHIFTS = (0.01, 0.1)
"""Added to shares before their logarithm."""
DIGITS = 10
"""Significant digits of what is written; the formula is computed with these, here and in the page."""


@dataclass(frozen=True, eq=False)
class Emulator:
    """A formula for `k` answers.

    Attributes:
        nodes: √ratios (`n x d`).
        weights: w (`n x k`).
        slopes: b (`4d x k`), in the order of `own_terms`.
        offsets: c (`k`).
    """

    nodes: Array
    weights: Array
    slopes: Array
    offsets: Array

    @classmethod
    def through(cls, ratios: Array, answers: Array) -> "Emulator":
        """The emulator that says `answers` (`n x k`) at `n x d` ratios, all different."""
        nodes = _round(np.sqrt(np.maximum(ratios, 0.0)))
        n = len(nodes)
        tail = np.column_stack([own_terms(nodes), np.ones(n)])
        size = n + tail.shape[1]
        system = np.zeros((size, size))
        system[:n, :n] = _cubic(nodes, nodes)
        system[:n, n:], system[n:, :n] = tail, tail.T
        right = np.concatenate([answers, np.zeros((tail.shape[1], answers.shape[1]))])
        # least squares: shares sum to one, and with few nodes some of the linear part cannot be told
        found = np.linalg.lstsq(system, right, rcond=1e-14)[0]
        return cls(nodes, *map(_round, (found[:n], found[n:-1], found[-1])))

    def predict(self, ratios: Array) -> Array:
        """Answers (`q x k`) at `q x d` ratios."""
        points = np.sqrt(np.maximum(ratios, 0.0))
        return np.asarray(
            _cubic(points, self.nodes) @ self.weights
            + own_terms(points) @ self.slopes
            + self.offsets
        )

    def to_dict(self) -> dict[str, list[object]]:
        """Plain lists for JSON."""
        return {
            "nodes": self.nodes.tolist(),
            "weights": self.weights.tolist(),
            "slopes": self.slopes.tolist(),
            "offsets": self.offsets.tolist(),
        }


def own_terms(roots: Array) -> Array:
    """φ (`n x 4d`) of √ratios (`n x d`): √r, r, log(r + 0.01), log(r + 0.1)."""
    shares = np.square(roots)
    return np.hstack([roots, shares, *(np.log(shares + shift) for shift in SHIFTS)])


def _cubic(points: Array, nodes: Array) -> Array:
    square = np.square(points[:, None, :] - nodes[None, :, :]).sum(axis=2)
    return np.asarray(square * np.sqrt(square))


def _round(values: Array) -> Array:
    """Each number to `DIGITS` significant digits, as it is written."""
    flat = [float(f"{value:.{DIGITS - 1}e}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))
