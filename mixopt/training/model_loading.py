"""The base: a small model built from a recipe, a local folder, or a hub id."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mixopt.config.training import BuiltBaseConfig, PretrainedBaseConfig
from mixopt.errors import ModelError
from mixopt.training.device import Device

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def build_model(
    recipe: BuiltBaseConfig, tokenizer: "PreTrainedTokenizerBase", seed: int
) -> "PreTrainedModel":
    """A model of the recipe's architecture with random weights drawn from `seed`.

    Raises:
        ModelError: transformers does not know the architecture, or refuses its configuration.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    fields: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": None} | special
    try:
        config = AutoConfig.for_model(recipe.architecture, **(fields | recipe.config))
        check_context(config, recipe.context)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"base: transformers cannot build a {recipe.architecture!r} from base.config "
            f"({str(error).splitlines()[0]}); mend its fields."
        ) from None
    return model


def load_model(
    path: str | Path, device: Device, *, revision: str | None = None
) -> "PreTrainedModel":
    """The causal language model at `path` (a folder or a hub id), from safetensors alone.

    Raises:
        ModelError: There is no such model, or its weights are not safetensors.
    """
    from transformers import AutoModelForCausalLM

    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=device.dtype,
            use_safetensors=True,
            trust_remote_code=False,
            revision=revision,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model at {path} cannot be loaded ({str(error).strip().splitlines()[0]}); give a "
            "folder with config.json and safetensors weights, or a hub id."
        ) from None
    lacking = sorted(loaded["missing_keys"])
    if lacking:  # transformers would draw them at random, differently each time
        raise ModelError(
            f"The model at {path} lacks weights for {lacking[0]} ({len(lacking)} in all); save it "
            "whole, with its language-model head."
        )
    placed: PreTrainedModel = model.to(device.name)
    return placed


def find_folder(path: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a model: the one given, or where a hub's copy lies on this machine.

    Raises:
        ModelError: There is no such folder and no such model on the hub.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(str(path), revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"The model at {path} cannot be found ({str(error).strip().splitlines()[0]}); give a "
            "folder with config.json and safetensors weights, or a hub id."
        ) from None


def load_config(path: str | Path, *, revision: str | None = None) -> "PretrainedConfig":
    """The configuration of the model at `path`.

    Raises:
        ModelError: There is none.
    """
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The base at {path} has no configuration that transformers can read "
            f"({str(error).strip().splitlines()[0]}); give a model folder or a hub id."
        ) from None
    return config


def check_context(config: "PretrainedConfig", context: int) -> None:
    """Raises `ModelError` where sequences would be longer than the model has positions for."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is not None and context > most:
        raise ModelError(
            f"base.context is {context:,}, but the model has positions for {most:,}; lower "
            "base.context."
        )


def resolve_dtype(recipe: PretrainedBaseConfig | BuiltBaseConfig) -> str:
    """The type a base is loaded in: what the recipe says, or what its checkpoint says."""
    if isinstance(recipe, BuiltBaseConfig):
        return "float32"
    if recipe.dtype != "auto":
        return recipe.dtype
    told = load_config(recipe.path, revision=recipe.revision).get_text_config().dtype
    return "bfloat16" if str(told).endswith("bfloat16") else "float32"


def count_parameters(model: "PreTrainedModel") -> tuple[int, int]:
    """All parameters (tied ones once), and those outside the embeddings."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = {
        id(module.weight): module.weight.numel()  # tied ones are one object, on any device
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
    }
    return total, total - sum(embeddings.values())
