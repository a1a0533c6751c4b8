"""Gradients of benchmark losses by merge weights.

∂loss/∂α_k = ⟨∂loss/∂Θ, Θ_k − Θ_base⟩ at the merge, because a merge is linear in its weights. One
forward and backward pass over a benchmark's items gives it for all experts.
See docs/methods.md, section 2.5.

Shapes: `k` experts, `m` benchmarks, `n` scored tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.hooks import RemovableHandle

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
    with _GradientSums(model) as gradients:
        for task in scorer.tasks:
            loss, read = _backward(model, task)
            n_tokens += read
            losses.append(loss)
            slopes.append(_project(merger, model, gradients.by_name))
            gradients.by_name.clear()
    return Slopes(np.array(losses), np.stack(slopes), BACKWARD * n_tokens / scorer.count_tokens())


class _GradientSums:
    """Sums gradients over batches, in float32 or wider: sums in bfloat16 lose what later batches add.

    Attributes:
        by_name: Sum of each parameter's gradients so far.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        self.by_name: dict[str, torch.Tensor] = {}
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "_GradientSums":
        for name, parameter in self._trained.items():
            add = partial(self._add, name)
            self._handles.append(parameter.register_post_accumulate_grad_hook(add))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _add(self, name: str, parameter: torch.Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            return
        if name in self.by_name:
            self.by_name[name].add_(gradient)
        else:
            self.by_name[name] = gradient.to(torch.promote_types(gradient.dtype, torch.float32))


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
def _project(
    merger: ModelMerger, model: "PreTrainedModel", gradients: Mapping[str, torch.Tensor]
) -> NDArray[np.float64]:
    """Return ⟨gradient, Θ_k − Θ_base⟩ for each expert (`k`)."""
    total = np.zeros(len(merger.experts))
    for name, _ in model.named_parameters():
        if name in gradients:
            total += merger.project(name, gradients[name])
    return total
