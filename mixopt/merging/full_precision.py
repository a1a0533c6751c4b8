"""Refuses quantized checkpoints: codes cannot be averaged, nor can scales without them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mixopt.errors import ModelError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.merging.checkpoint import (
    PICKLED,
    PICKLED_INDEX,
    Checkpoint,
    find_adapter,
    open_tensors,
)

FLOATS = ("F64", "F32", "F16", "BF16")
"""Types in safetensors that weights of full precision have."""
WIDE = ("I64", "U64", "BOOL", "C64")
"""Types of counters, `position_ids` and masks; codes have at most 32 bits."""
ENTRIES = ("quantization_config", "compression_config", "quantization")
"""Of transformers, of earlier compressed-tensors, and of MLX."""
METHODS = ("quant_method", "quantization_method", "quant_algo", "format", "bits")
"""Fields that name the method, the first that is there."""
OWN_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Files of AutoGPTQ, AutoAWQ and ModelOpt, which say it beside a plain `config.json`."""
DEEPEST = 3
"""Levels of parts in a configuration."""
MASK = re.compile(r"\.(attn|attention)\.(masked_)?bias$")
"""Causal masks that older GPT-2 and GPT-NeoX checkpoints store as 8-bit integers."""
REMEDY = (
    "use the bfloat16, float16 or float32 checkpoint that it was made from; where there is none, load "
    "it with transformers, call model.dequantize() (bitsandbytes), and save it."
)


def require_full_precision(folder: Path, what: str, *, allow_pickle: bool = False) -> None:
    """Check, from configuration and headers alone, that a model or adapter is not quantized.

    Args:
        folder: Folder of a model or of an adapter.
        what: What it is, for the message (`The base`).
        allow_pickle: Look into pickled weights where there are no safetensors.

    Raises:
        ModelError: Its `config.json` has a `quantization_config`, or its weights are integers or floats
            of 8 bits or less.
    """
    adapter = find_adapter(folder)
    if adapter is not None:  # a config.json beside it is the base's
        readable = adapter.suffix == ".safetensors" or allow_pickle
        tensors = _headers(adapter) if readable else iter(())
    else:
        require_unquantized(read_config(folder), f"{what} at {folder}")
        for name in OWN_FILES:
            if (folder / name).is_file():
                raise ModelError(f"{what} at {folder} is quantized (it has a {name}); {REMEDY}")
        tensors = _tensors(folder, allow_pickle)
    for name, dtype, shape in tensors:
        if _is_code(name, dtype, shape):
            raise ModelError(
                f"{what} at {folder} is quantized (tensor {show(name)} is {dtype}); {REMEDY}"
            )


def require_unquantized(config: Mapping[str, Any], what: str) -> None:
    """Check that a configuration names no quantization.

    Args:
        config: Content of `config.json`.
        what: Whose it is, for the message.

    Raises:
        ModelError: It has a `quantization_config`.
    """
    for name, entry in _entries(config):
        if entry:
            given = entry if isinstance(entry, Mapping) else {}
            method = next((given[key] for key in METHODS if key in given), None)
            raise ModelError(
                f"{what} is quantized (config.json has a {name}, method {show(method)}); {REMEDY}"
            )


def _entries(config: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield what a configuration says of quantization, also inside those of parts (`text_config`)."""
    for name, value in config.items():
        if name in ENTRIES and isinstance(value, Mapping):
            yield name, value
        elif isinstance(value, Mapping) and depth < DEEPEST:
            yield from _entries(value, depth + 1)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a model as it is, without transformers.

    Args:
        folder: Folder of the model.

    Returns:
        Its content; empty where there is none.

    Raises:
        ModelError: It is not a JSON object.
    """
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        config = load_json(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it is not an object")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{file} is no configuration that transformers can read ({one_line(error)}); give the "
            "folder of a model."
        ) from None
    return config


def _tensors(folder: Path, allow_pickle: bool) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        yield from _headers(file)
    pickled = any((folder / name).is_file() for name in (PICKLED, PICKLED_INDEX))
    if allow_pickle and pickled and not files:
        checkpoint = Checkpoint(folder, allow_pickle=True)
        for name in checkpoint.names:
            yield name, checkpoint.dtype_name(name), checkpoint.shape(name)


def _headers(file: Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    handle = open_tensors(file)
    for name in handle.keys():  # noqa: SIM118 - no mapping
        part = handle.get_slice(name)
        yield name, part.get_dtype(), tuple(part.get_shape())


def _is_code(name: str, dtype: str, shape: tuple[int, ...]) -> bool:
    if dtype in FLOATS or MASK.search(name):
        return False
    if dtype.startswith(("F", "torch.float")):  # 8 bits or less
        return True
    return name.endswith("weight") or (dtype not in WIDE and len(shape) > 1)
