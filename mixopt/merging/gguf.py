"""Models in GGUF files, the format of llama.cpp: their weights are dequantized once.

A GGUF file holds weights for inference, most of them quantized to 2 to 8 bits. They are dequantized to
float32 and kept as safetensors; what quantization has lost stays lost.
"""

import logging
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, one_line, require_extra
from mixopt.io.content_hash import hash_content
from mixopt.training.model_loading import is_out_of_memory

log = logging.getLogger(__name__)

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
        MissingExtraError: The package `gguf` is not installed.
        ModelError: transformers cannot read the file.
    """
    artifact = Artifact("dequantized", file.stem, {"gguf": hash_content(file), "type": "float32"})
    if store.find(artifact) is None:
        require_extra("gguf")
        log.warning(
            "%s at %s is a GGUF file; it is read as float32, with the rounding errors of its codes. "
            "Where there is the checkpoint that it was made from, use that.", what, file
        )  # fmt: skip

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
        try:
            with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off
                model = AutoModelForCausalLM.from_pretrained(
                    **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
                )
            tokenizer = AutoTokenizer.from_pretrained(**source)
        except Exception as error:  # transformers raises errors of many classes for a damaged file
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"{what} at {file} is a GGUF file that transformers cannot read "
                f"({type(error).__name__}: {one_line(error)}); use the checkpoint of safetensors files "
                "that it was made from."
            ) from None
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return store.get_or_build(artifact, build)
