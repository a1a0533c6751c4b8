"""Input files copied into the artifact store, for workers that do not see the driver's disk."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mixopt.artifacts.artifact import Artifact, hash_file_content
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.config.text import FilesTextConfig
from mixopt.errors import DataError

KIND = "inputs"
MARK = "unit:"
"""Prefix of a path inside an artifact: `unit:NAME-HASH/FILE`."""
STAGED = re.compile(r"unit:([A-Za-z0-9_-]+)/(.*)")


def stage(config: StudyConfig, store: ArtifactStore) -> StudyConfig:
    """Return the config with every file that workers read copied into `store`.

    These are benchmark items, the base and given experts; workers read corpora, not training text.
    """
    plain = config.model_dump(mode="json")

    def put(path: str) -> str:
        return _put(Path(path), store)

    if plain["base"]["kind"] == "pretrained" and Path(plain["base"]["path"]).is_dir():
        plain["base"]["path"] = put(plain["base"]["path"])
    for expert in plain["experts"]:
        if expert["checkpoint"] is not None:
            expert["checkpoint"] = put(expert["checkpoint"])
    for benchmark, parsed in zip(plain["benchmarks"], config.benchmarks, strict=True):
        for name in ("items", "examples", "include_path"):
            value = benchmark.get(name)
            if isinstance(value, str) and not value.startswith("machine:"):
                benchmark[name] = put(value)
        text = getattr(parsed, "text", None)
        if isinstance(text, FilesTextConfig):
            benchmark["text"]["paths"] = _put_text(text, put)
        elif text is not None and text.kind == "huggingface" and Path(text.path).is_dir():
            benchmark["text"]["path"] = put(text.path)
    return StudyConfig.model_validate(plain)


def unstage(config: StudyConfig, store: ArtifactStore) -> StudyConfig:
    """Return the config with the paths of its files in `store` on this machine."""

    def place(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: place(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [place(inner) for inner in value]
        found = STAGED.fullmatch(value) if isinstance(value, str) else None
        if found is None or ".." in Path(found[2]).parts:
            return value
        return str(store.open(f"{KIND}/{found[1]}") / found[2])

    return StudyConfig.model_validate(place(config.model_dump(mode="json")))


def _put_text(text: FilesTextConfig, put: Callable[[str], str]) -> list[str]:
    from mixopt.data.sources import list_files

    return [put(str(file)) for file in list_files(text)]


def _put(path: Path, store: ArtifactStore) -> str:
    if not path.exists():
        raise DataError(f"{path} does not exist; fix the path.")
    key = {"content": [[name, hash_file_content(file)] for name, file in _list(path)]}
    stem = re.sub(r"[^A-Za-z0-9_]", "_", path.name)[:40]

    def build(scratch: Path) -> None:
        for name, file in _list(path):
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(file, target)

    folder = store.get_or_build(Artifact(KIND, stem, key), build)
    return f"{MARK}{folder.name}/" + ("" if path.is_dir() else path.name)


def _list(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(path)), file


def _link_or_copy(file: Path, target: Path) -> None:
    # a model may have many gigabytes: a second name costs nothing on the same disk
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)
