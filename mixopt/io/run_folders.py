"""Folders of training runs, which may hold models only inside their checkpoints."""

import re
from pathlib import Path

CHECKPOINT = re.compile(r"(?:checkpoint|ckpt|global_step|step|iter|epoch)[-_]?(\d+)")
"""Names of the checkpoints of a run; transformers writes `checkpoint-100`."""
MODEL_FILES = ("config.json", "adapter_config.json", "*.safetensors", "*.bin", "*.gguf")
"""Files of a model or an adapter; a folder with any of them is taken as it is."""


def find_model_folder(folder: Path) -> Path:
    """Return the folder of a model: `folder`, or its last checkpoint where only those hold models.

    Trainers write `checkpoint-100`, `checkpoint-200`, ... into the folder of a run, and a model beside
    them only if they are told to.

    Args:
        folder: Folder of a model or of a run.

    Returns:
        `folder`, or the `checkpoint-N` in it with the largest N that holds a model.
    """
    if not folder.is_dir() or _has_model(folder):
        return folder
    found = {
        int(match[1]): place
        for place in folder.iterdir()
        if (match := CHECKPOINT.fullmatch(place.name)) and place.is_dir() and _has_model(place)
    }
    return found[max(found)] if found else folder


def _has_model(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in MODEL_FILES)
