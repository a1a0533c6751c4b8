"""Merges of base and experts on disk, tensor by tensor and in pieces, in little memory.

Shapes: `k` experts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mixopt.errors import ModelError
from mixopt.io.parsing import show
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import COMPUTED, Expert, FullExpert
from mixopt.merging.merge import StepSizes, merge_tensor
from mixopt.merging.vocabulary import average_rows

READ_BYTES = 8 << 20
"""Most bytes of a base tensor that are read at a time."""
MAPPED_BYTES = 32 << 20
"""Bytes of all models' files that are read before the files are unmapped."""
SUMMED = 1 << 17
"""Weights of full experts that are summed at a time; in float32 they stay in a core's caches."""


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write.

    Attributes:
        name: Its name in the base.
        shape: As it is written.
        stored: Its type in the base.
        written: The type that is written.
        source: Name of the base's tensor that it is made from.
    """

    name: str
    shape: tuple[int, ...]
    stored: torch.dtype
    written: torch.dtype
    source: str

    @property
    def merged(self) -> bool:
        """Whether experts change it; counters and masks are the base's."""
        return self.stored.is_floating_point and not COMPUTED.search(self.name)

    @property
    def size_bytes(self) -> int:
        """Bytes that are written."""
        return self.written.itemsize * torch.Size(self.shape).numel()


class StreamedMerge:
    """A merge of base and experts, of which a few pieces are in memory at a time.

    Args:
        base: The base.
        experts: Experts that fit it (`k`).
        weights: α (`k`).

    Attributes:
        step_sizes: δ of each expert over all tensors that were merged since it was set.
    """

    def __init__(
        self, base: Checkpoint, experts: Sequence[Expert], weights: Sequence[float]
    ) -> None:
        self._base, self._experts, self._weights = base, experts, weights
        self._buffers = [torch.empty(SUMMED) for _ in range(3)]
        self._mapped_bytes = 0
        self.step_sizes = StepSizes(len(experts))

    def pieces(self, tensor: PlannedTensor) -> Iterator[torch.Tensor]:
        """Merge a tensor.

        Args:
            tensor: Of the merge.

        Returns:
            Iterator of its weights in their order; a piece may be overwritten by the next one.

        Raises:
            ModelError: A weight is NaN or infinite, or out of the range of its type.
        """
        shape = self._base.shape(tensor.source)
        count = shape[0] if shape else 1
        whole = all(
            isinstance(e, FullExpert) and e.rows(tensor.name) is None for e in self._experts
        )
        merge, read_bytes = self._merge_any, READ_BYTES
        if whole:
            merge, read_bytes = self._merge_full, MAPPED_BYTES // (1 + len(self._experts))
        if not tensor.merged:
            yield self._base.read(tensor.source).to(tensor.written)
        elif not tensor.shape or not count:
            yield from merge(tensor, None)
        else:
            size = max(1, self._base.size_bytes(tensor.source))
            step = max(1, min(read_bytes, READ_BYTES) * count // size)
            for start in range(0, count, step):
                yield from merge(tensor, slice(start, min(count, start + step)))
            for start in range(count, tensor.shape[0], step):
                yield self._average(tensor, slice(start, min(tensor.shape[0], start + step)))

    def _merge_full(self, tensor: PlannedTensor, rows: slice | None) -> Iterator[torch.Tensor]:
        """Merge rows that all experts have in full, without new memory for every sum."""
        full = (expert for expert in self._experts if isinstance(expert, FullExpert))
        base = self._base.read(tensor.source, rows).reshape(-1)
        tensors = [expert.read_rows(tensor.name, rows).reshape(-1) for expert in full]
        written = torch.empty(min(SUMMED, base.numel()), dtype=tensor.written)
        for start in range(0, base.numel(), SUMMED):
            part, n = slice(start, start + SUMMED), min(SUMMED, base.numel() - start)
            wide, change, total, merged = (t[:n] for t in (*self._buffers, written))
            total.copy_(wide.copy_(base[part]))
            deltas = (change.copy_(t[part]).sub_(wide) for t in tensors)
            merge_tensor(total, self.step_sizes.observe(wide, deltas), self._weights, out=total)
            yield self._require_finite(tensor, rows, total, merged.copy_(total))
        self._limit_mapped(base)

    def _merge_any(self, tensor: PlannedTensor, rows: slice | None) -> Iterator[torch.Tensor]:
        stored = self._base.read(tensor.source, rows)
        base = stored.float()
        deltas = (expert.delta(tensor.name, base, rows) for expert in self._experts)
        total = merge_tensor(base, self.step_sizes.observe(base, deltas), self._weights)
        yield self._require_finite(tensor, rows, total, total.to(tensor.written))
        self._limit_mapped(stored)

    def _limit_mapped(self, base: torch.Tensor) -> None:
        """Unmap files from time to time, because what was read of them is in this process' memory."""
        self._mapped_bytes += base.nbytes * (1 + len(self._experts))
        if self._mapped_bytes >= MAPPED_BYTES:
            self._mapped_bytes = 0
            self._base.release()
            for expert in self._experts:
                expert.release()

    def _require_finite(
        self, tensor: PlannedTensor, rows: slice | None, total: torch.Tensor, merged: torch.Tensor
    ) -> torch.Tensor:
        # NaN and infinity of base or expert are in the merge, even at weight 0. A sum over all takes a
        # fraction of a test of each; finite numbers may leave its range, so those are tested.
        if not math.isfinite(float(merged.sum())) and not torch.isfinite(merged).all():
            raise self._explain(tensor, rows, total)
        return merged

    def _average(self, tensor: PlannedTensor, rows: slice) -> torch.Tensor:
        """Return rows that the base lacks."""
        parts, weights = [], []
        for expert, weight in zip(self._experts, self._weights, strict=True):
            own = expert.rows(tensor.name) if isinstance(expert, FullExpert) else None
            if isinstance(expert, FullExpert) and own is not None and own > rows.start:
                parts.append(expert.read_rows(tensor.name, slice(rows.start, min(rows.stop, own))))
                weights.append(weight)
        averaged = average_rows(parts, weights).to(tensor.written)
        if not torch.isfinite(averaged).all():
            raise ModelError(
                f"The experts hold NaN or infinity in the last rows of tensor {show(tensor.name)}, "
                "which the base lacks; fetch or save them again, or leave these rows out (--resize "
                "base)."
            )
        return averaged

    def _explain(
        self, tensor: PlannedTensor, rows: slice | None, total: torch.Tensor
    ) -> ModelError:
        """Return the error that says whose number is not finite."""
        base = self._base.read(tensor.source, rows)
        parts = [("The base", self._base.folder, lambda: base)] + [
            ("The expert", e.folder, partial(e.delta, tensor.name, base, rows))
            for e in self._experts
        ]
        for what, folder, read in parts:
            numbers = read()
            if numbers is not None and not torch.isfinite(numbers).all():
                return ModelError(
                    f"{what} at {folder} holds NaN or infinity in tensor {show(tensor.name)}; fetch or "
                    "save it again."
                )
        largest, name = float(total.abs().max()), str(tensor.written).removeprefix("torch.")
        return ModelError(
            f"The merge reaches {largest:.3g} in tensor {show(tensor.name)}, and {name} ends at "
            f"{torch.finfo(tensor.written).max:.3g}; write it with --dtype bfloat16 or float32."
        )
