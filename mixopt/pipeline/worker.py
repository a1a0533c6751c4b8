"""What a worker does with a study's jobs, on any machine, and how a study gets its workers."""

import gc
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mixopt.artifacts.artifact import JOBS_FOLDER, Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.baselines.base import OnlineTraining
from mixopt.config.benchmarks import BitsPerByteConfig
from mixopt.config.study import StudyConfig
from mixopt.config.text import FilesTextConfig, TokensTextConfig
from mixopt.data.heldout_text import is_large, read_heldout
from mixopt.data.study_corpora import StudyInputs
from mixopt.data.text_files import list_files
from mixopt.errors import DataError
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.item_sampling import SampledItems
from mixopt.executors.base import Executor, open_executor
from mixopt.executors.dispatcher import Dispatcher, LocalDispatcher
from mixopt.executors.job import Job, JobDispatcher
from mixopt.io.content_hash import hash_content
from mixopt.io.redaction import redact_output
from mixopt.io.run_folders import find_model_folder
from mixopt.mixture import Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.environment import RunEnvironment
from mixopt.pipeline.evaluators import open_evaluator
from mixopt.pipeline.mixture_runs import RunSpec, build_scored_run
from mixopt.pipeline.online_runs import build_online
from mixopt.pipeline.training_runs import (
    base_run,
    build_run,
    continued_base_run,
    expert_run,
    validation_run,
)
from mixopt.training.device import list_cards

log = logging.getLogger(__name__)

KIND = "inputs"
MARK = "unit:"
"""Prefix of a path inside an artifact: `unit:NAME-HASH/FILE`."""
ITEMS = "items.jsonl"
"""File of the documents that a benchmark reads of a large text."""
STAGED = re.compile(r"unit:([A-Za-z0-9_-]+)/(.*)")


class StudyWorker:
    """Does the jobs of one study in this process, and keeps the models that it has loaded.

    Args:
        context: The study.
    """

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._evaluator: tuple[tuple[str, ...], MergeEvaluator] | None = None
        self._items: tuple[object, SampledItems] | None = None

    def __call__(self, job: Job) -> None:
        """Build the job's artifacts, unless they exist.

        Raises:
            Exception: Whatever the work failed with.
        """
        context = self._context
        if job.trains and context.device.name != "cpu":
            self._free_device()
        match job.verb, job.arguments:
            case "train_base", ():
                run = base_run(context)
                assert run is not None, "a given base is not trained"
                build_run(context, run)
            case "train_expert", (name,):
                build_run(context, expert_run(context, name))
            case "continue_base", (name, ratios, tokens, index):
                run = continued_base_run(context, name, Mixture(ratios), tokens, index)
                build_run(context, run)
            case "train_validation_run", (name, ratios, seed):
                build_run(context, validation_run(context, name, Mixture(ratios), seed))
            case "train_run", (name, ratios, seed, checkpoints):
                spec = RunSpec(name, Mixture(ratios), seed, tuple(checkpoints))
                build_scored_run(context, spec)
            case "train_online", (plain, metric_weights):
                build_online(context, OnlineTraining(**plain), metric_weights)
            case "describe_models", (names,):
                _ = self._evaluator_of(names).facts
            case "score_experts", (names, indices):
                self._evaluator_of(names).build_expert_logprobs(indices)
            case "measure_slopes", (names, row):
                self._evaluator_of(names).slopes(row)
            case "score", (names, rows):
                self._evaluator_of(names).build(rows)
            case "estimate", (names, fitted_on, share, seed, rows):
                evaluator = self._evaluator_of(names)
                evaluator.build(rows, self._items_of(evaluator, fitted_on, share, seed))
            case _:
                raise ValueError(f"no worker knows the job {job.verb!r}")

    def _free_device(self) -> None:
        """Drop the loaded models, which fill most of an accelerator's memory.

        On a CPU they stay: it has swap, and opening them again costs more than it saves.
        """
        if self._evaluator is not None:
            self._evaluator = self._items = None
            gc.collect()  # an evaluator and its parts refer to each other

    def _evaluator_of(self, names: Sequence[str]) -> MergeEvaluator:
        wanted = tuple(names)
        if self._evaluator is None or self._evaluator[0] != wanted:
            self._evaluator = self._items = None  # the old models leave the memory first
            self._evaluator = wanted, open_evaluator(self._context, wanted)
        return self._evaluator[1]

    def _items_of(
        self,
        evaluator: MergeEvaluator,
        fitted_on: Sequence[Sequence[float]],
        share: float,
        seed: int,
    ) -> SampledItems:
        wanted = evaluator, tuple(map(tuple, fitted_on)), share, seed
        if self._items is None or self._items[0] != wanted:
            self._items = wanted, SampledItems(evaluator, fitted_on, share, seed)
        return self._items[1]


