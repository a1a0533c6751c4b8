"""The merge formula, and merges of experts into one model in memory.

A merge is Θ_base + Σ_k α_k (Θ_k − Θ_base) (MergeMix, arXiv:2601.17858 §3.2; task arithmetic,
arXiv:2212.04089). `merge_tensor` computes it for one tensor, here, on disk (`to_disk`) and layer by
layer (`evaluation.layerwise`). It accumulates in float32 and always starts from the base, so that
rounding errors do not build up over merges. See docs/methods.md, section 2.1.

Shapes: `k` experts.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.errors import ModelError
from mixopt.merging.expert import Expert, FullExpert
from mixopt.merging.free_memory import count_free_memory
from mixopt.merging.lora_expert import LoraExpert
from mixopt.training.base_model import Layout, mergeable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Factors = tuple[torch.Tensor, torch.Tensor]
"""Low-rank factors P and Q of a delta P·Q."""
PIECE = {"cpu": 1 << 20, "other": 1 << 26}
"""Weights summed at a time; on a CPU as many as its caches hold."""
ROUNDING = 1e-12
"""By how much weights that sum to one may miss it."""
FREE_SHARE = 0.7
"""Share of the free memory that experts may take."""
UNRELATED_STEP = 0.30
"""δ above which an expert was hardly trained from this base. DeMix (arXiv:2602.00747) calls merges
sound below 0.10; two unrelated models of one shape lie δ = 0.59 apart."""


def merge_tensor(
    base: torch.Tensor,
    deltas: torch.Tensor | Iterable[torch.Tensor | Factors | None],
    weights: Sequence[float],
    *,
    base_weight: float = 1.0,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return w·Θ_base + Σ_k α_k Δ_k of one tensor, summed in float32.

    Stacked deltas are summed by one matrix product, then the base is added. Deltas given one by one
    are added to the base in their order, so that only one of them is in memory. The two orders differ
    in the last bits; each caller keeps its own, because results are compared bit for bit.

    Args:
        base: The base's tensor; in any shape with single deltas, flat with stacked ones.
        deltas: Stacked in one tensor (`k x numel`), or one by one (`k`): in the base's shape, as
            low-rank factors, or None for no change. With `base_weight` = 1 − Σ α they may be the
            experts' tensors Θ_k, which gives base and experts back to the last bit.
        weights: α (`k`).
        base_weight: w.
        out: Written to if given: `base` itself in float32, or, with stacked deltas, any tensor as
            large as `base` that does not overlap with them.

    Returns:
        The merged tensor in float32, in the base's shape, or `out`.
    """
    if not isinstance(deltas, torch.Tensor):
        total = base.to(torch.float32, copy=True) if out is None else out
        for delta, weight in zip(deltas, weights, strict=True):
            if isinstance(delta, tuple):
                total.addmm_(*delta, alpha=weight)
            elif delta is not None:
                total.add_(delta, alpha=weight)
        return total
    out = torch.empty_like(base, dtype=torch.float32) if out is None else out
    alpha = torch.tensor([weights], dtype=torch.float32, device=base.device)
    size = PIECE["cpu" if base.device.type == "cpu" else "other"]
    if deltas.dtype == torch.float32:  # nothing is converted, so no piece has to fit a cache
        size = max(1, base.numel())
    for start in range(0, base.numel(), size):
        part = slice(start, start + size)
        # a row times a matrix reads along the rows; the matrix-vector product of the transposed
        # matrix is three times slower on a CPU
        total = (alpha @ deltas[:, part].float())[0]
        if abs(base_weight) > ROUNDING:
            total.add_(base[part], alpha=base_weight)
        out[part].copy_(total)
    return out


def _squared_norm(tensor: torch.Tensor) -> float:
    flat = tensor.reshape(-1)
    return float(flat @ flat)


class StepSizes:
    """Relative step sizes δ_k = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) (DeMix, arXiv:2602.00747).

    Args:
        k: Experts.
        norm: Squared norm of a float32 tensor.
    """

    def __init__(self, k: int, norm: Callable[[torch.Tensor], float] = _squared_norm) -> None:
        self._norm, self._base, self._deltas = norm, 0.0, [0.0] * k

    def observe(
        self, base: torch.Tensor, deltas: Iterable[torch.Tensor | None]
    ) -> Iterator[torch.Tensor | None]:
        """Add one tensor of base and experts to the norms.

        Args:
            base: The base's tensor.
            deltas: Delta of each expert (`k`), or None for no change.

        Returns:
            Iterator of the same deltas; each is added when it is taken.
        """
        self._base += self._norm(base.float())
        for index, delta in enumerate(deltas):
            if delta is not None:
                self._deltas[index] += self._norm(delta)
            yield delta

    @property
    def squares(self) -> list[float]:
        """Squared norms of the base and of each delta (`1 + k`) over the tensors so far."""
        return [self._base, *self._deltas]

    def add(self, squares: Sequence[float]) -> None:
        """Add other tensors by their `squares`."""
        self._base += squares[0]
        self._deltas = [a + b for a, b in zip(self._deltas, squares[1:], strict=True)]

    def compute(self) -> list[float]:
        """Return δ of each expert (`k`) over all tensors that were observed."""
        base = math.sqrt(self._base)
        return [math.sqrt(s) / max(math.sqrt(s) + base, 1e-30) for s in self._deltas]


