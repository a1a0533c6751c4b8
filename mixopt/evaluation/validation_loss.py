"""The loss of benchmarks on a few of their items at a time, for methods that train on its gradient.

Shapes: `m` benchmarks.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from mixopt.errors import UserError
from mixopt.evaluation.scorer import Scorer, batch_requests, token_logprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REQUESTS = 8
"""Requests of each benchmark that a call reads."""


def count_tokens(scorer: Scorer, weights: Mapping[str, float]) -> float:
    """Return the tokens that a call reads on average, over all benchmarks with a weight.

    Args:
        scorer: The benchmarks.
        weights: Weight by name (`m`); those left out have none.
    """
    total = 0.0
    for task in scorer.tasks:
        if weights.get(task.metric.name, 0.0) > 0:
            known = [task.requests[int(index)] for index in np.flatnonzero(task.loss_weights)]
            lengths = [len(request.context) + len(request.target) for request in known]
            total += min(REQUESTS, len(known)) * float(np.mean(lengths))
    return total


class ValidationLoss:
    """Mean loss of benchmarks by weight, on requests drawn anew at each call.

    The loss of a benchmark is that of the tokens of its smooth loss, in nats per token. Benchmarks with
    role holdout are refused.

    Args:
        scorer: The benchmarks.
        weights: Weight by name (`m`); those left out have none.
        seed: Of the requests.

    Raises:
        UserError: No benchmark has a weight and text, or one is a holdout.
    """

    def __init__(self, scorer: Scorer, weights: Mapping[str, float], seed: int) -> None:
        tasks = [task for task in scorer.tasks if weights.get(task.metric.name, 0.0) > 0]
        if not tasks:
            raise UserError(
                "The method needs validation text and no benchmark that chooses has any; choose by "
                "bits_per_byte, continuations or choices."
            )
        for task in tasks:
            if task.metric.role == "holdout":
                raise UserError(
                    f"Benchmark {task.metric.name!r} has role holdout and must not be trained on; give "
                    "its weight to one with role search."
                )
        self._tasks, self._seed, self._calls = tasks, seed, 0
        self._weights = [weights[task.metric.name] for task in tasks]

    def __call__(self, model: "PreTrainedModel") -> torch.Tensor:
        """Add the gradient of the loss to the model's, and return the loss."""
        rng = np.random.default_rng([self._seed, self._calls])
        self._calls += 1
        total = torch.zeros(())
        for task, weight in zip(self._tasks, self._weights, strict=True):
            # of choices those of the right answers
            known = np.flatnonzero(task.loss_weights)
            chosen = rng.choice(known, min(REQUESTS, len(known)), replace=False)
            requests = [task.requests[int(index)] for index in chosen]
            count = sum(len(request.target) for request in requests)
            for batch in batch_requests(requests, model, shared=False, share=0.5):
                loss = -weight * token_logprobs(model, batch).sum() / count
                loss.backward()  # type: ignore[no-untyped-call]
                total = total + loss.detach().cpu()
        return total

    def state(self) -> dict[str, list[float]]:
        """Return the number of calls."""
        return {"calls": [float(self._calls)]}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self._calls = int(state["calls"][0])
