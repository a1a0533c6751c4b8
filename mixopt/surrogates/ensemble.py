"""Losses of probability ensembles as functions of the mixture: a surrogate that needs no fit.

An ensemble gives a token the probability Σ_k w_k p_k of the experts' probabilities (MDE,
arXiv:2502.15950), with w_k = λ_k^γ ÷ Σ_j λ_j^γ. With the experts' log-probabilities in memory a mixture
costs two passes over a matrix, gradient included, and no forward pass. See docs/methods.md, section 2.2.

Shapes: `k` experts, `t` tokens, `m` metrics, `i` items, `n` mixtures.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array

GAMMA = 0.6
"""Default γ: among .5 to 1 it ranked mixtures best in the development worlds of `studies/arena`."""
CHUNK = 1 << 16
"""Tokens that are read at a time, so that a chunk stays in the cache between its two passes."""


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
    token_weights: Array
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
            np.exp(some - shift), shift, np.asarray(token_weights, dtype=np.float64)[kept],
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
        return self.losses_and_jacobian(weights)[0]

    def losses_and_jacobian(self, weights: Array) -> tuple[Array, Array]:
        """Return the losses (`m`) at weights (`k`) and their derivatives by each weight (`m x k`).

        Each loss is convex in the weights.
        """
        w = np.asarray(weights, dtype=np.float32)
        losses, jacobian = np.zeros(self.m), np.zeros((self.m, self.k))
        for metric in range(self.m):
            for start in range(self.starts[metric], self.starts[metric + 1], CHUNK):
                part = slice(start, min(start + CHUNK, int(self.starts[metric + 1])))
                p, share = self.probabilities[:, part], self.token_weights[part]
                # a token that every weighted expert excludes costs a finite loss
                mixed = np.maximum(w @ p, np.finfo(np.float32).tiny)
                losses[metric] -= share @ (self.shift[part] + np.log(mixed))
                jacobian[metric] -= p @ (share / mixed).astype(np.float32)
        return losses, jacobian

    def resample(self, rng: np.random.Generator) -> "EnsembleModel":
        """Return the model of a bootstrap sample of the items, drawn within each metric.

        Args:
            rng: Draws the sample.
        """
        weights = self.token_weights.copy()
        for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True):
            mine = self.items[start:stop]
            if not len(mine):
                continue
            ids = np.unique(mine)
            counts = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
            scale = self.sizes[ids].sum() / (counts * self.sizes[ids]).sum()
            weights[start:stop] *= scale * counts[np.searchsorted(ids, mine)]
        return replace(self, token_weights=weights)


def response_weights(ratios: Array, gamma: float) -> Array:
    """Return the weights λ^γ ÷ Σ λ^γ of mixtures.

    Args:
        ratios: λ (`... x k`), not negative.
        gamma: γ, positive.
    """
    raised = np.power(ratios, gamma)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
