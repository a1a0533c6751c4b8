"""Assembling: a base and experts from folders, in whatever names, into an engine that merges them."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from mixopt.artifacts.store import ArtifactStore
from mixopt.data.sources import hash_file
from mixopt.evaluation.engine import Engine, open_engine
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import warn_if_unrelated
from mixopt.merging.tensor_names import holds_names_of, save_renamed
from mixopt.training.base_model import Base

EXPERT_FILES = ("*.safetensors", "*.bin", "adapter_config.json")


def assemble(
    base: Base,
    experts: Mapping[Path, bool | None],
    store: ArtifactStore,
    *,
    scoring: Literal["auto", "resident", "streamed"],
    memory_bytes: int | None,
) -> Engine:
    """The engine that merges `experts` into `base`, told of each that may not come from it.

    Args:
        base: What they were trained from.
        experts: By folder: None for our own; else whether pickled weights may be loaded.
        store: Where checkpoints are kept whose tensors had to be renamed.
        scoring: As in the recipe.
        memory_bytes: What may be held in memory; measured if left out.
    """
    opened = [
        open_expert(_in_memory_names(folder, base, store), allow_pickle=bool(pickled))
        for folder, pickled in experts.items()
    ]
    folder = base.find_folder()
    if scoring != "resident":
        folder = _in_memory_names(folder, base, store)
    engine = open_engine(
        folder, opened, base.device, base.load, scoring=scoring, memory_bytes=memory_bytes
    )
    for (expert, given), size in zip(experts.items(), engine.step_sizes(), strict=True):
        if given is not None:  # our own come from this base
            warn_if_unrelated(str(expert), size)
    return engine


def _in_memory_names(folder: Path, base: Base, store: ArtifactStore) -> Path:
    """`folder`, or a copy with its tensors called as in memory; adapters stay as they are."""
    if (folder / "adapter_config.json").is_file() or not (folder / "config.json").is_file():
        return folder
    has_safetensors = any(folder.glob("*.safetensors"))
    if not has_safetensors or holds_names_of(Checkpoint(folder), base.layout):
        return folder
    key = {"files": [hash_file(file) for file in sorted(folder.glob("*.safetensors"))]}
    return store.make("renamed", folder.name, key, partial(save_renamed, folder))


def hash_expert(folder: Path) -> str:
    """A digest of an expert's weights, which stands for it wherever it lies."""
    files = sorted(file for pattern in EXPERT_FILES for file in folder.glob(pattern))
    told = " ".join(hash_file(file) for file in files)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
