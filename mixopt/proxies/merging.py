"""Exact weighted merges of experts: Θ_base + Σ_k α_k (Θ_k − Θ_base).

MergeMix, arXiv:2601.17858 §3.2. Accumulated in float32 and always from the base, so that no
error builds up over merges. LoRA experts enter as their folded product B·A: averaging A and B
apart (peft's `linear` combination) is another sum, with cross terms. Tensors are read from the
experts' files one at a time, so memory is the base, the merge and one tensor, whatever the number
of experts.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open

from mixopt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Expert(Protocol):
    """What an expert adds to the base, tensor by tensor."""

    def check(self, base: Mapping[str, torch.Tensor]) -> None:
        """Raises `ModelError` where this expert does not fit `base`."""

    def add_delta(self, name: str, total: torch.Tensor, base: torch.Tensor, weight: float) -> None:
        """Adds `weight` x (expert − base) of the tensor `name` to `total`, in place (float32)."""


def open_expert(folder: Path) -> Expert:
    """The expert saved in `folder`: full weights, or a LoRA adapter.

    Raises:
        ModelError: The folder holds neither as safetensors.
    """
    if (folder / "adapter_model.safetensors").is_file():
        return LoraExpert(folder)
    if (folder / "model.safetensors").is_file():
        return FullExpert(folder)
    raise ModelError(
        f"{folder} holds no expert: neither model.safetensors nor adapter_model.safetensors."
    )


class _Tensors:
    """The tensors of a safetensors file, read when asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._handle: Any
        try:
            self._handle = safe_open(file, framework="pt")
        except SafetensorError as error:
            raise ModelError(
                f"{file} is not a whole safetensors file ({error}); make it again."
            ) from None
        self.names = set(self._handle.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle.get_slice(name).get_shape())

    def read(self, name: str, like: torch.Tensor) -> torch.Tensor:
        tensor: torch.Tensor = self._handle.get_tensor(name)
        return tensor.to(like.device, torch.float32)


class FullExpert:
    """An expert whose every parameter was trained."""

    def __init__(self, folder: Path) -> None:
        self._tensors = _Tensors(folder / "model.safetensors")

    def check(self, base: Mapping[str, torch.Tensor]) -> None:
        """Raises `ModelError` that names the first tensors that are missing or misshapen."""
        missing = sorted(set(base) - self._tensors.names)
        unlike = [
            f"{name} {self._tensors.shape(name)} against {tuple(tensor.shape)}"
            for name, tensor in base.items()
            if name not in missing and self._tensors.shape(name) != tuple(tensor.shape)
        ]
        if missing or unlike:
            told = "; ".join([f"missing {name}" for name in missing[:3]] + unlike[:3])
            raise ModelError(
                f"{self._tensors.file} is no expert of this base ({told}); train it from this base."
            )

    def add_delta(self, name: str, total: torch.Tensor, base: torch.Tensor, weight: float) -> None:
        """Adds `weight` x (expert − base) to `total`."""
        total.add_(self._tensors.read(name, total) - base.float(), alpha=weight)


class LoraExpert:
    """An expert trained as low-rank factors; its step is scale · B·A on each adapted weight."""

    def __init__(self, folder: Path) -> None:
        self._tensors = _Tensors(folder / "adapter_model.safetensors")
        config = json.loads((folder / "adapter_config.json").read_text())
        rank, alpha = config["r"], config["lora_alpha"]
        self._scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        self._transposed = bool(config.get("fan_in_fan_out"))
        foreign = {
            name
            for name in self._tensors.names
            if not name.endswith((".lora_A.weight", ".lora_B.weight"))
        }
        if foreign or config.get("use_dora"):
            raise ModelError(
                f"{folder} is more than plain LoRA ({', '.join(sorted(foreign)[:2]) or 'DoRA'}); "
                "merge it into full weights first (peft's merge_and_unload)."
            )

    @staticmethod
    def _factor(name: str, side: str) -> str:
        return f"base_model.model.{name.removesuffix('.weight')}.lora_{side}.weight"

    def check(self, base: Mapping[str, torch.Tensor]) -> None:
        """Raises `ModelError` where a factor belongs to no weight of the base, or does not fit."""
        known = {self._factor(name, side) for name in base for side in "AB"}
        foreign = sorted(self._tensors.names - known)
        if foreign:
            raise ModelError(
                f"{self._tensors.file} adapts {foreign[0]}, which this base lacks; train it from "
                "this base."
            )
        for name, tensor in base.items():
            if self._factor(name, "A") not in self._tensors.names:
                continue
            outward = self._tensors.shape(self._factor(name, "B"))[0]
            inward = self._tensors.shape(self._factor(name, "A"))[1]
            shape = (inward, outward) if self._transposed else (outward, inward)
            if shape != tuple(tensor.shape):
                raise ModelError(
                    f"{self._tensors.file} adapts {name} of shape {shape}, but the base has "
                    f"{tuple(tensor.shape)}; train it from this base."
                )

    def add_delta(self, name: str, total: torch.Tensor, base: torch.Tensor, weight: float) -> None:
        """Adds `weight` x scale · B·A to `total`; nothing where the weight is not adapted."""
        if self._factor(name, "A") not in self._tensors.names:
            return
        a = self._tensors.read(self._factor(name, "A"), total)
        b = self._tensors.read(self._factor(name, "B"), total)
        if self._transposed:  # GPT-2 keeps its weights as (in, out)
            total.addmm_(a.T, b.T, alpha=weight * self._scale)
        else:
            total.addmm_(b, a, alpha=weight * self._scale)


class Merger:
    """Puts weighted merges of experts into one model, in place and always from the base.

    Raises:
        ModelError: An expert does not fit the base; found before anything is merged.
    """

    def __init__(self, model: "PreTrainedModel", experts: Sequence[Expert]) -> None:
        self.model = model
        self.experts = tuple(experts)
        self._base = {name: p.detach().clone() for name, p in model.named_parameters()}
        for expert in self.experts:
            expert.check(self._base)

    @torch.no_grad()
    def merge(self, weights: Sequence[float]) -> "PreTrainedModel":
        """The model, now Θ_base + Σ_k `weights`_k (Θ_k − Θ_base); zeros give the base back."""
        for name, parameter in self.model.named_parameters():
            total = self._base[name].float().clone()
            for expert, weight in zip(self.experts, weights, strict=True):
                if weight:
                    expert.add_delta(name, total, self._base[name], float(weight))
            parameter.copy_(total)
        return self.model

    @torch.no_grad()
    def step_sizes(self) -> list[float]:
        """δ = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) of each expert (DeMix, arXiv:2602.00747)."""
        base = math.sqrt(sum(float(t.float().square().sum()) for t in self._base.values()))
        sizes = []
        for expert in self.experts:
            square = 0.0
            for name, tensor in self._base.items():
                delta = torch.zeros_like(tensor, dtype=torch.float32)
                expert.add_delta(name, delta, tensor, 1.0)
                square += float(delta.square().sum())
            sizes.append(math.sqrt(square) / (math.sqrt(square) + base))
        return sizes
