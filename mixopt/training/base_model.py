"""The base: what every expert starts from, and what stands for it in the keys of what comes of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mixopt.config.training import ExpertTrainingConfig
from mixopt.data.sources import hash_file
from mixopt.errors import ModelError
from mixopt.training.device import Device
from mixopt.training.model_loading import (
    check_context,
    count_parameters,
    find_folder,
    load_config,
    load_model,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Layout:
    """What of a base is merged.

    Attributes:
        shapes: Of parameters and stored buffers, each tensor once.
        tied: The name under which a tensor is merged, by each other name that it has.
        kept: Names of what is stored beside these and not merged (counters, masks).
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    kept: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "Layout":
        """The layout of a model in memory, or on the meta device."""
        tensors = mergeable(model)
        names = {id(tensor): name for name, tensor in tensors.items()}
        every = dict(model.named_parameters(remove_duplicate=False))
        tied = {n: names[id(p)] for n, p in every.items() if id(p) in names and n not in tensors}
        kept = frozenset(set(model.state_dict()) - set(tensors) - set(tied))
        return cls({name: tuple(tensor.shape) for name, tensor in tensors.items()}, tied, kept)


def mergeable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and stored floating buffers (routers' biases, say) of a model, each once."""
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters())
    stored = model.state_dict(keep_vars=True)
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    return tensors | {name: b for name, b in buffers.items() if b.is_floating_point()}


@dataclass(frozen=True, eq=False)
class Base:
    """A causal language model in a folder or on the hub.

    Attributes:
        path: Folder or hub id.
        context: Tokens per sequence, in training and in scoring.
        device: Where it is loaded.
        tokenizer: Its tokenizer.
        revision: Of a hub id.
        name: What it was made from, where we made it: its key.
    """

    path: str
    context: int
    device: Device
    tokenizer: "PreTrainedTokenizerBase"
    revision: str | None = None
    name: str | None = None

    def compute_key(self) -> str:
        """What stands for it in the keys of everything made from it."""
        return self._hash if self.name is None else self.name

    @cached_property
    def _hash(self) -> str:
        told = self.config.to_json_string()
        files = sorted(Path(self.path).glob("*.safetensors"))
        if files:  # a folder: its content counts, wherever it lies
            told += " ".join(hash_file(file) for file in files)
        else:  # a hub id: the commit that it came from
            told += f" {self.path} {getattr(self.config, '_commit_hash', self.revision)}"
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    @cached_property
    def config(self) -> "PretrainedConfig":
        """Its configuration.

        Raises:
            ModelError: Sequences of `context` tokens are too long for it.
        """
        config = load_config(self.path, revision=self.revision)
        check_context(config, self.context)
        return config

    def find_folder(self) -> Path:
        """Where its files lie, fetched from the hub if need be."""
        return find_folder(self.path, revision=self.revision)

    @cached_property
    def outline(self) -> "PreTrainedModel":
        """The model without weights."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(self.config)
        return model

    @cached_property
    def layout(self) -> Layout:
        """What of it is merged."""
        return Layout.of(self.outline)

    @cached_property
    def parameters(self) -> int:
        """Parameters outside the embeddings, counted without loading it."""
        return count_parameters(self.outline)[1]

    def load(self, dtype: torch.dtype | None = None) -> "PreTrainedModel":
        """The model with its weights, in the device's type unless another is asked for.

        Raises:
            ModelError: The tokenizer knows more tokens than the embedding.
        """
        device = Device(self.device.name, dtype or self.device.dtype)
        model = load_model(self.path, device, revision=self.revision)
        if model.get_input_embeddings().weight.shape[0] < len(self.tokenizer):
            raise ModelError(
                f"The tokenizer at {self.path} has {len(self.tokenizer):,} tokens, more than "
                "the model's embedding; they belong to different models."
            )
        return model

    def load_trainable(self, training: ExpertTrainingConfig, seed: int) -> "PreTrainedModel":
        """The model ready to be trained: float32 throughout, or frozen with LoRA factors beside.

        Raises:
            ModelError: LoRA does not fit it.
        """
        if training.method == "full":
            return self.load(torch.float32)
        from peft import LoraConfig, get_peft_model

        lora = training.lora
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=lora.target_modules,
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                return get_peft_model(self.load(), config)
            except ValueError as error:
                raise ModelError(
                    f"LoRA does not fit this base ({str(error).splitlines()[0]}); mend "
                    "training.lora.target_modules."
                ) from None
