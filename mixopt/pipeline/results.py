"""Result files of a study, and the size of its domains."""

import json
from pathlib import Path
from typing import Any

import yaml

from mixopt.callbacks.base import DomainCount
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.study import StudyConfig
from mixopt.data.study_corpora import StudyCorpora
from mixopt.io.files import storage_errors, write_text
from mixopt.io.redaction import hide_in


def write_result(callbacks: CallbackList, name: str, text: str) -> None:
    """Write a result file atomically and report it; do nothing where the study has no output.

    A file that holds the text already keeps its time, by which `mixopt status` tells what is current.

    Args:
        callbacks: Callbacks of the study, which know its output folder.
        name: Name of the file in that folder.
        text: Content.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if callbacks.output is not None:
        path = callbacks.output / name
        if not _holds(path, text):
            write_text(path, text)
        callbacks.notify(lambda c: c.on_file_written(path))


def remove_result(callbacks: CallbackList, name: str) -> None:
    """Remove a result file that an earlier command wrote and this study does not have.

    Args:
        callbacks: Callbacks of the study, which know its output folder.
        name: Name of the file in that folder.

    Raises:
        StorageError: The folder cannot be written.
    """
    if callbacks.output is not None:
        path = callbacks.output / name
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:  # it is missing, or written again
        return False


def to_yaml(config: StudyConfig) -> str:
    """Return the resolved config as YAML that `load_study` reads; credentials are hidden."""
    return yaml.safe_dump(
        hide_in(config.model_dump(mode="json")), sort_keys=False, allow_unicode=True
    )


def to_json(plain: Any) -> str:
    """Return plain data, which may hold NumPy numbers, as JSON."""
    return json.dumps(plain, indent=2, default=float) + "\n"


def count_domains(config: StudyConfig, corpora: StudyCorpora) -> list[DomainCount]:
    """Return the tokens and documents of each domain, in the order of the experts.

    Args:
        config: The study's.
        corpora: Built, but for given experts without text.
    """
    counts = []
    for expert in config.experts:
        name = expert.domain
        available, corpus = corpora.available_tokens.get(name, 0), corpora.counts.get(name)
        if corpus is None:
            counts.append(DomainCount(name, 0, 0, available, "", "no text: a given expert"))
            continue
        content = corpus.folder.name.rsplit("-", 1)[-1]
        note = "generated" if getattr(expert.text, "name", "") == "arithmetic" else ""
        if corpus.available is not None:
            note = corpus.available.describe()
        size = corpus.tokens, corpus.documents
        counts.append(DomainCount(name, *size, available, content, note))
    return counts
