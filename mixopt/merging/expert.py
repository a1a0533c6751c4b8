"""Experts on disk, full weights or LoRA adapters, as deltas Θ_k − Θ_base from their base.

A LoRA expert (arXiv:2106.09685) enters as its folded product scale·B·A. Averaging the factors A and B
separately, as peft's `linear` combination does, gives another sum, with cross terms.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from mixopt.errors import ModelError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.merging.checkpoint import Checkpoint, Rows, open_safetensors, strip_wrappers
from mixopt.training.base_model import Layout

COMPUTED = re.compile(r"(rotary_emb\..*inv_freq|\.(attn|attention)\.(masked_)?bias)$")
"""Tensors that older checkpoints store and that models compute."""
PLAIN_STARTS = ("gaussian", "eva", "orthogonal")
"""Initializations of LoRA, beside the default, that leave the base unchanged. PiSSA, OLoRA and others
subtract from the base first, so that their factors are deltas from another model."""
MAX_NAMED = 3
"""Tensors that an error message names, of each kind."""
MAX_NAME_CHARS = 120
"""Characters of a tensor's name that an error message repeats."""
MAX_ALPHA = 1e9
"""Largest accepted `lora_alpha`; a larger one is a damaged config."""


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
        allow_pickle: Open pickled full weights where there are no safetensors.

    Returns:
        The expert; `check` shows whether it fits a base.

    Raises:
        ModelError: The folder holds neither as safetensors.
    """
    if (folder / "adapter_model.safetensors").is_file():
        return LoraExpert(folder)
    if (folder / "adapter_model.bin").is_file():
        raise ModelError(f"{folder} holds a pickled adapter; save it as safetensors (peft does).")
    return FullExpert(Checkpoint(folder, allow_pickle=allow_pickle))


class FullExpert:
    """An expert whose every parameter was trained.

    Args:
        checkpoint: Its full weights.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.folder = checkpoint, checkpoint.folder
        self._tied: Mapping[str, str] = {}

    def check(self, layout: Layout) -> None:
        checkpoint, pairs = self.checkpoint, layout.tied.items()
        self._tied = {n: o for o, n in pairs if n not in checkpoint and o in checkpoint}
        stored = {name: self._tied.get(name, name) for name in layout.shapes}
        missing = sorted(name for name in stored if stored[name] not in checkpoint)
        shapes = {name: checkpoint.shape(stored[name]) for name in stored if name not in missing}
        for name in shapes:
            self._require_float(stored[name])
        unlike = [
            f"{name} {shape} against {layout.shapes[name]}"
            for name, shape in shapes.items()
            if shape != layout.shapes[name]
        ]
        known = {*layout.shapes, *layout.tied, *layout.kept}
        extra = [n for n in checkpoint.names if n not in known and not COMPUTED.search(n)]
        untied = [] if missing or unlike else _untied(checkpoint, layout)
        problems = [
            *_first("missing {}", missing),
            *_first("{}", unlike),
            *_first("{} is none of the base's", extra),
            *_first("{} is tied to another tensor in the base and not here", untied),
        ]
        if problems:
            raise ModelError(
                f"{self.folder} is no expert of this base ({'; '.join(problems)}); train it from this "
                "base."
            )

    def _require_float(self, name: str) -> None:
        if not self.checkpoint.dtype(name).is_floating_point:
            raise ModelError(
                f"{self.folder}: {name} holds {self.checkpoint.dtype(name)}, which is no weight that "
                "can be merged; save it as bfloat16, float16 or float32."
            )

    def read(self, name: str, rows: Rows | None = None) -> torch.Tensor:
        return self.checkpoint.read(self._tied.get(name, name), rows)

    def delta(self, name: str, base: torch.Tensor, rows: Rows | None = None) -> torch.Tensor | None:
        return self.read(name, rows).to(base.device, torch.float32) - base.float()

    def release(self) -> None:
        self.checkpoint.release()


def _untied(checkpoint: Checkpoint, layout: Layout) -> list[str]:
    """Return names that share a tensor in the base and hold another one in the checkpoint."""
    pairs = [(o, n) for o, n in layout.tied.items() if o in checkpoint and n in checkpoint]
    return [o for o, n in pairs if not torch.equal(checkpoint.read(o), checkpoint.read(n))]


