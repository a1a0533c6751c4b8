"""Gradients of benchmark losses by merge weights.

∂loss/∂α_k = ⟨∂loss/∂Θ, Θ_k − Θ_base⟩ at the merge, because a merge is linear in its weights. One
forward and backward pass over a benchmark's items gives it for all experts.
See docs/methods.md, section 2.5.

Shapes: `k` experts, `m` benchmarks, `n` scored tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.evaluation.scorer import Scorer, batch_requests, token_logprobs
from mixopt.evaluation.tasks.base import Array, Task
from mixopt.merging.merge import ModelMerger

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BACKWARD = 3.0
"""Cost of a forward and backward pass, in forward passes."""


@dataclass(frozen=True)
class Slopes:
    """Losses of a merge and their gradients by merge weights.

    Attributes:
        losses: Smooth loss of each benchmark (`m`, bits per byte).
        by_weight: Derivative of each loss by each expert's weight (`m x k`).
        passes: Cost, in forward passes over all items.
    """

    losses: Array
    by_weight: Array
    passes: float


def measure_slopes(merger: ModelMerger, scorer: Scorer, weights: Sequence[float]) -> Slopes:
    """Compute losses and gradients at merge weights.

    Args:
        merger: Base and experts; its model is left merged at `weights`, without gradients.
        scorer: The benchmarks.
        weights: Merge weights (`k`).

    Returns:
        Losses (`m`) and derivatives (`m x k`).
    """
    model = merger.merge(weights).eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(merger.has_delta(name))
    losses, slopes, n_tokens = [], [], 0
    for task in scorer.tasks:
        loss, read = _backward(model, task)
        n_tokens += read
        losses.append(loss)
        slopes.append(_project(merger, model))
        model.zero_grad(set_to_none=True)
    return Slopes(np.array(losses), np.stack(slopes), BACKWARD * n_tokens / scorer.count_tokens())


def _backward(model: "PreTrainedModel", task: Task) -> tuple[float, int]:
    weights = task.loss_weights
    chosen = np.flatnonzero(weights)
    requests = [task.requests[int(index)] for index in chosen]
    sizes = [len(request.target) for request in requests]
    by_token = torch.from_numpy(np.repeat(weights[chosen], sizes)).to(model.device, torch.float32)
    loss, tokens = 0.0, 0
    # smaller batches, because activations are kept for the backward pass
    for batch in batch_requests(requests, model, shared=False, share=0.5):
        own = by_token[torch.from_numpy(batch.places).to(model.device)]
        part = own @ token_logprobs(model, batch)
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
        tokens += batch.tokens.numel()
    return loss, tokens


@torch.no_grad()
def _project(merger: ModelMerger, model: "PreTrainedModel") -> NDArray[np.float64]:
    """Return ⟨gradient, Θ_k − Θ_base⟩ for each expert (`k`)."""
    total = np.zeros(len(merger.experts))
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            total += merger.project(name, parameter.grad)
    return total
