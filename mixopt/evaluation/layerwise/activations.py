"""Activations between two layers, kept in memory or spilled to disk where they do not fit.

Shapes: `c` candidates.
"""

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mixopt.evaluation.prefix_batching import Batch


class Activations:
    """Hidden states (`b x t x width`) by candidate and batch, in memory."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], torch.Tensor] = {}

    def put(self, candidate: int, batch: int, hidden: torch.Tensor) -> None:
        """Keep hidden states."""
        self._kept[candidate, batch] = hidden

    def get(self, candidate: int, batch: int) -> torch.Tensor:
        """Return the hidden states that were kept."""
        return self._kept[candidate, batch]


class _SpilledActivations(Activations):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._like: dict[tuple[int, int], tuple[torch.Size, torch.dtype, torch.device]] = {}

    def _file(self, candidate: int, batch: int) -> Path:
        return self._folder / f"{candidate}-{batch}"

    def put(self, candidate: int, batch: int, hidden: torch.Tensor) -> None:
        self._like[candidate, batch] = (hidden.shape, hidden.dtype, hidden.device)
        raw = hidden.contiguous().cpu().view(-1).view(torch.uint8)
        raw.numpy().tofile(self._file(candidate, batch))

    def get(self, candidate: int, batch: int) -> torch.Tensor:
        shape, dtype, device = self._like[candidate, batch]
        raw = torch.from_numpy(np.fromfile(self._file(candidate, batch), dtype=np.uint8))
        return raw.view(dtype).view(shape).to(device)


@dataclass(frozen=True)
class SweepPlan:
    """How candidates and batches are divided into sweeps.

    Attributes:
        groups: Candidates of one sweep.
        chunks: Batches of one sweep.
        spilled: Whether activations are kept on disk.
    """

    groups: tuple[tuple[int, ...], ...]
    chunks: tuple[tuple[Batch, ...], ...]
    spilled: bool

    @classmethod
    def of(cls, batches: Sequence[Batch], candidates: int, room: int, width: int, reread: int,
           n_spills: int) -> "SweepPlan":  # fmt: skip
        """Return the plan that reads and writes the fewest bytes.

        Args:
            batches: All batches.
            candidates: Number of candidates (`c`).
            room: Bytes for activations, enough for the largest batch of one candidate.
            width: Bytes of one token's hidden state.
            reread: Bytes that each further sweep reads.
            n_spills: Number of times that spilled activations are written or read in a sweep.
        """
        everyone, every_batch = tuple(range(candidates)), tuple(batches)
        needed = candidates * width * sum(batch.tokens.numel() for batch in batches)
        if needed <= room:
            return cls((everyone,), (every_batch,), spilled=False)
        together = candidates * width * max(batch.tokens.numel() for batch in batches)
        at_once = max(1, min(candidates, candidates * room // together))
        groups = tuple(everyone[i : i + at_once] for i in range(0, candidates, at_once))
        chunks = _divide(batches, room // (at_once * width))
        swept = (len(groups) * len(chunks) - 1) * reread
        fits_on_disk = needed < shutil.disk_usage(tempfile.gettempdir()).free / 2
        if n_spills * needed < swept and fits_on_disk:
            return cls((everyone,), (every_batch,), spilled=True)
        return cls(groups, chunks, spilled=False)

    @contextmanager
    def open_store(self) -> Iterator[Activations]:
        """Yield an empty store; spilled files are removed at the end."""
        if not self.spilled:
            yield Activations()
            return
        with tempfile.TemporaryDirectory(prefix="mixopt-activations-") as folder:
            yield _SpilledActivations(Path(folder))


def _divide(batches: Sequence[Batch], tokens: int) -> tuple[tuple[Batch, ...], ...]:
    chunks: list[list[Batch]] = []
    size = math.inf
    for batch in batches:
        if size + batch.tokens.numel() > tokens:
            chunks.append([])
            size = 0
        chunks[-1].append(batch)
        size += batch.tokens.numel()
    return tuple(map(tuple, chunks))