def _first(words: str, names: Sequence[str]) -> list[str]:
    more = [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    shown = [" ".join(name.split())[:MAX_NAME_CHARS] for name in names[:MAX_NAMED]]
    return [words.format(name) for name in shown] + more


class LoraExpert:
    """An expert trained as low-rank factors; its delta is scale·B·A on each adapted weight.

    Args:
        folder: Of a peft adapter as safetensors.

    Raises:
        ModelError: The adapter is damaged, or more than plain LoRA.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "adapter_model.safetensors"
        self._handle = open_safetensors(self._file)
        self._stored = strip_wrappers(self._handle.keys(), folder)
        self._names = set(self._stored)
        config = read_adapter_config(folder)
        rank, alpha = _require_rank(config, folder)
        self._scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        self._transposed = bool(config.get("fan_in_fan_out"))
        endings = (".lora_A.weight", ".lora_B.weight")
        foreign = {name for name in self._names if not name.endswith(endings)}
        odd = [key for key in ("rank_pattern", "alpha_pattern") if config.get(key)]
        start = config.get("init_lora_weights", True)
        if isinstance(start, str) and start not in PLAIN_STARTS:
            odd.append(f"started as {start}, which changes the base")
        if foreign or odd or config.get("use_dora"):
            what = ", ".join([*sorted(foreign)[:2], *odd]) or "DoRA"
            raise ModelError(
                f"{folder} is more than plain LoRA ({what}); merge it into full weights first "
                "(peft's merge_and_unload)."
            )

    @staticmethod
    def _factor(name: str, side: str) -> str:
        return f"base_model.model.{name.removesuffix('.weight')}.lora_{side}.weight"

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle.get_slice(self._stored[name]).get_shape())

    def _read(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._handle.get_tensor(self._stored[name])
        return tensor

    def check(self, layout: Layout) -> None:
        known = {self._factor(name, side) for name in layout.shapes for side in "AB"}
        foreign = sorted(self._names - known)
        if foreign:
            raise ModelError(
                f"{self._file} adapts {foreign[0]}, which this base lacks; train it from this base."
            )
        if not self._names:
            raise ModelError(f"{self._file} holds no factors; train it again.")
        for name, wanted in layout.shapes.items():
            factors = [self._factor(name, side) for side in "AB"]
            stored = [factor for factor in factors if factor in self._names]
            if not stored:
                continue
            if len(stored) == 1:
                raise ModelError(f"{self._file} has only one factor, {stored[0]}; save it again.")
            a, b = map(self._shape, factors)
            if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
                raise ModelError(
                    f"{self._file} adapts {name} by factors of shapes {a} and {b}, which are no pair; "
                    "save it again."
                )
            outward, inward = b[0], a[1]
            shape = (inward, outward) if self._transposed else (outward, inward)
            if shape != wanted:
                raise ModelError(
                    f"{self._file} adapts {name} of shape {shape}, but the base has {wanted}; train "
                    "it from this base."
                )

    def factors(self, name: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the factors of a delta P·Q.

        Args:
            name: Weight of the base (`a x b`).
            device: Where the factors are put.

        Returns:
            P (`a x r`) and Q (`r x b`) in float32 for rank r; None where the weight is not adapted.
        """
        if self._factor(name, "A") not in self._names:
            return None
        a = self._read(self._factor(name, "A")).to(device, torch.float32)
        b = self._read(self._factor(name, "B")).to(device, torch.float32)
        b = b * self._scale
        # GPT-2 keeps its weights as (in, out)
        return (a.T.contiguous(), b.T.contiguous()) if self._transposed else (b, a)

    def delta(self, name: str, base: torch.Tensor, rows: Rows | None = None) -> torch.Tensor | None:
        factors = self.factors(name, base.device)
        if factors is None:
            return None
        left, right = factors
        return (left if rows is None else left[rows]) @ right

    def release(self) -> None:
        pass  # factors are small


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a LoRA adapter.

    Args:
        folder: Folder of the adapter.

    Raises:
        ModelError: It is missing, or names no rank and alpha.
    """
    file = folder / "adapter_config.json"
    try:
        config: dict[str, Any] = load_json(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it is not an object")
        config["r"], config["lora_alpha"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} is not the configuration of a LoRA adapter ({one_line(error)}); save the adapter "
            "again."
        ) from None
    return config


def _require_rank(config: Mapping[str, Any], folder: Path) -> tuple[int, float]:
    rank, alpha = config["r"], config["lora_alpha"]
    whole = isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank < 1 << 31
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    if not whole or not number or not 0 < alpha < MAX_ALPHA:
        raise ModelError(
            f"{folder / 'adapter_config.json'} says r: {show(rank)} and lora_alpha: {show(alpha)}, "
            "which are not numbers above zero; save the adapter again."
        )
    return rank, float(alpha)
