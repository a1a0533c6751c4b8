"""The documents of buckets as files of JSON lines, which a trainer reads."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mixopt.config.buckets import BucketConfig
from mixopt.data.document import Document
from mixopt.data.sources import read_documents
from mixopt.data.study_corpora import StudyCorpora
from mixopt.data.text_split import BATCH, assign, make_measure
from mixopt.errors import ConfigError
from mixopt.io.files import storage_errors
from mixopt.io.progress import Work
from mixopt.mixture import HIERARCHY_MARK


@dataclass
class BucketFile:
    """A file with the documents of a bucket.

    Attributes:
        path: `FOLDER/GROUP/BUCKET.jsonl`; each line has `text`.
        documents: Number of documents.
    """

    path: Path
    documents: int = 0


def write_buckets(corpora: StudyCorpora, folder: Path) -> dict[str, BucketFile]:
    """Write all documents of every bucket, also those outside of the sample that the study read.

    Args:
        corpora: Of a study whose texts have been split.
        folder: Where to write; a file appears when it is whole.

    Returns:
        The files by domain; none where no text is split.

    Raises:
        MissingArtifactError: A text has not been split.
        DataError: A document beyond the sample has no value.
        ConfigError: Two texts would have one folder.
        StorageError: The disk is full, or the folder cannot be written.
    """
    groups: dict[str, dict[int, str]] = {}
    for domain, bucket in corpora.buckets.items():
        groups.setdefault(bucket.group, {})[bucket.index] = domain
    places: dict[str, str] = {}
    for group in groups:
        other = places.setdefault(_folder_name(group), group)
        if other != group:
            raise ConfigError(
                f"The buckets of {other!r} and {group!r} would be written to one folder, "
                f"{_folder_name(group)}; rename one of the domains."
            )
    files: dict[str, BucketFile] = {}
    for group, domains in groups.items():
        with storage_errors(folder / _folder_name(group)):
            files |= _write_group(corpora, group, domains, folder)
    return files


def _folder_name(group: str) -> str:
    return group.replace("/", "_").replace(HIERARCHY_MARK, "_")


def _write_group(
    corpora: StudyCorpora, group: str, domains: Mapping[int, str], folder: Path
) -> dict[str, BucketFile]:
    place = folder / _folder_name(group)
    place.mkdir(parents=True, exist_ok=True)
    names = {domain: domain.removeprefix(group + HIERARCHY_MARK) for domain in domains.values()}
    files = {
        d: BucketFile(place / f"{'kept' if n == group else n}.jsonl") for d, n in names.items()
    }
    unfinished = {d: file.path.with_suffix(".unfinished") for d, file in files.items()}
    bucket = corpora.buckets[domains[min(domains)]]
    with ExitStack() as stack, Work(f"writing {group}", unit="document") as work:
        streams = {d: stack.enter_context(path.open("w", encoding="utf-8"))
                   for d, path in unfinished.items()}  # fmt: skip
        for index, document in _assign_all(corpora, bucket):
            work.advance()
            if index in domains:
                domain = domains[index]
                streams[domain].write(
                    json.dumps({"text": document.text}, ensure_ascii=False) + "\n"
                )
                files[domain].documents += 1
    for domain, path in unfinished.items():
        os.replace(path, files[domain].path)
    return files


def _assign_all(corpora: StudyCorpora, bucket: BucketConfig) -> Iterator[tuple[int, Document]]:
    """Yield all documents of a split text, each with its bucket."""
    group, split = bucket.group, corpora.open_split(bucket)
    sample = corpora.samples.get(group)
    if sample is None or sample.tokens is None:
        yield from zip(split.buckets.tolist(), corpora.read_counted(group), strict=True)
        return
    measure = make_measure(bucket.split, group, corpora.models)
    rest = (document for document in read_documents(corpora.sources[group]) if document.text)
    while batch := list(islice(rest, BATCH)):
        numbers, _ = assign(list(measure(batch)), bucket.split, group, split.edges)
        yield from zip(numbers.tolist(), batch, strict=True)
