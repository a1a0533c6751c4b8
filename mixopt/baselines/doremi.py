"""DoReMi: group DRO of a proxy model against a reference, whose mean weights are the mixture.

Xie et al. 2023, arXiv:2305.10429, algorithm 1, with the defaults of sangmichaelxie/doremi. The reference
is a run on natural. The proxy reads every domain alike, and the loss of a domain counts by its weight:

    λ_i = mean over tokens of max(0, ℓ_proxy − ℓ_reference)
    α ∝ α e^(η λ),   α ← (1 − c) α + c / d

The loss of a batch is weighed with the α that was learnt from it. See docs/methods.md, section 12.8.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, OnlineTraining, Problem, Recommendation
from mixopt.errors import RunError
from mixopt.mixture import Array


class DoReMiWeights:
    """The weights of one training.

    Args:
        d: Number of domains; all begin alike.
        eta: Step size η.
        smoothing: c, the share of the uniform mixture in each step's weights.
    """

    learn_first: ClassVar[bool] = True

    def __init__(self, d: int, eta: float, smoothing: float) -> None:
        self.weights, self._eta, self._smoothing = np.full(d, 1 / d), eta, smoothing
        self._excess = np.zeros(d)

    @property
    def shares(self) -> Array:
        """Return the same share for every domain."""
        return np.full(len(self.weights), 1 / len(self.weights))

    @property
    def loss_weights(self) -> Array:
        """Return the weights."""
        return self.weights

    def update(self, losses: Array, read: Array) -> None:
        """Raise the weights of domains with a large excess loss.

        Args:
            losses: Mean excess of each domain (`d`), NaN for one without a sequence, whose last excess
                counts again; 0 before its first.
            read: Share of each domain in the batch (`d`), which does not matter here.
        """
        self._excess = np.where(np.isfinite(losses), losses, self._excess)
        logs = np.log(self.weights) + self._eta * self._excess
        raised = np.exp(logs - logs.max())
        d = len(self.weights)
        self.weights = (1 - self._smoothing) * raised / raised.sum() + self._smoothing / d

    def state(self) -> dict[str, list[float]]:
        """Return weights and last excess losses."""
        return {"weights": self.weights.tolist(), "excess": self._excess.tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self.weights, self._excess = np.array(state["weights"]), np.array(state["excess"])


@dataclass(frozen=True)
class DoReMi:
    """The method; it trains the reference and the proxy, each as long as a run.

    Attributes:
        eta: Step size of the weights.
        smoothing: Share of the uniform mixture; 1e-4 in the code, 1e-3 in the paper.
    """

    eta: float = 1.0
    smoothing: float = 1e-4
    need: ClassVar[Need] = "online"
    source: ClassVar[str] = "DoReMi, arXiv:2305.10429"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of reference and proxy."""
        return 2 * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train the reference and the proxy, and return the mean of the weights over the steps."""
        if not np.isfinite(problem.train(problem.natural[None])).any():
            raise RunError(
                "The reference of doremi, a run on natural, could not be trained; the messages before "
                "name the cause: fix it and run again."
            )
        settings = {"eta": self.eta, "smoothing": self.smoothing}
        training = OnlineTraining("doremi", problem.run_tokens, tuple(problem.natural), settings)
        path = problem.train_online(training)
        return problem.recommend(path.mean(axis=0), path=path)
