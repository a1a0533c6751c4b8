"""ScaleBiO: bilevel weights of the sources by first-order steps of two models.

Pan et al. 2024, arXiv:2406.19976, and 2003pro/ScaleBiO. With p = softmax(λ), the loss L1 of the
benchmarks that choose, and the training loss L2(λ, w) = Σ_i p_i ℓ_i(w),

    min over λ, w of max over u of L1(w) + α [ L2(λ, w) − L2(λ, u) ]

A step descends u on L2(λ, u) and w on L1(w) + α L2(λ, w), on the same batch with as many sequences of
each source, and λ along α (diag(p) − p pᵀ)(ℓ(w) − ℓ(u)) by Adam. All rates follow a cosine to 0. The
authors keep w; here p is the recommendation, and a run on it is what a study trains. See
docs/methods.md, section 12.10.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from mixopt.baselines.base import Need, OnlineTraining, Problem, Recommendation
from mixopt.mixture import Array

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of Adam on λ."""


class BilevelModels(Protocol):
    """The two models w and u."""

    def step(self, p: Array, penalty: float, rate: float) -> tuple[Array, Array]:
        """Take a step of both models on one batch.

        Args:
            p: Weights of the sources' losses (`d`).
            penalty: α.
            rate: Share of the learning rate.

        Returns:
            Losses of each source before the step, of w and of u (`d` each).
        """


@dataclass
class SourceWeights:
    """λ, and Adam on it.

    Attributes:
        logits: λ (`d`), from 0.
        rate: Learning rate.
        penalty: α.
        first: Adam's mean of the gradient (`d`).
        second: Adam's mean of its square (`d`).
        step: Steps so far.
    """

    logits: Array
    rate: float
    penalty: float
    first: Array = field(default_factory=lambda: np.zeros(0))
    second: Array = field(default_factory=lambda: np.zeros(0))
    step: int = 0

    @classmethod
    def uniform(cls, d: int, rate: float, penalty: float) -> "SourceWeights":
        """Return equal weights of `d` sources."""
        return cls(np.zeros(d), rate, penalty)

    @property
    def weights(self) -> Array:
        """Softmax of λ (`d`)."""
        raised = np.exp(self.logits - self.logits.max())
        return np.asarray(raised / raised.sum())

    def gradient(self, of_w: Array, of_u: Array) -> Array:
        """Return the gradient of the penalty by λ (`d`), given the sources' losses of w and of u."""
        p, apart = self.weights, of_w - of_u
        return np.asarray(self.penalty * p * (apart - p @ apart))

    def descend(self, of_w: Array, of_u: Array, share: float) -> None:
        """Take a step of Adam.

        Args:
            of_w: Losses of the sources under w (`d`).
            of_u: The same under u.
            share: Share of the learning rate.
        """
        gradient = self.gradient(of_w, of_u)
        if not self.step:
            self.first, self.second = np.zeros((2, len(gradient)))
        self.step += 1
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * np.square(gradient)
        mean = self.first / (1 - BETAS[0] ** self.step)
        square = self.second / (1 - BETAS[1] ** self.step)
        self.logits = self.logits - share * self.rate * mean / (np.sqrt(square) + EPSILON)

    def state(self) -> dict[str, list[float]]:
        """Return what changes."""
        return {
            "logits": self.logits.tolist(), "first": self.first.tolist(),
            "second": self.second.tolist(), "counters": [float(self.step)],
        }  # fmt: skip

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self.logits, self.first, self.second = (
            np.array(state[name]) for name in ("logits", "first", "second")
        )
        self.step = int(state["counters"][0])


def take_step(models: BilevelModels, weights: SourceWeights, step: int, steps: int) -> None:
    """Take one step of both models and of the weights.

    Args:
        models: w and u.
        weights: Changed in place.
        step: From 0.
        steps: Number of all, over which the rates follow a cosine to 0.
    """
    share = 0.5 * (1 + float(np.cos(np.pi * step / steps)))
    of_w, of_u = models.step(weights.weights, weights.penalty, share)
    weights.descend(of_w, of_u, share)


@dataclass(frozen=True)
class ScaleBio:
    """The method; it trains two models, each as long as a run.

    Attributes:
        rate: Learning rate of λ.
        penalty: α; 10 or 100 in the authors' scripts.
        layers: Layers of both models that are trained at a time (LISA); all if None.
    """

    rate: float = 1e-2
    penalty: float = 10.0
    layers: int | None = None
    need: ClassVar[Need] = "online"
    source: ClassVar[str] = "ScaleBiO, arXiv:2406.19976"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of both models."""
        return 2 * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train both models, and return the weights at the end."""
        problem.add_tokens(problem.run_tokens, "the second model of scalebio")
        settings = {"rate": self.rate, "penalty": self.penalty}
        if self.layers is not None:
            settings["layers"] = float(self.layers)
        path = problem.train_online(OnlineTraining("scalebio", problem.run_tokens, (), settings))
        return problem.recommend(path[-1], path=path)
