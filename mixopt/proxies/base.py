"""The base: what every expert starts from, and what stands for it in the keys of what comes of it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mixopt.errors import ModelError
from mixopt.proxies.experts import Layout
from mixopt.proxies.models import (
    Device,
    check_context,
    count_parameters,
    find_folder,
    load_config,
    load_model,
)
from mixopt.proxies.sources import hash_file
from mixopt.recipe import ExpertTraining

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


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

    @cached_property
    def key(self) -> str:
        """What stands for it in the keys of everything made from it."""
        if self.name is not None:
            return self.name
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

    @cached_property
    def folder(self) -> Path:
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

    def load_trainable(self, training: ExpertTraining, seed: int) -> "PreTrainedModel":
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
