"""Where the weights of a given base and of given experts are: checkpoints in folders, or GGUF files."""

import logging
from pathlib import Path
from typing import Any

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig, ExpertConfig
from mixopt.io.run_folders import find_model_folder

log = logging.getLogger(__name__)


def find_given_models(config: StudyConfig, cache: ArtifactStore) -> StudyConfig:
    """Return the config with paths of folders that hold weights.

    A base's folder of checkpoints stands for its last one, and a GGUF file for its weights in float32.

    Args:
        config: The study's.
        cache: Store that keeps what is made of GGUF files.

    Raises:
        MissingArtifactError: A model is a GGUF file that has not been read, and `cache` is read-only.
        MissingExtraError: A model is a GGUF file, and the package that reads it is not installed.
        ModelError: A GGUF file cannot be read, or a folder holds several.
    """
    base = config.base
    if isinstance(base, BuiltBaseConfig):
        return config
    changes: dict[str, Any] = {}
    folder = find_model_folder(Path(base.path))
    if folder != Path(base.path):
        log.warning(
            "%s holds checkpoints only; its last one, %s, is the base.", base.path, folder.name
        )
    folder = _dequantized(folder, cache, "The base")
    if folder != Path(base.path):
        changes["base"] = base.model_copy(update={"path": str(folder)})
    experts = [_find_expert(expert, cache) for expert in config.experts]
    if experts != config.experts:
        changes["experts"] = experts
    return config.model_copy(update=changes) if changes else config


def _find_expert(expert: ExpertConfig, cache: ArtifactStore) -> ExpertConfig:
    if expert.checkpoint is None:
        return expert
    given = Path(expert.checkpoint)
    found = _dequantized(given, cache, f"Expert {expert.domain!r}")
    return expert if found == given else expert.model_copy(update={"checkpoint": str(found)})


def _dequantized(place: Path, cache: ArtifactStore, what: str) -> Path:
    if place.suffix != ".gguf" and not place.is_dir():
        return place
    from mixopt.merging.gguf import dequantize, find_gguf

    file = find_gguf(place)
    return place if file is None else dequantize(file, cache, what)