class ModelMerger:
    """Merges experts into one model in memory, in place.

    Full experts are summed as (1 − Σ α)·Θ_base + Σ α_k Θ_k, which reads every weight once; LoRA
    experts are added on top as products of their factors.

    Args:
        model: The base; every merge overwrites its weights.
        experts: Experts that may be merged (`k`).
        resident: Whether full experts are kept in memory; if left out, where they fit.

    Raises:
        ModelError: An expert does not fit the base; raised before anything is merged.
    """

    def __init__(
        self, model: "PreTrainedModel", experts: Sequence[Expert], *, resident: bool | None = None
    ) -> None:
        self.model = model
        self.experts = tuple(experts)
        layout = Layout.of(model)
        for expert in self.experts:
            expert.check(layout)
        self._live = mergeable(model)
        self._base = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self._full = [i for i, e in enumerate(self.experts) if isinstance(e, FullExpert)]
        self._lora = [(i, e) for i, e in enumerate(self.experts) if isinstance(e, LoraExpert)]
        fits = count_resident_bytes(self.experts) < FREE_SHARE * free_bytes(model.device)
        self.resident = fits if resident is None else resident
        self._stacks = {n: self._read_stack(n) for n in self._base} if self.resident else {}

    def _stack(self, name: str, weights: Sequence[float] | None = None) -> torch.Tensor:
        return self._stacks[name] if self.resident else self._read_stack(name, weights)

    def _read_stack(self, name: str, weights: Sequence[float] | None = None) -> torch.Tensor:
        """The full experts' tensor `name` (`k_full x numel`), in the widest type they have.

        Of experts whose weight is 0, zeros instead: they are not read.
        """
        base = self._base[name]
        full = [expert for expert in self.experts if isinstance(expert, FullExpert)]
        rows = [expert.read(name, base).reshape(-1) for expert in full]
        if not rows:
            return torch.empty(0, base.numel(), device=base.device)
        widest = reduce(torch.promote_types, [row.dtype for row in rows])
        stack = torch.empty(len(rows), base.numel(), dtype=widest, device=base.device)
        for index, row in enumerate(rows):
            if weights is None or weights[index]:
                stack[index].copy_(row)
            else:
                stack[index].zero_()
        return stack

    @torch.no_grad()
    def merge(self, weights: Sequence[float]) -> "PreTrainedModel":
        """Set the model to Θ_base + Σ_k α_k (Θ_k − Θ_base) and return it.

        Args:
            weights: α (`k`); zeros give the base back.

        Raises:
            ModelError: The weights are not one finite number per expert.
        """
        check_weights(weights, self.experts)
        alphas = [float(weight) for weight in weights]
        for name, live in self._live.items():
            self._merge_into(name, live, alphas)
        return self.model

    def _merge_into(self, name: str, live: torch.Tensor, weights: Sequence[float]) -> None:
        base = self._base[name]
        products = [
            (factors, weights[index])
            for index, expert in self._lora
            if weights[index] and (factors := expert.factors(name, base.device)) is not None
        ]
        total = torch.empty_like(base, dtype=torch.float32) if products else live
        if self._full:
            full = [weights[i] for i in self._full]
            rest = 1.0 - math.fsum(full)
            merge_tensor(base.view(-1), self._stack(name, full), full, base_weight=rest,
                         out=total.view(-1))  # fmt: skip
        else:
            total.copy_(base)
        if products:
            merge_tensor(total, [f for f, _ in products], [w for _, w in products], out=total)
            live.copy_(total)

    def has_delta(self, name: str) -> bool:
        """Return whether any expert changes the parameter `name`."""
        if name not in self._base:
            return False
        factors = (expert.factors(name, self._base[name].device) for _, expert in self._lora)
        return bool(self._full) or any(pair is not None for pair in factors)

    @torch.no_grad()
    def project(self, name: str, direction: torch.Tensor) -> NDArray[np.float64]:
        """Project the experts' deltas of one tensor on a direction.

        Args:
            name: Name of the tensor.
            direction: Of the tensor's shape.

        Returns:
            ⟨`direction`, Θ_k − Θ_base⟩ of each expert (`k`).
        """
        products = np.zeros(len(self.experts))
        base, flat = self._base[name].view(-1), direction.reshape(-1)
        if self._full:
            stack = self._stack(name)
            size = PIECE["cpu" if base.device.type == "cpu" else "other"]
            total = torch.zeros(len(self._full), dtype=torch.float64, device=base.device)
            for start in range(0, base.numel(), size):
                part = slice(start, start + size)
                deltas = stack[:, part].float() - base[part].float()
                total += torch.mv(deltas, flat[part].float()).double()
            products[self._full] = total.cpu().numpy()
        for index, expert in self._lora:
            factors = expert.factors(name, base.device)
            if factors is not None:
                left, right = factors
                products[index] = float(((left.T @ direction.float()) * right).sum())
        return products

    @torch.no_grad()
    def step_sizes(self) -> list[float]:
        """Return δ of each expert (`k`); its squares are summed pairwise, not as a dot product."""
        sizes = StepSizes(len(self.experts), lambda tensor: float(tensor.square().sum()))
        for name, base in self._base.items():
            for _ in sizes.observe(base, (expert.delta(name, base) for expert in self.experts)):
                pass
        return sizes.compute()


