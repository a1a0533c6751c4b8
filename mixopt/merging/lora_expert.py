"""Experts that were trained as LoRA adapters.

A LoRA expert (arXiv:2106.09685) enters as its folded product scale·B·A. Averaging the factors A and B
separately, as peft's `linear` combination does, gives another sum, with cross terms.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mixopt.errors import ModelError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.merging.checkpoint import ADAPTER, OTHER_BASE, Rows, find_adapter, open_tensors
from mixopt.merging.vocabulary import HEADS
from mixopt.training.base_model import Layout
from mixopt.training.lora import BEYOND
from mixopt.training.tensor_names import align_names, strip_wrappers

PLAIN_STARTS = ("gaussian", "eva", "orthogonal")
"""Initializations of LoRA, beside the default, that leave the base unchanged. PiSSA, OLoRA and others
subtract from the base first, so that their factors are deltas from another model."""
NAMED_FACTOR = re.compile(r"(?<=\.lora_[AB])\.(\w+)\.weight$")
"""The name of an adapter (`default`) in the name of a factor."""
BASE_WEIGHT = ".base_layer.weight"
"""End of the name of a weight that factors adapt."""
MAX_ALPHA = 1e9
"""Largest accepted `lora_alpha`; a larger one is a damaged config."""


class LoraExpert:
    """An expert trained as low-rank factors; its delta is scale·B·A on each adapted weight.

    Args:
        folder: Of a peft adapter.

    Raises:
        ModelError: The adapter is damaged, or more than plain LoRA.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = find_adapter(folder) or folder / ADAPTER
        self._open: Any = None
        stored = strip_wrappers(self._handle.keys(), folder)
        self._stored = _drop_tables(_strip_adapter_name(stored))
        self._names = set(self._stored)
        config = read_adapter_config(folder)
        rank, alpha = _require_rank(config, folder)
        self._scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        self._transposed = bool(config.get("fan_in_fan_out"))
        endings = (".lora_A.weight", ".lora_B.weight")
        foreign = {name for name in self._names if not name.endswith(endings)}
        odd = [key for key in BEYOND if config.get(key)]
        kind = config.get("peft_type")
        if kind not in (None, "LORA"):
            odd.append(f"peft_type {show(kind)}")
        start = config.get("init_lora_weights", True)
        if isinstance(start, str) and start not in PLAIN_STARTS:
            odd.append(f"started as {start}, which changes the base")
        if foreign or odd or config.get("use_dora"):
            what = ", ".join([*sorted(foreign)[:2], *odd]) or "DoRA"
            raise ModelError(
                f"{folder} is more than plain LoRA ({what}); merge it into full weights first "
                "(peft's merge_and_unload)."
            )

    @property
    def size_bytes(self) -> int:
        """Bytes of its file, which holds the factors."""
        return self._file.stat().st_size

    @property
    def _handle(self) -> Any:
        if self._open is None:
            self._open = open_tensors(self._file)
        return self._open

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
        self._align(layout)
        foreign = sorted(self._names - known)
        heads = [weight for weight in map(_weight_of, foreign)
                 if weight in layout.tied or HEADS.search(weight)]  # fmt: skip
        if heads and len(heads) == len(foreign):
            raise ModelError(
                f"{self._file} adapts {heads[0]}, and this base has its input embeddings in its place, "
                "so that no merge can change it alone; leave it out, or merge the adapter into full "
                "weights first (peft's merge_and_unload)."
            )
        if foreign:
            raise ModelError(
                f"{self._file} adapts {foreign[0]}, which this base lacks; {OTHER_BASE}"
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
                    f"{self._file} adapts {name} of shape {shape}, but the base has {wanted}; "
                    f"{OTHER_BASE}"
                )

    def _align(self, layout: Layout) -> None:
        """Rename factors as the base's tensors, where only a prefix of all names differs."""
        weights = {name: _weight_of(name) for name in self._names}
        renamed = align_names(set(weights.values()), layout.shapes)
        self._stored = {
            self._factor(renamed[weight], name.rpartition(".lora_")[2][0]): self._stored[name]
            for name, weight in weights.items()
        }
        self._names = set(self._stored)

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
        # pages that were read of many experts are more than a layer; a pickle would be read whole again
        if self._file.suffix != ".bin":
            self._open = None


def _weight_of(factor: str) -> str:
    return factor.removeprefix("base_model.model.").rpartition(".lora_")[0] + ".weight"


def _strip_adapter_name(stored: Mapping[str, str]) -> dict[str, str]:
    """Strip the name of the one adapter from names of factors, as a model's state dict has it."""
    names = {match[1] for name in stored if (match := NAMED_FACTOR.search(name))}
    if len(names) != 1:
        return dict(stored)
    return {NAMED_FACTOR.sub(r".weight", name): place for name, place in stored.items()}


def _drop_tables(stored: Mapping[str, str]) -> dict[str, str]:
    """Leave out the base's own weights that peft saves beside the factors of a table."""
    return {
        name: place
        for name, place in stored.items()
        if not name.endswith(BASE_WEIGHT)
        or f"{name.removesuffix(BASE_WEIGHT)}.lora_A.weight" not in stored
    }


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
