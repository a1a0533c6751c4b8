"""Models in GGUF files, the format of llama.cpp: their weights are dequantized once.

A GGUF file holds weights for inference, most of them quantized to 2 to 8 bits. They are dequantized to
float32 and kept as safetensors; what quantization has lost stays lost.
"""

import logging
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, one_line, require_extra
from mixopt.io.content_hash import hash_content
from mixopt.training.model_loading import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PretrainedConfig

log = logging.getLogger(__name__)

READER = 2
"""Raised where a file is read into other weights than before, so that what is kept is made again."""
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Weights that transformers reads; a GGUF file beside them is left alone."""


def find_gguf(place: Path) -> Path | None:
    """Find the GGUF file that holds a model.

    Args:
        place: A file, or the folder of a model.

    Returns:
        The file; None where `place` is no GGUF file and no folder that holds one and no other weights.

    Raises:
        ModelError: The folder holds several, or the file does not exist.
    """
    if place.suffix == ".gguf":
        if not place.is_file():
            raise ModelError(f"{place} does not exist; correct the path of the GGUF file.")
        return place
    if not place.is_dir() or any(any(place.glob(pattern)) for pattern in WEIGHTS):
        return None
    files = sorted(place.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(
            f"{place} holds {len(files)} GGUF files; give the path of one, such as {files[0].name}."
        )
    return files[0] if files else None


def dequantize(file: Path, store: ArtifactStore, what: str) -> Path:
    """Return a folder with the model of a GGUF file in float32, and its tokenizer.

    Args:
        file: A GGUF file with a whole causal language model.
        store: Where the folder is kept; it is made once for each content.
        what: What it is, for messages (`The base`).

    Returns:
        Folder with `config.json`, safetensors and a tokenizer.

    Raises:
        MissingArtifactError: It has not been made, and the store is read-only.
        MissingExtraError: The package `gguf` is not installed.
        ModelError: transformers cannot read the file.
    """
    key = {"gguf": hash_content(file), "type": "float32", "reader": READER}
    artifact = Artifact("dequantized", file.stem, key)
    if store.find(artifact) is None and not store.read_only:
        require_extra("gguf")
        log.warning(
            "%s at %s is a GGUF file; it is read as float32, with the rounding errors of its codes. "
            "Where there is the checkpoint that it was made from, use that.", what, file
        )  # fmt: skip

    remedy = "use the checkpoint of safetensors files that it was made from."

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
        try:
            with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off
                model, loaded = AutoModelForCausalLM.from_pretrained(
                    **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True),
                    output_loading_info=True,
                )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(**source)
            scales = _scales_positions(file)
        except Exception as error:  # transformers raises errors of many classes for a damaged file
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"{what} at {file} is a GGUF file that transformers cannot read "
                f"({type(error).__name__}: {one_line(error)}); {remedy}"
            ) from None
        missing = sorted(loaded["missing_keys"])
        if missing:  # transformers initialized them at random
            raise ModelError(
                f"{what} at {file} is a GGUF file of an architecture that transformers does not read: "
                f"{missing[0]} and {len(missing) - 1} other weights are not found in it; {remedy}"
            )
        if scales and _has_plain_positions(model.config):
            raise ModelError(
                f"{what} at {file} is a GGUF file whose rotary positions are scaled, which transformers "
                f"does not read; {remedy}"
            )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return store.get_or_build(artifact, build)


def _scales_positions(file: Path) -> bool:
    """Return whether a GGUF file has factors or a rule that scale rotary positions."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    rules = [field for name, field in reader.fields.items() if name.endswith(".rope.scaling.type")]
    return any(field.contents() != "none" for field in rules) or any(
        tensor.name.startswith(("rope_freqs", "rope_factors")) for tensor in reader.tensors
    )


def _has_plain_positions(config: "PretrainedConfig") -> bool:
    """Return whether a configuration scales no rotary positions."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    by_layer_type = [each for each in parameters.values() if isinstance(each, dict)] or [parameters]
    return all(each.get("rope_type", "default") == "default" for each in by_layer_type)