def merge_weights(weights: Sequence[float], gamma: float) -> list[float]:
    """Return the weights at which experts are merged or ensembled for given mixture ratios.

    A model trained on a small share of a domain learns more of it than that share of the expert's
    delta: learning grows with a power of the tokens, a merge linearly with the weight. So
    α_k = λ_k^γ ÷ Σ_j λ_j^γ with γ < 1 (measured in `studies/rank-fidelity`; docs/methods.md, section
    2.3). γ = 1 gives MergeMix (arXiv:2601.17858) and MDE (arXiv:2502.15950) as published.

    Args:
        weights: Mixture ratios λ (`k`).
        gamma: γ.

    Returns:
        α (`k`). Corners of the simplex, all zeros (the base) and, with γ = 1, all ratios are unchanged.
    """
    if gamma == 1.0 or sum(1 for weight in weights if weight) <= 1:
        return [float(weight) for weight in weights]
    raised = np.power(np.asarray(weights, dtype=np.float64), gamma)
    total = float(raised.sum())
    return (raised / total).tolist() if total else [0.0] * len(raised)


def warn_if_unrelated(expert: str, step_size: float) -> None:
    """Log a warning where an expert is the base itself, or lies too far from it to come from it.

    Args:
        expert: Name or folder, for the message.
        step_size: δ of the expert, by `StepSizes`.
    """
    if step_size == 0:
        log.warning(
            "%s is identical to the base, so its weight changes no merge: is it another folder that was "
            "meant?", expert,
        )  # fmt: skip
    if step_size > UNRELATED_STEP:
        log.warning(
            "%s lies δ = %.0f%% away from the base, further than training goes (10%% is usual, two "
            "unrelated models lie 59%% apart): was it trained from another base?",
            expert, 100 * step_size,
        )  # fmt: skip


def check_weights(weights: Sequence[float], experts: Sequence[Expert]) -> None:
    """Check that weights can be merged at.

    Args:
        weights: α (`k`).
        experts: The experts (`k`).

    Raises:
        ModelError: There is not one finite weight for each expert.
    """
    n, k = len(weights), len(experts)
    if n != k:
        raise ModelError(f"{n} weights are given for {k} experts; give one for each.")
    for weight in weights:
        if not math.isfinite(weight):
            raise ModelError(f"A weight is {weight}; weights are finite numbers.")


def count_resident_bytes(experts: Sequence[Expert]) -> int:
    """Return the bytes that experts take beside the base and the merged model where all are in memory.

    Args:
        experts: Full ones are stacked in the widest type that they have of a tensor; of LoRA experts
            the factors alone are read.
    """
    opened = [expert.checkpoint for expert in experts if isinstance(expert, FullExpert)]
    widest: dict[str, int] = {}
    numels: dict[str, int] = {}
    for checkpoint in opened:
        for name in checkpoint.names:
            width = checkpoint.dtype(name).itemsize
            widest[name] = max(width, widest.get(name, 0))
            numels[name] = numels.get(name, 0) + math.prod(checkpoint.shape(name))
    factors = sum(expert.size_bytes for expert in experts if isinstance(expert, LoraExpert))
    return factors + sum(numel * widest[name] for name, numel in numels.items())


def free_bytes(device: torch.device) -> int:
    """Return the bytes of memory that are free now.

    Args:
        device: An accelerator, or the CPU for main memory.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what a training has released still counts as used
        return int(torch.cuda.mem_get_info(device)[0])
    return count_free_memory()
