"""Configuration and tokenizer of a merge on disk."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from mixopt.errors import ModelError, one_line
from mixopt.io.files import write_text
from mixopt.io.parsing import load_json

log = logging.getLogger(__name__)

WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".msgpack", ".h5", ".index.json", ".gguf")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja",
)  # fmt: skip
CHAT_TEMPLATES = "additional_chat_templates"
"""Folder of further chat templates, by their names, beside `chat_template.jinja`."""


def copy_model_files(
    base: Path,
    out: Path,
    *,
    dtype: str | None = None,
    untied: bool = False,
    rows: int | None = None,
) -> None:
    """Copy everything but weights from the base, and change its configuration where the merge differs.

    Args:
        base: Folder of the base.
        out: Folder of the merge.
        dtype: Type of the merge, if another.
        untied: Whether the merge has output embeddings of its own, and the base has not.
        rows: Size of the vocabulary, if another.

    Raises:
        ModelError: The configuration has to be changed and cannot be read.
    """
    for file in sorted(base.iterdir()):
        if file.is_file() and not file.name.endswith(WEIGHT_FILES):
            shutil.copyfile(file, out / file.name)
    _copy_chat_templates(base, out)
    if dtype is None and not untied and rows is None:
        return
    config = _read_config(out)
    inner = config.get("text_config")
    parts = [config, inner] if isinstance(inner, dict) else [config]
    if dtype is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = dtype
    if untied:
        for part in parts:
            part["tie_word_embeddings"] = False
    if rows is not None:
        for part in parts:
            if part is inner or "vocab_size" in part:
                part["vocab_size"] = rows
    write_text(out / "config.json", json.dumps(config, indent=2) + "\n")


def copy_tokenizer(expert: Path, rows: int, out: Path) -> None:
    """Replace the base's tokenizer by that of the expert that has all rows of the vocabulary.

    Args:
        expert: Folder of the expert.
        rows: Size of the vocabulary.
        out: Folder of the merge.
    """
    files = [expert / name for name in TOKENIZER_FILES if (expert / name).is_file()]
    if not files:
        log.warning("%s has no tokenizer: the merge has %s rows, and the base's tokenizer.",
                    expert, f"{rows:,}")  # fmt: skip
        return
    log.warning("The merge has the %s rows and the tokenizer of %s.", f"{rows:,}", expert)
    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
    for file in files:
        shutil.copyfile(file, out / file.name)
    shutil.rmtree(out / CHAT_TEMPLATES, ignore_errors=True)
    _copy_chat_templates(expert, out)


def _copy_chat_templates(model: Path, out: Path) -> None:
    if (model / CHAT_TEMPLATES).is_dir():
        shutil.copytree(model / CHAT_TEMPLATES, out / CHAT_TEMPLATES, dirs_exist_ok=True)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = load_json((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it is not an object")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{folder / 'config.json'} cannot be read ({one_line(error)}); fix it, or leave out dtype."
        ) from None
    return config
