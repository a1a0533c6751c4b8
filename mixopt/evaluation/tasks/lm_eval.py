"""Tasks of lm-evaluation-harness, with its prompts and scoring and with results per item."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.config.benchmarks import HarnessConfig
from mixopt.errors import DataError, did_you_mean, require_extra
from mixopt.evaluation.tasks.base import ItemResults, TaskContext, describe_metric
from mixopt.evaluation.tasks.items import require_items

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SEQUENCES = 16
SEED = 1234
"""Seed with which the harness draws few-shot examples."""


class LmEvalTask:
    """One task of the harness, run on a whole model.

    Args:
        config: Sets task, metric, filter and number of examples.
        context: Sets tokenizer, sequence length, and whether task files of one's own may be run.

    Raises:
        MissingExtraError: `mixopt[eval]` is not installed.
        DataError: The harness has no such task or metric, or cannot load it.
    """

    def __init__(self, config: HarnessConfig, context: TaskContext) -> None:
        self._config, self._context = config, context
        self.truncated = 0
        if config.include_path is not None and not context.run_code:
            raise DataError(
                f"Benchmark {config.name!r}: task files of one's own may name Python that is run "
                f"({config.include_path}); pass --run-code if you trust them."
            )
        with _quiet():
            self._task = _load(config)
        known = list(self._task.aggregation())
        self._name = config.metric or known[0]
        if self._name not in known:
            raise DataError(
                f"Benchmark {config.name!r}: task {config.task!r} has no metric {self._name!r}. "
                f"{did_you_mean(self._name, known)}"
            )
        require_items(len(self._documents), config.name)
        better = self._task.higher_is_better().get(self._name, True)
        self.metric = describe_metric(config, "higher" if better else "lower")

    @cached_property
    def _documents(self) -> list[Any]:
        return list(self._task.eval_docs)[: self._config.max_items]

    @property
    def layout(self) -> tuple[object, ...]:
        from importlib.metadata import version

        with _quiet():
            self._task.set_fewshot_seed(seed=SEED)
            self._task.build_all_requests(limit=self._config.max_items, rank=0, world_size=1)
        requests = [(instance.doc_id, repr(instance.args)) for instance in self._task.instances]
        # the content of the path follows, and the path itself does not count
        own = self._config.model_dump_json(exclude={"include_path"})
        versions = [own, version("lm_eval"), str(self._task.VERSION)]
        return *versions, self._context.context, repr(self._task.dump_config()), requests

    def measure(self, model: "PreTrainedModel") -> ItemResults:
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM

        name = self._config.task
        with _quiet():
            self._task.set_fewshot_seed(seed=SEED)  # the same examples for each model
            language_model = HFLM(
                pretrained=model, tokenizer=self._context.tokenizer,
                batch_size=BATCH_SEQUENCES, max_length=self._context.context,
            )  # fmt: skip
            results = evaluate(
                lm=language_model, task_dict={name: self._task}, limit=self._config.max_items,
                log_samples=True, bootstrap_iters=0,
            )  # fmt: skip
        samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
        filters = dict.fromkeys(sample["filter"] for sample in samples)
        chosen = self._config.filter or next(iter(filters))
        if chosen not in filters:
            raise DataError(
                f"Benchmark {self._config.name!r}: task {name!r} has no filter {chosen!r}. "
                f"{did_you_mean(chosen, filters)}"
            )
        values = [sample.get(self._name) for sample in samples if sample["filter"] == chosen]
        assert len(values) == len(self._documents)
        return self._read(values)

    def _read(self, values: list[Any]) -> ItemResults:
        if all(isinstance(value, bool | int | float | np.number) for value in values):
            return ItemResults(np.array(values, dtype=np.float64), np.ones(len(values)))
        # for bits per byte, pairs of a value and its weight
        pairs = [value for value in values if isinstance(value, tuple | list) and len(value) == 2]
        if len(pairs) == len(values) and self._name == "bits_per_byte":
            bits, sizes = np.array(pairs, dtype=np.float64).T
            return ItemResults(-bits / np.log(2), sizes)
        # a corpus-level metric
        raise DataError(
            f"Benchmark {self._config.name!r}: metric {self._name!r} of task {self._config.task!r} "
            "has no single value for each item; name another metric of the task."
        )


def _load(config: HarnessConfig) -> Any:
    require_extra("eval")
    from lm_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(
        include_path=config.include_path, include_defaults=config.include_path is None
    )
    known = manager.all_subtasks
    if config.task not in known:
        raise DataError(
            f"Benchmark {config.name!r}: the harness has no single task {config.task!r}. "
            f"{did_you_mean(config.task, known)}"
        )
    try:
        task = get_task_dict([config.task], manager)[config.task]
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"Benchmark {config.name!r}: the harness cannot load {config.task!r} ({first[0]}); see "
            "whether its data can be reached from here."
        ) from None
    if config.shots is not None:
        task.set_config(key="num_fewshot", value=config.shots)
    return task


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("lm_eval")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
