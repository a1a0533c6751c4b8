"""Experts on disk, full weights or LoRA adapters, as deltas Θ_k − Θ_base from their base."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from mixopt.errors import ModelError
from mixopt.merging.checkpoint import (
    OTHER_BASE,
    PICKLED_ADAPTER,
    Checkpoint,
    Rows,
    find_adapter,
)
from mixopt.merging.lora_expert import LoraExpert
from mixopt.merging.vocabulary import (
    EMBEDDINGS,
    HEADS,
    Resize,
    find_resized,
    is_tied,
    select_rows,
    untied_names,
    warn_of_resize,
)
from mixopt.training.base_model import Layout

COMPUTED = re.compile(r"(rotary_emb\..*inv_freq|\.(attn|attention)\.(masked_)?bias)$")
"""Tensors that older checkpoints store and that models compute."""
MAX_NAMED = 3
"""Tensors that an error message names, of each kind."""
MAX_NAME_CHARS = 120
"""Characters of a tensor's name that an error message repeats."""


class Expert(Protocol):
    """An expert as deltas from its base, tensor by tensor.

    Attributes:
        folder: Where its files lie.
    """

    folder: Path

    def check(self, layout: Layout) -> None:
        """Check that the expert fits a base.

        Args:
            layout: Of the base.

        Raises:
            ModelError: Tensors are missing, surplus, of another shape, or no floating-point numbers.
        """

    def delta(self, name: str, base: torch.Tensor, rows: Rows | None = None) -> torch.Tensor | None:
        """Return Θ_k − Θ_base of one tensor, or of some of its rows.

        Args:
            name: Name of the tensor in the base.
            base: The base's tensor; with `rows`, those rows of it only.
            rows: Rows to return; all if None.

        Returns:
            The delta in float32 on the base's device; None where the expert does not change it.
        """

    def release(self) -> None:
        """Unmap the files; they are opened again by the next read."""


def open_expert(folder: Path, *, allow_pickle: bool = False) -> Expert:
    """Open the expert in `folder`: full weights, or a LoRA adapter.

    Args:
        folder: Folder that transformers or peft has saved.
        allow_pickle: Open pickled weights or a pickled adapter where there are no safetensors.

    Returns:
        The expert; `check` shows whether it fits a base.

    Raises:
        ModelError: The folder holds neither, or only pickles that are not allowed.
    """
    adapter = find_adapter(folder)
    if adapter is None:
        return FullExpert(Checkpoint(folder, allow_pickle=allow_pickle))
    if adapter.name == PICKLED_ADAPTER and not allow_pickle:
        raise ModelError(
            f"{folder} holds a pickled adapter, a format that can hold code; save it as "
            "safetensors (peft does), or, if you trust it, pass --allow-pickle (mixopt merge) or say "
            "allow_pickle: true (an expert's YAML)."
        )
    return LoraExpert(folder)


