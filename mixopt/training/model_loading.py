"""Causal language models built from a config, or loaded from a folder or the hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from mixopt.config.training import BuiltBaseConfig, PretrainedBaseConfig
from mixopt.errors import ModelError
from mixopt.training.device import Device
from mixopt.training.tensor_names import strip_wrappers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

REMEDY = "give a folder with config.json and safetensors weights, or a hub id."


def build_model(
    config: BuiltBaseConfig, tokenizer: "PreTrainedTokenizerBase", seed: int
) -> "PreTrainedModel":
    """Build a model of the config's architecture with random weights.

    Args:
        config: Architecture and its fields.
        tokenizer: Sets vocabulary and special tokens.
        seed: Seed of the weights; the global random state is left as it was.

    Returns:
        The model in float32 on the CPU.

    Raises:
        ModelError: transformers refuses architecture or configuration, or the context is too long.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    fields: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": None} | special
    try:
        built = AutoConfig.for_model(config.architecture, **(fields | config.config))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(built, dtype=torch.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"base: transformers cannot build a {config.architecture!r} from base.config "
            f"({_reason(error)}); fix its fields."
        ) from None
    check_context(built, config.context)
    return model


def load_model(
    path: str | Path, device: Device, *, revision: str | None = None
) -> "PreTrainedModel":
    """Load a causal language model, from safetensors only.

    Args:
        path: Folder or hub id.
        device: Device and type of the parameters.
        revision: Revision of a hub id.

    Returns:
        The model on the device.

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
            key_mapping=_wrapper_patterns(Path(path)),
        )
    except Exception as error:  # transformers raises errors of many classes for a damaged model
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"The model at {path} cannot be loaded ({_reason(error)}); {REMEDY}"
        ) from None
    missing = sorted(loaded["missing_keys"])
    if missing:  # transformers would initialize them at random
        raise ModelError(
            f"The model at {path} lacks weights for {missing[0]} ({len(missing)} in all); save it "
            "whole, with its language-model head."
        )
    placed: PreTrainedModel = model.to(device.name)
    return placed


def _wrapper_patterns(folder: Path) -> dict[str, str] | None:
    """Return patterns of the prefixes that wrappers left in a folder's tensor names, if any."""
    names: list[str] = []
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        with safe_open(file, framework="pt") as handle:
            names += handle.keys()
    stored = strip_wrappers(names, folder)
    if all(name == plain for plain, name in stored.items()):
        return None
    return {f"^{re.escape(name)}$": plain for plain, name in stored.items() if name != plain}


def find_folder(path: str | Path, *, revision: str | None = None) -> Path:
    """Find the folder of a model; a hub id is downloaded if necessary.

    Args:
        path: Folder or hub id.
        revision: Revision of a hub id.

    Returns:
        Folder of config, weights and tokenizer.

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
            f"The model at {path} cannot be found ({_reason(error)}); {REMEDY}"
        ) from None


def load_config(path: str | Path, *, revision: str | None = None) -> "PretrainedConfig":
    """Read the configuration of a model, without its weights.

    Args:
        path: Folder or hub id.
        revision: Revision of a hub id.

    Raises:
        ModelError: There is none.
    """
    from transformers import AutoConfig

    read = AutoConfig.from_pretrained
    try:
        config: PretrainedConfig = read(path, revision=revision, trust_remote_code=False)
    except Exception as error:  # huggingface_hub validates fields with classes of its own
        raise ModelError(
            f"The base at {path} has no configuration that transformers can read "
            f"({_reason(error)}); give a model folder or a hub id."
        ) from None
    return config


def is_out_of_memory(error: Exception) -> bool:
    """Return whether this machine, and not the input, is the reason of an error of torch."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, OSError | ValueError) and lines:
        return lines[0]
    if "ignore_mismatched_sizes" in str(error):  # the cause is in a report that transformers logs
        return "weights have other shapes than config.json says"
    return " ".join([f"{type(error).__name__}:", *lines[:2]])


def check_context(config: "PretrainedConfig", context: int) -> None:
    """Check that a model has enough positions.

    Args:
        config: Configuration of the model.
        context: Tokens per sequence.

    Raises:
        ModelError: `context` exceeds the model's number of positions.
    """
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is not None and context > most:
        raise ModelError(
            f"base.context is {context:,}, but the model has positions for {most:,}; lower "
            "base.context."
        )


def resolve_dtype(config: PretrainedBaseConfig | BuiltBaseConfig) -> str:
    """Return the type that a base is loaded in.

    Args:
        config: Of the base; with `dtype: auto`, the type of the checkpoint decides.

    Returns:
        `float32` or `bfloat16`.
    """
    if isinstance(config, BuiltBaseConfig):
        return "float32"
    return find_dtype(config.path, config.revision) if config.dtype == "auto" else config.dtype


def find_dtype(path: str, revision: str | None) -> str:
    """Return `bfloat16` where a model is stored so, else `float32`.

    Args:
        path: Folder or hub id.
        revision: Revision of a hub id.
    """
    stored = load_config(path, revision=revision).get_text_config().dtype
    return "bfloat16" if str(stored).endswith("bfloat16") else "float32"


def build_on_meta(open_model: Callable[[], "PreTrainedModel"]) -> "PreTrainedModel":
    """Return a model on the meta device, without memory for its weights.

    Args:
        open_model: Builds the model; called on the meta device.
    """
    with torch.device("meta"):
        return open_model()


def count_parameters(model: "PreTrainedModel") -> tuple[int, int]:
    """Count a model's parameters; tied ones count once.

    Args:
        model: A model on any device, the meta device included.

    Returns:
        All parameters, and those outside the embeddings.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = {
        id(module.weight): module.weight.numel()  # tied ones are one object, on any device
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
    }
    return total, total - sum(embeddings.values())
