"""Slopes: how every benchmark's loss changes with every expert's weight, from one backward pass.

∂loss/∂α_k = ⟨∂loss/∂Θ, Θ_k − Θ_base⟩ at the merge, because a merge is linear in its weights. One
forward and backward pass over a benchmark's own items gives it for all experts at once.

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
"""Cost of a forward and a backward pass, in forward passes."""


@dataclass(frozen=True)
class Slopes:
    """Losses of a merge and their slopes.

    Attributes:
        losses: Smooth loss of each benchmark, in bits per byte (`m`).
        by_weight: Its derivative by each expert's weight (`m x k`).
        passes: What they cost, in forward passes over all items.
    """

    losses: Array
    by_weight: Array
    passes: float


def measure_slopes(merger: ModelMerger, scorer: Scorer, weights: Sequence[float]) -> Slopes:
    """Losses and slopes at `weights` (`k`).

    The merged model is left in `merger`, with its gradients let go of.
    """
    model = merger.merge(weights).eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(merger.has_delta(name))
    losses, slopes = [], []
    tokens = 0
    for task in scorer.tasks:
        loss, read = _backward(model, task)
        tokens += read
        losses.append(loss)
        slopes.append(_project(merger, model))
        model.zero_grad(set_to_none=True)
    return Slopes(np.array(losses), np.stack(slopes), BACKWARD * tokens / scorer.count_tokens())


def _backward(model: "PreTrainedModel", task: Task) -> tuple[float, int]:
    """The task's loss, its gradient left in the model; and the tokens that were read."""
    weights = task.loss_weights
    chosen = np.flatnonzero(weights)
    requests = [task.requests[int(index)] for index in chosen]
    sizes = [len(request.target) for request in requests]
    by_token = torch.from_numpy(np.repeat(weights[chosen], sizes)).to(model.device, torch.float32)
    loss = 0.0
    tokens = 0
    # activations are kept for the way back
    for batch in batch_requests(requests, model, shared=False, share=0.5):
        part = by_token[torch.from_numpy(batch.places).to(model.device)] @ token_logprobs(
            model, batch
        )
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
        tokens += batch.tokens.numel()
    return loss, tokens


@torch.no_grad()
def _project(merger: ModelMerger, model: "PreTrainedModel") -> NDArray[np.float64]:
    """⟨gradient, Θ_k − Θ_base⟩ for each expert (`k`)."""
    total = np.zeros(len(merger.experts))
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            total += merger.project(name, parameter.grad)
    return total
