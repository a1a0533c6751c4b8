"""Check of given weights: numbers that nothing can be trained from or merged with."""

from pathlib import Path

import torch

from mixopt.errors import ModelError
from mixopt.io.parsing import show
from mixopt.merging.checkpoint import DTYPES, Checkpoint, find_adapter, open_tensors
from mixopt.training.base_model import Layout
from mixopt.training.tensor_names import align_names, strip_wrappers

CHUNK = 1 << 26
"""Elements that are looked at at a time, so that a large tensor takes no second copy of itself."""


def check_weights(
    folder: Path, what: str, layout: Layout | None = None, *, allow_pickle: bool = False
) -> None:
    """Read all weights of a model folder once.

    Args:
        folder: Folder of a model, of shards of one, or of an adapter.
        what: What the weights are, for the message (`The base`).
        layout: Of the model; tensors that it names must have its shapes and be floating-point numbers.
        allow_pickle: Read pickled weights where there are no safetensors.

    Raises:
        ModelError: A file is damaged, a tensor has another shape or type than the model's, or holds NaN
            or infinity.
    """
    files = sorted(folder.glob("*.safetensors"))
    adapter = find_adapter(folder)
    if allow_pickle and not files:
        if adapter is not None:
            files = [adapter]
        else:
            checkpoint = Checkpoint(folder, allow_pickle=True)
            for name in checkpoint.names:
                _require_finite(checkpoint.read(name), what, folder, name)
    for file in files:
        handle = open_tensors(file)
        names = strip_wrappers(handle.keys(), folder)
        plain = align_names(names, layout.shapes) if layout is not None else {}
        for name, stored in names.items():
            part = handle.get_slice(stored)
            shape, dtype = tuple(part.get_shape()), DTYPES.get(part.get_dtype())
            wanted = None if layout is None else layout.shapes.get(plain[name])
            if wanted is not None:
                if shape != wanted:
                    problem = f"has shape {shape}, and config.json makes it {wanted}"
                    raise _unusable(what, file, stored, problem)
                if dtype is not None and not dtype.is_floating_point:
                    raise _unusable(
                        what, file, stored, f"holds {dtype}, not floating-point numbers"
                    )
            if dtype is not None and dtype.is_floating_point:
                _require_finite(handle.get_tensor(stored), what, file, stored)


def _require_finite(tensor: torch.Tensor, what: str, file: Path, name: str) -> None:
    for numbers in torch.split(tensor.flatten(), CHUNK):
        if not torch.isfinite(numbers).all():
            raise _unusable(what, file, name, "holds NaN or infinity")


def _unusable(what: str, file: Path, name: str, problem: str) -> ModelError:
    return ModelError(
        f"{what} cannot be used: tensor {show(name)} of {file} {problem}; fetch or save it again."
    )
