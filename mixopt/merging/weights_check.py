"""Check of given weights: numbers that nothing can be trained from or merged with."""

from pathlib import Path

import torch

from mixopt.errors import ModelError
from mixopt.io.parsing import show
from mixopt.merging.checkpoint import DTYPES, Checkpoint, open_safetensors
from mixopt.training.base_model import Layout

CHUNK = 1 << 26
"""Elements that are looked at at a time, so that a large tensor takes no second copy of itself."""


def check_weights(
    folder: Path, what: str, layout: Layout | None = None, *, allow_pickle: bool = False
) -> None:
    """Read all weights of a model folder once.

    Args:
        folder: Folder with safetensors files: a model, shards of one, or an adapter.
        what: What the weights are, for the message (`The base`).
        layout: Of the model; tensors that it names must have its shapes and be floating-point numbers.
        allow_pickle: Read pickled weights where there are no safetensors.

    Raises:
        ModelError: A file is damaged, a tensor has another shape or type than the model's, or holds NaN
            or infinity.
    """
    for file in sorted(folder.glob("*.safetensors")):
        handle = open_safetensors(file)
        for name in handle.keys():  # noqa: SIM118 - no mapping
            part = handle.get_slice(name)
            shape, dtype = tuple(part.get_shape()), DTYPES.get(part.get_dtype())
            if layout is not None and name in layout.shapes:
                if shape != layout.shapes[name]:
                    raise _unusable(what, file, name, f"has shape {shape}, and config.json makes it "
                                    f"{layout.shapes[name]}")  # fmt: skip
                if dtype is not None and not dtype.is_floating_point:
                    raise _unusable(what, file, name, f"holds {dtype}, not floating-point numbers")
            if dtype is not None and dtype.is_floating_point:
                _require_finite(handle.get_tensor(name), what, file, name)
    if allow_pickle and not any(folder.glob("*.safetensors")):
        checkpoint = Checkpoint(folder, allow_pickle=True)
        for name in checkpoint.names:
            _require_finite(checkpoint.read(name), what, folder, name)


def _require_finite(tensor: torch.Tensor, what: str, file: Path, name: str) -> None:
    for numbers in torch.split(tensor.flatten(), CHUNK):
        if not torch.isfinite(numbers).all():
            raise _unusable(what, file, name, "holds NaN or infinity")


def _unusable(what: str, file: Path, name: str, problem: str) -> ModelError:
    return ModelError(
        f"{what} cannot be used: tensor {show(name)} of {file} {problem}; fetch or save it again."
    )