class FullExpert:
    """An expert whose every parameter was trained.

    Args:
        checkpoint: Its full weights.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.folder = checkpoint, checkpoint.folder
        self._stored: Mapping[str, str] = {}
        self._resized: Mapping[str, int] = {}

    def check(self, layout: Layout, *, resize: Resize | None = None) -> None:
        """Check that the expert fits a base; a vocabulary of another size is merged in its common rows.

        Args:
            layout: Of the base. A name in both `shapes` and `tied` is untied for this merge.
            resize: What is asked for where vocabularies have different sizes, if anything is.

        Raises:
            ModelError: Tensors are missing, surplus, of another shape, or no floating-point numbers.
        """
        checkpoint = self.checkpoint
        checkpoint.align({*layout.shapes, *layout.tied, *layout.kept})
        self._stored = self._find_aliases(layout)
        stored = {name: self._stored.get(name, name) for name in layout.shapes}
        missing = sorted(name for name in stored if stored[name] not in checkpoint)
        shapes = {name: checkpoint.shape(stored[name]) for name in stored if name not in missing}
        for name in shapes:
            self._require_float(stored[name])
        self._resized = find_resized(shapes, layout.shapes)
        unlike = [
            f"{name} {shape} against {layout.shapes[name]}"
            for name, shape in shapes.items()
            if shape != layout.shapes[name] and name not in self._resized
        ]
        known = {*layout.shapes, *layout.tied, *layout.kept}
        extra = [n for n in checkpoint.names if n not in known and not COMPUTED.search(n)]
        untied = [] if missing or unlike else untied_names(checkpoint, layout)
        problems = [
            *_first("missing {}", missing),
            *_first("{}", unlike),
            *_first("{} is none of the base's", extra),
        ]
        if problems:
            raise ModelError(
                f"{self.folder} is no expert of this base ({'; '.join(problems)}); {OTHER_BASE}"
            )
        if untied:
            raise ModelError(
                f"{self.folder} has an output table of its own ({untied[0]}), and the base uses its "
                "input embeddings for it, so runs trained from the base would tie its embeddings and "
                "could not be compared with this expert; give the base one too: "
                f"`mixopt merge BASE -e {self.folder}=0 -o NEW` writes it."
            )
        for name, rows in list(self._resized.items())[:1]:
            warn_of_resize(self.folder, rows, layout.shapes[name][0], resize=resize)

    def _find_aliases(self, layout: Layout) -> dict[str, str]:
        """Return the stored name of tensors that the expert ties, by their name in the base."""
        checkpoint, pairs = self.checkpoint, layout.tied.items()
        found = {n: o for o, n in pairs if n not in checkpoint and o in checkpoint}
        found |= {o: n for o, n in pairs if o in layout.shapes and o not in checkpoint}
        missing = [n for n in layout.shapes if n not in checkpoint and n not in found]
        if missing and all(HEADS.search(name) for name in missing) and is_tied(self.folder):
            inputs = [name for name in layout.shapes if EMBEDDINGS.search(name)]
            if len(inputs) == 1:
                found |= dict.fromkeys(missing, inputs[0])
        return found

    def _require_float(self, name: str) -> None:
        if not self.checkpoint.dtype(name).is_floating_point:
            raise ModelError(
                f"{self.folder}: {name} holds {self.checkpoint.dtype(name)}, which is no weight that "
                "can be merged; save it as bfloat16, float16 or float32."
            )

    def rows(self, name: str) -> int | None:
        """Return the rows of a tensor that has more or fewer than the base's; None for others."""
        return self._resized.get(name)

    def read(self, name: str, base: torch.Tensor | None = None) -> torch.Tensor:
        """Return a tensor of the expert.

        Args:
            name: Its name in the base.
            base: The base's tensor; where a vocabulary is smaller, the result has the base's last rows.

        Returns:
            The tensor, in the base's shape if `base` is given.
        """
        tensor = self.checkpoint.read(self._stored.get(name, name))
        if base is None or name not in self._resized:
            return tensor
        return torch.cat([tensor[: len(base)], base[len(tensor) :].to(tensor)])

    def read_rows(self, name: str, rows: Rows | None) -> torch.Tensor:
        """Return some rows of a tensor, by its own numbers of rows; all if `rows` is None."""
        return self.checkpoint.read(self._stored.get(name, name), rows)

    def delta(self, name: str, base: torch.Tensor, rows: Rows | None = None) -> torch.Tensor | None:
        if name not in self._resized:
            return self.read_rows(name, rows).to(base.device, torch.float32) - base.float()
        total = len(base) if rows is None else rows.stop if isinstance(rows, slice) else 0
        places, own = select_rows(rows, self._resized[name], total)
        delta = torch.zeros(base.shape, dtype=torch.float32, device=base.device)
        read = self.read_rows(name, own).to(base.device, torch.float32)
        delta[places] = read - base[places].float()
        return delta

    def release(self) -> None:
        self.checkpoint.release()


def _first(words: str, names: Sequence[str]) -> list[str]:
    more = [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    shown = [" ".join(name.split())[:MAX_NAME_CHARS] for name in names[:MAX_NAMED]]
    return [words.format(name) for name in shown] + more
