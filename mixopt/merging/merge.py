"""Exact weighted merges of experts: Θ_base + Σ_k α_k (Θ_k − Θ_base).

MergeMix, arXiv:2601.17858 §3.2. Accumulated in float32 and always from the base, so that no
error builds up over merges. Full experts are summed as (1 − Σ α)·Θ_base + Σ α_k Θ_k, which reads
every weight once and gives base and experts back to the bit; LoRA experts are added on top as
products of their factors.

Shapes: `k` experts.
"""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from mixopt.errors import ModelError
from mixopt.merging.expert import Expert, FullExpert, LoraExpert
from mixopt.training.base_model import Layout, mergeable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

PIECE = {"cpu": 1 << 20, "other": 1 << 26}
"""Weights that are summed at a time: on a CPU what its caches hold."""

ROUNDING = 1e-12
"""What weights that sum to one miss it by."""

FREE_SHARE = 0.7
"""Share of the free memory that experts may take."""

SOUND_STEP, FOREIGN_STEP = 0.10, 0.30
"""δ below which DeMix calls merges sound, and above which an expert hardly comes from this base:
two unrelated models of one shape lie δ = 0.59 apart."""


class ModelMerger:
    """Puts weighted merges of experts into one model, in place and always from the base.

    Args:
        model: The base; its weights are overwritten by every merge.
        experts: What may be merged (`k`).
        resident: Keep the experts in memory; where they fit, if not said.

    Raises:
        ModelError: An expert does not fit the base; found before anything is merged.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        experts: Sequence[Expert],
        *,
        resident: bool | None = None,
    ) -> None:
        self.model = model
        self.experts = tuple(experts)
        layout = Layout.of(model)
        for expert in self.experts:
            expert.check(layout)
        self._live = mergeable(model)
        self._base = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self._full = [i for i, e in enumerate(self.experts) if isinstance(e, FullExpert)]
        self._lora = [i for i, e in enumerate(self.experts) if isinstance(e, LoraExpert)]
        fits = self._resident_bytes() < FREE_SHARE * free_bytes(model.device)
        self.resident = fits if resident is None else resident
        self._stacks = {n: self._stack(n) for n in self._base} if self.resident else {}

    def _resident_bytes(self) -> int:
        return len(self._full) * sum(t.numel() * t.element_size() for t in self._base.values())

    def _stack(self, name: str) -> torch.Tensor:
        """The full experts' tensor `name`, `k_full x numel`, in the widest type they have."""
        base = self._base[name]
        rows = [self._expert_tensor(i, name).reshape(-1) for i in self._full]
        if not rows:
            return torch.empty(0, base.numel(), device=base.device)
        widest = rows[0].dtype
        for row in rows[1:]:
            widest = torch.promote_types(widest, row.dtype)
        stack = torch.empty(len(rows), base.numel(), dtype=widest, device=base.device)
        for place, row in enumerate(rows):
            stack[place].copy_(row)
        return stack

    def _expert_tensor(self, index: int, name: str) -> torch.Tensor:
        expert = self.experts[index]
        assert isinstance(expert, FullExpert)
        return expert.read(name)

    @torch.no_grad()
    def merge(self, weights: Sequence[float]) -> "PreTrainedModel":
        """The model, now Θ_base + Σ_k `weights`_k (Θ_k − Θ_base); zeros give the base back.

        Raises:
            ModelError: The weights are not one finite number for each expert.
        """
        check_weights(weights, self.experts)
        for name, live in self._live.items():
            self._merge_tensor(name, live, [float(weight) for weight in weights])
        return self.model

    def _merge_tensor(self, name: str, live: torch.Tensor, weights: Sequence[float]) -> None:
        base = self._base[name]
        products = [
            (found, weights[index])
            for index in self._lora
            if weights[index] and (found := self._factors(index, name)) is not None
        ]
        total = torch.empty_like(base, dtype=torch.float32) if products else live
        if self._full:
            stack = self._stacks[name] if self.resident else self._stack(name)
            merge_tensor(base.view(-1), stack, [weights[i] for i in self._full], total.view(-1))
        else:
            total.copy_(base)
        for found, weight in products:
            total.addmm_(*found, alpha=weight)
        if total is not live:
            live.copy_(total)

    def _factors(self, index: int, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        expert = self.experts[index]
        assert isinstance(expert, LoraExpert)
        return expert.factors(name, self._base[name].device)

    def moves(self, name: str) -> bool:
        """Whether any expert changes the parameter `name`."""
        known = name in self._base
        return known and (bool(self._full) or any(
            self._factors(index, name) is not None for index in self._lora
        ))  # fmt: skip

    @torch.no_grad()
    def project(self, name: str, direction: torch.Tensor) -> NDArray[np.float64]:
        """⟨`direction`, Θ_k − Θ_base⟩ over one tensor, for each expert (`k`)."""
        products = np.zeros(len(self.experts))
        base, flat = self._base[name].view(-1), direction.reshape(-1)
        if self._full:
            stack = self._stacks[name] if self.resident else self._stack(name)
            size = PIECE["cpu" if base.device.type == "cpu" else "other"]
            total = torch.zeros(len(self._full), dtype=torch.float64, device=base.device)
            for start in range(0, base.numel(), size):
                part = slice(start, start + size)
                steps = stack[:, part].float() - base[part].float()
                total += torch.mv(steps, flat[part].float()).double()
            products[self._full] = total.cpu().numpy()
        for index in self._lora:
            found = self._factors(index, name)
            if found is not None:
                left, right = found
                products[index] = float(((left.T @ direction.float()) * right).sum())
        return products

    @torch.no_grad()
    def deltas(self, name: str) -> torch.Tensor:
        """Θ_k − Θ_base of one tensor for all experts (`k x numel`, float32)."""
        base = self._base[name]
        rows = torch.zeros(len(self.experts), base.numel(), device=base.device)
        for index, expert in enumerate(self.experts):
            delta = expert.delta(name, base)
            if delta is not None:
                rows[index].copy_(delta.reshape(-1))
        return rows

    @torch.no_grad()
    def step_sizes(self) -> list[float]:
        """δ = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) of each expert (DeMix, arXiv:2602.00747)."""
        base = math.sqrt(sum(float(t.float().square().sum()) for t in self._base.values()))
        squares = [0.0] * len(self.experts)
        for name in self._base:
            for index, row in enumerate(self.deltas(name)):
                squares[index] += float(row.square().sum())
        return [math.sqrt(square) / (math.sqrt(square) + base) for square in squares]


def merge_tensor(
    base: torch.Tensor, stack: torch.Tensor, weights: Sequence[float], out: torch.Tensor
) -> None:
    """Writes (1 − Σ α)·`base` + Σ_k α_k `stack`_k into `out`, in float32, piece by piece.

    Args:
        base: Any number of weights, flat.
        stack: `k` times as many.
        weights: `k`.
        out: As many as `base`; it may not overlap with `stack`.
    """
    alpha = torch.tensor([weights], dtype=torch.float32, device=base.device)
    rest = 1.0 - math.fsum(weights)
    size = PIECE["cpu" if base.device.type == "cpu" else "other"]
    if stack.dtype == torch.float32:  # nothing has to be converted, so nothing has to fit a cache
        size = max(1, base.numel())
    for start in range(0, base.numel(), size):
        part = slice(start, start + size)
        # a row times a matrix reads along the rows; a matrix-vector product of the transposed is
        # three times slower on a CPU
        total = (alpha @ stack[:, part].float())[0]
        if abs(rest) > ROUNDING:
            total.add_(base[part], alpha=rest)
        out[part].copy_(total)


def warn_if_unrelated(expert: str, step: float) -> None:
    """Says where an expert lies too far from the base to have been trained from it."""
    if step > FOREIGN_STEP:
        log.warning(
            "%s lies δ = %.0f%% away from the base, further than training goes (10%% is usual, two "
            "unrelated models lie 59%% apart): was it trained from another base?",
            expert, 100 * step,
        )  # fmt: skip


def check_weights(weights: Sequence[float], experts: Sequence[Expert]) -> None:
    """Raises `ModelError` unless there is one finite number for each expert."""
    if len(weights) != len(experts):
        raise ModelError(
            f"{len(weights)} weights are given for {len(experts)} experts; give one for each."
        )
    for weight in weights:
        if not math.isfinite(weight):
            raise ModelError(f"A weight is {weight}; weights are finite numbers.")


def free_bytes(device: torch.device) -> int:
    """Memory that is free now: the machine's, or the accelerator's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
