"""The base model that experts are trained from, and its artifact key."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mixopt.config.training import ExpertTrainingConfig
from mixopt.data.text_files import hash_file
from mixopt.errors import ModelError, one_line
from mixopt.training.device import Device
from mixopt.training.lora import add_factors, warn_of_frozen_experts
from mixopt.training.model_loading import (
    check_context,
    count_parameters,
    find_folder,
    load_config,
    load_model,
)
from mixopt.training.tensor_names import WRAPPERS

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


UNSTABLE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")
"""Fields of config.json that the version of transformers, or the place of the model, decides."""


@dataclass(frozen=True)
class Layout:
    """Which tensors of a model are merged.

    Attributes:
        shapes: Shape of each parameter and stored floating buffer, by name; tied tensors once.
        tied: Name under which a tied tensor is merged, by each of its other names.
        kept: Names of stored tensors that are not merged (counters, masks).
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    kept: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "Layout":
        """Return the layout of a model in memory or on the meta device."""
        tensors = mergeable(model)
        names = {id(tensor): name for name, tensor in tensors.items()}
        aliases = dict(model.named_parameters(remove_duplicate=False))
        tied = {n: names[id(p)] for n, p in aliases.items() if id(p) in names and n not in tensors}
        kept = frozenset(set(model.state_dict()) - set(tensors) - set(tied))
        return cls({name: tuple(tensor.shape) for name, tensor in tensors.items()}, tied, kept)


def mergeable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a model that can be merged.

    Args:
        model: In memory or on the meta device; its layers may be wrapped.

    Returns:
        Parameters and stored floating buffers (such as router biases), tied ones once, by their names in
        the model without wrappers.
    """
    tensors: dict[str, torch.Tensor] = _strip(model.named_parameters())
    # some wrappers strip themselves from these names alone
    stored = _strip(model.state_dict(keep_vars=True).items())
    buffers = {name: b for name, b in _strip(model.named_buffers()).items() if name in stored}
    return tensors | {name: b for name, b in buffers.items() if b.is_floating_point()}


def _strip(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {WRAPPERS.sub("", name): tensor for name, tensor in named}


def describe_config_file(file: Path) -> str:
    """Return what a configuration says of the model, without fields that depend on who saved it.

    Args:
        file: The `config.json` of a model.
    """

    def drop(fields: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in fields.items() if name not in UNSTABLE}

    return json.dumps(
        json.loads(file.read_text(encoding="utf-8"), object_hook=drop), sort_keys=True
    )


def _has_rows(rows: int, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Return whether an embedding has a row for each token of text.

    Of a model without its family's encoder of images the tokenizer keeps the special tokens of images
    (Gemma 3 1B: 262,145 tokens and 262,144 rows).
    """
    if len(tokenizer) <= rows:
        return True
    special = {n for n, token in tokenizer.added_tokens_decoder.items() if token.special}
    return all(n < rows or n in special for n in tokenizer.get_vocab().values())


@dataclass(frozen=True, eq=False)
class Base:
    """A causal language model in a folder or on the hub.

    Attributes:
        path: Folder or hub id.
        context: Tokens per sequence, in training and in scoring.
        device: Device that it is loaded on.
        tokenizer: Its tokenizer.
        revision: Revision of a hub id.
        name: Its key, where it was trained here or is known from another process.
    """

    path: str
    context: int
    device: Device
    tokenizer: "PreTrainedTokenizerBase"
    revision: str | None = None
    name: str | None = None

    def compute_key(self) -> str:
        """Return its identity in artifact keys; the weights of a given folder are hashed once."""
        return self._hash if self.name is None else self.name

    @cached_property
    def _hash(self) -> str:
        config = self.config  # refused here where transformers cannot read it
        files = sorted(Path(self.path).glob("*.safetensors"))
        if files:  # a folder, identified by its content and not by its path
            identity = describe_config_file(Path(self.path) / "config.json")
            identity += " ".join(hash_file(file) for file in files)
        else:  # a hub id, identified by its commit
            identity = f"{self.path} {getattr(config, '_commit_hash', None) or self.revision}"
        return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()

    @cached_property
    def config(self) -> "PretrainedConfig":
        """The configuration, read on first use.

        Raises:
            ModelError: It cannot be read, or the model has fewer than `context` positions.
        """
        config = load_config(self.path, revision=self.revision)
        check_context(config, self.context)
        return config

    def find_folder(self) -> Path:
        """Return the folder of its files, downloaded from the hub if necessary."""
        return find_folder(self.path, revision=self.revision)

    @cached_property
    def outline(self) -> "PreTrainedModel":
        """The model on the meta device, without weights.

        Raises:
            ModelError: transformers cannot build it from its configuration.
        """
        return self._build_outline()

    def _build_outline(self) -> "PreTrainedModel":
        from transformers import AutoModelForCausalLM

        config = self.config
        try:
            with torch.device("meta"):
                model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        except Exception as error:  # transformers raises errors of many classes
            raise ModelError(
                f"The base at {self.path} cannot be built from its configuration "
                f"({type(error).__name__}: {one_line(error)}); fix its config.json."
            ) from None
        return model

    @cached_property
    def layout(self) -> Layout:
        """Which of its tensors are merged."""
        return Layout.of(self.outline)

    @cached_property
    def parameters(self) -> int:
        """Number of parameters outside the embeddings; the weights are not loaded."""
        return count_parameters(self.outline)[1]

    @cached_property
    def all_parameters(self) -> int:
        """Number of parameters, embeddings included; the weights are not loaded."""
        return count_parameters(self.outline)[0]

    def load(self, dtype: torch.dtype | None = None) -> "PreTrainedModel":
        """Load the model, in the device's type unless `dtype` is given.

        Raises:
            ModelError: It cannot be loaded, or the tokenizer has more tokens than the embedding, special
                ones apart.
        """
        device = Device(self.device.name, dtype or self.device.dtype)
        model = load_model(self.path, device, revision=self.revision)
        if not _has_rows(model.get_input_embeddings().weight.shape[0], self.tokenizer):
            raise ModelError(
                f"The tokenizer at {self.path} has {len(self.tokenizer):,} tokens, more than "
                "the model's embedding; they belong to different models."
            )
        return model

    def load_trainable(self, training: ExpertTrainingConfig, seed: int) -> "PreTrainedModel":
        """Load the model for training: all in float32, or frozen with LoRA factors.

        Args:
            training: Method and, for LoRA, rank, alpha and target modules.
            seed: Seed of the LoRA factors.

        Raises:
            ModelError: LoRA does not fit the model.
        """
        if training.method == "full":
            return self.load(torch.float32)
        return add_factors(self.load(), training.lora, seed)

    def check_trainable(self, training: ExpertTrainingConfig) -> None:
        """Check on the meta device that LoRA fits the model, where it is the method of training.

        Args:
            training: Method and, for LoRA, rank, alpha and target modules.

        Raises:
            ModelError: LoRA does not fit the model.
        """
        if training.method == "lora":
            warn_of_frozen_experts(add_factors(self._build_outline(), training.lora, seed=0))
