"""The files of a trained expert: written, and loaded into a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from mixopt.errors import ModelError
from mixopt.io.parsing import show
from mixopt.training.base_model import mergeable

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_expert(model: "PreTrainedModel", folder: Path) -> None:
    """Save an expert: its LoRA factors, or all that is merged in float32 (bfloat16 rounds deltas away).

    Args:
        model: The trained model.
        folder: Existing folder that receives the files.
    """
    if hasattr(model, "peft_config"):
        # tables that factors adapt are the base's; peft would write them out beside the factors
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        return
    # with stored buffers (Gemma 4, DeepSeek and others have some), which a merge reads of every expert
    tensors = {name: t.detach().float().cpu().contiguous() for name, t in mergeable(model).items()}
    save_file(tensors, folder / "model.safetensors")


def load_expert(model: "PreTrainedModel", folder: Path) -> None:
    """Load what `save_expert` saved into a model of the same kind.

    Args:
        model: The base, ready to be trained as the expert was; changed in place.
        folder: Of the expert.
    """
    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
        return
    load_parameters(model, load_file(folder / "model.safetensors"))


@torch.no_grad()
def load_parameters(model: "PreTrainedModel", tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the parameters and stored buffers of the same names.

    Args:
        model: Changed in place.
        tensors: By name; parameters and buffers without one stay as they are.

    Raises:
        ModelError: The model has no parameter or buffer of a name.
    """
    known = mergeable(model)
    unknown = sorted(tensors.keys() - known.keys())
    if unknown:
        # without them the model would keep what it was opened with, the base's weights
        raise ModelError(
            f"{len(unknown)} of {len(tensors)} trained tensors are not in the model, such as "
            f"{show(unknown[0])}; remove the training's checkpoints and train again, without what wraps "
            "the model's layers."
        )
    for name, own in known.items():
        if name in tensors:
            own.copy_(tensors[name])