def make_worker(
    environment: RunEnvironment, config: StudyConfig, inputs: StudyInputs
) -> StudyWorker:
    """Return a worker of a study on the machine where this is called.

    Args:
        environment: Folders of that machine.
        config: The study's; staged where machines share no disk.
        inputs: What the driver measured of the study's inputs.
    """
    redact_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if environment.storage is not None:
        config = unstage(config, environment.open_stores()[0])
    return StudyWorker(StudyContext(config, environment, inputs=inputs))


def open_dispatcher(context: StudyContext) -> JobDispatcher:
    """Return what runs a study's jobs: this process, or workers that its executor opens.

    Raises:
        MissingExtraError: The executor's package is not installed.
    """
    executor, environment = context.config.executor, context.environment
    if executor.kind == "local":
        return LocalDispatcher(partial(StudyWorker, context), context.store, executor.retries)

    def open_workers() -> Executor:
        shared = environment.storage is None
        config = context.config if shared else stage(context.config, context.store)
        there, inputs = environment.on_another_machine(), context.measure_inputs()
        factory = partial(make_worker, there, config, inputs)
        cards = [] if environment.device == "cpu" else list_cards()
        opened = open_executor(executor, factory, environment.store.parent / JOBS_FOLDER, cards)
        log.info("Executor %s: %d workers", executor.kind, opened.slots)
        return opened

    return Dispatcher(open_workers, context.store, executor.retries)


def stage(config: StudyConfig, store: ArtifactStore) -> StudyConfig:
    """Return the config with every file that workers read copied into `store`.

    These are benchmark items, the base and given experts; workers read corpora, not training text.

    Args:
        config: The study's.
        store: Kept at a URL too; receives the copies.

    Returns:
        A config that names the copies as `unit:NAME-HASH/FILE`.
    """
    plain = config.model_dump(mode="json")

    def put(path: str) -> str:
        return _put(Path(path), store)

    if plain["base"]["kind"] == "pretrained" and Path(plain["base"]["path"]).is_dir():
        plain["base"]["path"] = put(plain["base"]["path"])
    for expert in plain["experts"]:
        if expert["checkpoint"] is not None:
            expert["checkpoint"] = put(str(find_model_folder(Path(expert["checkpoint"]))))
    for benchmark, parsed in zip(plain["benchmarks"], config.benchmarks, strict=True):
        for name in ("items", "examples", "include_path"):
            value = benchmark.get(name)
            if isinstance(value, str) and not value.startswith("machine:"):
                benchmark[name] = put(value)
        text = getattr(parsed, "text", None)
        if isinstance(text, TokensTextConfig) or (text is not None and is_large(text)):
            assert isinstance(parsed, BitsPerByteConfig)
            benchmark["text"] = {
                "kind": "files",
                "paths": [_put_items(parsed, store)],
                "tokens": "all",
            }
        elif isinstance(text, FilesTextConfig):
            # workers read URLs themselves
            benchmark["text"]["paths"] = [
                put(str(file)) if isinstance(file, Path) else file.url for file in list_files(text)
            ]
        elif text is not None and text.kind == "huggingface" and Path(text.path).is_dir():
            benchmark["text"]["path"] = put(text.path)
    return StudyConfig.model_validate(plain)


def unstage(config: StudyConfig, store: ArtifactStore) -> StudyConfig:
    """Return the config with the paths of its files in `store` on this machine.

    Args:
        config: From `stage`, on another machine.
        store: Finds the copies.
    """

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


def _put(path: Path, store: ArtifactStore) -> str:
    if not path.exists():
        raise DataError(f"{path} does not exist; fix the path.")
    key = {"content": [[name, hash_content(file)] for name, file in _list(path)]}

    def build(scratch: Path) -> None:
        for name, file in _list(path):
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(file, target)

    folder = store.get_or_build(Artifact(KIND, _stem(path.name), key), build)
    return f"{MARK}{folder.name}/" + ("" if path.is_dir() else path.name)


def _put_items(config: BitsPerByteConfig, store: ArtifactStore) -> str:
    """Copy the documents that a benchmark reads of a large text, or of tokens."""
    texts = [document.text for document in read_heldout(config.text, config.max_items)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    digest = hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()

    def build(scratch: Path) -> None:
        (scratch / ITEMS).write_text(lines)

    artifact = Artifact(KIND, _stem(config.name), {"content": digest})
    return f"{MARK}{store.get_or_build(artifact, build).name}/{ITEMS}"


def _stem(name: str) -> str:
    """Return a name as `STAGED` reads it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)[:40]


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
