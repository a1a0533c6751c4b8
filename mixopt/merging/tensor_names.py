"""Checkpoints whose tensor names differ from those of the model in memory, saved under the latter.

Mixtures of experts are saved with one tensor per expert of a layer and held with one for all; older
checkpoints lack a prefix. transformers converts all of them, so it reads them here.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from mixopt.merging.checkpoint import WHOLE, Checkpoint
from mixopt.training.base_model import Layout, mergeable
from mixopt.training.device import Device
from mixopt.training.model_loading import load_model


def holds_names_of(checkpoint: Checkpoint, layout: Layout) -> bool:
    """Return whether the checkpoint has every tensor of the model under one of the model's names."""
    others = {own: other for other, own in layout.tied.items()}
    return all(n in checkpoint or others.get(n, "") in checkpoint for n in layout.shapes)


def save_renamed(folder: Path, out: Path) -> None:
    """Save the model in `folder` to `out`, with the tensor names that it has in memory.

    Raises:
        ModelError: transformers cannot load it, or weights are missing.
    """
    dtypes = {Checkpoint(folder).dtype(name) for name in Checkpoint(folder).names}
    dtype = torch.float32 if torch.float32 in dtypes else torch.bfloat16
    if torch.float16 in dtypes and dtype == torch.bfloat16:
        dtype = torch.float16
    network = load_model(folder, Device("cpu", dtype))
    network.config.save_pretrained(out)
    tensors = {name: t.detach().contiguous() for name, t in mergeable(network).items()}
    save_file(tensors, out / WHOLE, metadata={"format": "pt"})
