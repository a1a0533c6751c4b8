"""Losses of probability ensembles as functions of the mixture: a surrogate that needs no fit.

An ensemble gives a token the probability Σ_k w_k p_k of the experts' probabilities (MDE,
arXiv:2502.15950), with w_k = λ_k^γ ÷ Σ_j λ_j^γ. With the experts' log-probabilities in memory a mixture
costs two passes over a matrix, gradient included, and no forward pass. See docs/methods.md, section 2.2.

Shapes: `k` experts, `t` tokens, `m` metrics, `i` items, `n` mixtures.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array

GAMMA = 0.6
"""Default γ: among .5 to 1 it ranked mixtures best in the development worlds of `studies/arena`."""
CHUNK = 1 << 14
"""Tokens that are read at a time, so that a chunk stays in the cache between its passes."""
TINY = np.finfo(np.float32).tiny
LEAST = 1e-6
"""Smallest probability, relative to the largest expert's, at which curvature is computed."""


@dataclass(frozen=True, eq=False)
class EnsembleModel:
    """Losses of `m` metrics at any weights of `k` experts.

    Attributes:
        probabilities: p_k of each token, divided by the largest of the experts' (`k x t`).
        shift: Logarithm of that largest probability, in nats (`t`).
        token_weights: Weight of a token's log-probability in its metric's loss, such as 1 ÷ (ln 2 ·
            bytes) for bits per byte (`t`).
        starts: First token of each metric, and `t` (`m + 1`).
        items: Item of each token, numbered through all metrics (`t`).
        sizes: Size of each item, in the unit by which its metric is divided (`i`).
    """

    probabilities: NDArray[np.float32]
    shift: NDArray[np.float32]
    token_weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    sizes: Array

    @classmethod
    def of(
        cls,
        logprobs: NDArray[np.floating],
        token_weights: Array,
        metrics: NDArray[np.integer],
        items: NDArray[np.integer],
        sizes: Array,
    ) -> "EnsembleModel":
        """Return the model of the experts' log-probabilities.

        Args:
            logprobs: Log-probabilities of all scored tokens (`k x t`, nats).
            token_weights: Weight of each token in its metric's loss (`t`); tokens of weight 0 (of
                wrong choices, say) are left out.
            metrics: Metric of each token, from 0 and increasing (`t`).
            items: Item of each token, numbered through all metrics (`t`).
            sizes: Size of each item (`i`).
        """
        kept = np.flatnonzero(token_weights)
        some = np.asarray(logprobs, dtype=np.float32)[:, kept]
        shift = some.max(axis=0)
        starts = np.searchsorted(metrics[kept], np.arange(int(metrics.max()) + 2))
        return cls(
            np.exp(some - shift), shift, np.asarray(token_weights, dtype=np.float32)[kept],
            starts, np.asarray(items, dtype=np.int64)[kept], np.asarray(sizes, dtype=np.float64),
        )  # fmt: skip

    @property
    def k(self) -> int:
        """Number of experts."""
        return len(self.probabilities)

    @property
    def m(self) -> int:
        """Number of metrics."""
        return len(self.starts) - 1

    def losses(self, weights: Array) -> Array:
        """Return the losses (`m`) of the ensemble with these weights of the experts (`k`)."""
        w, losses = np.asarray(weights, dtype=np.float32), self._offsets.copy()
        for metric, part in self._chunks:
            mixed = self._mix(w, part)
            losses[metric] -= self.token_weights[part] @ np.log(mixed, out=mixed)
        return losses

    def losses_and_jacobian(self, weights: Array) -> tuple[Array, Array]:
        """Return the losses (`m`) at weights (`k`) and their derivatives by each weight (`m x k`).

        Each loss is convex in the weights.
        """
        w, losses = np.asarray(weights, dtype=np.float32), self._offsets.copy()
        jacobian = np.zeros((self.m, self.k))
        for metric, part in self._chunks:
            mixed, share = self._mix(w, part), self.token_weights[part]
            losses[metric] -= share @ np.log(mixed)
            jacobian[metric] -= self.probabilities[:, part] @ np.divide(share, mixed, out=mixed)
        return losses, jacobian

    def curvature(self, weights: Array) -> Array:
        """Return the second derivatives of the losses at weights (`k`), `m x k x k`."""
        w, curvature = np.asarray(weights, dtype=np.float32), np.zeros((self.m, self.k, self.k))
        for metric, part in self._chunks:
            p = self.probabilities[:, part]
            # a token that no weighted expert allows bends the loss without limit
            mixed = np.maximum(self._mix(w, part), LEAST)
            curvature[metric] += (p * (self.token_weights[part] / mixed / mixed)) @ p.T
        return curvature

    def _mix(self, w: NDArray[np.float32], part: slice) -> NDArray[np.float32]:
        """Return Σ_k w_k p_k ÷ the largest p_k of some tokens."""
        mixed: NDArray[np.float32] = w @ self.probabilities[:, part]
        # a token that every weighted expert excludes costs a finite loss
        np.maximum(mixed, TINY, out=mixed)
        return mixed

    @cached_property
    def _chunks(self) -> list[tuple[int, slice]]:
        """Metric and place of the tokens that are read at a time."""
        return [
            (metric, slice(start, min(start + CHUNK, int(self.starts[metric + 1]))))
            for metric in range(self.m)
            for start in range(int(self.starts[metric]), int(self.starts[metric + 1]), CHUNK)
        ]

    @cached_property
    def _offsets(self) -> Array:
        """The losses (`m`) if each token had the largest of the experts' probabilities."""
        offsets = np.zeros(self.m)
        for metric, part in self._chunks:
            offsets[metric] -= float(self.token_weights[part].astype(np.float64) @ self.shift[part])
        return offsets

    @cached_property
    def _items_of_metrics(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The items of each metric, and which of them each of its tokens belongs to."""
        pairs = zip(self.starts[:-1], self.starts[1:], strict=True)
        return [np.unique(self.items[start:stop], return_inverse=True) for start, stop in pairs]

    def resample(self, rng: np.random.Generator) -> "EnsembleModel":
        """Return the model of a bootstrap sample of the items, drawn within each metric.

        Args:
            rng: Draws the sample.
        """
        weights = self.token_weights.copy()
        for start, (ids, places) in zip(self.starts[:-1], self._items_of_metrics, strict=True):
            if not len(ids):
                continue
            counts = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
            scale = self.sizes[ids].sum() / (counts * self.sizes[ids]).sum()
            weights[start : start + len(places)] *= (scale * counts).astype(np.float32)[places]
        return replace(self, token_weights=weights)


@dataclass(frozen=True, eq=False)
class QuadraticLosses:
    """Losses near some weights, to second order; cheap, since no token is read.

    Attributes:
        weights: The weights (`k`).
        there: Losses there (`m`).
        slopes: First derivatives (`m x k`).
        curvature: Second derivatives (`m x k x k`).
    """

    weights: Array
    there: Array
    slopes: Array
    curvature: Array

    def losses(self, weights: Array) -> Array:
        """Return the losses (`m`) at weights (`k`)."""
        return self.losses_and_jacobian(weights)[0]

    def losses_and_jacobian(self, weights: Array) -> tuple[Array, Array]:
        """Return the losses (`m`) at weights (`k`) and their derivatives by each weight (`m x k`)."""
        step = weights - self.weights
        bent = self.curvature @ step
        return self.there + (self.slopes + bent / 2) @ step, self.slopes + bent


def response_weights(ratios: Array, gamma: float) -> Array:
    """Return the weights λ^γ ÷ Σ λ^γ of mixtures.

    Args:
        ratios: λ (`... x k`), not negative.
        gamma: γ, positive.
    """
    raised = np.power(ratios, gamma)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
