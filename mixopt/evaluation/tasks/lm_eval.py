"""Tasks of lm-evaluation-harness as benchmarks: its prompts, its scoring, our items and errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.config.benchmarks import HarnessConfig
from mixopt.errors import DataError, did_you_mean, require_extra
from mixopt.evaluation.tasks.base import ItemResults, TaskContext
from mixopt.evaluation.tasks.items import require_items
from mixopt.trials import Metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SEQUENCES = 16
SEED = 1234
"""Of the harness's own draws of examples."""


class LmEvalTask:
    """One task of the harness, run on a whole model.

    Raises:
        MissingExtraError: `mixopt[eval]` is not installed.
        DataError: The harness has no such task or metric, or cannot load it.
    """

    def __init__(self, recipe: HarnessConfig, context: TaskContext) -> None:
        self._recipe, self._context = recipe, context
        self.truncated = 0
        if recipe.include_path is not None and not context.run_code:
            raise DataError(
                f"Benchmark {recipe.name!r}: task files of one's own may name Python that is run "
                f"({recipe.include_path}); pass --run-code if you trust them."
            )
        with _quiet():
            self._task = _load(recipe)
        known = list(self._task.aggregation())
        self._name = recipe.metric or known[0]
        if self._name not in known:
            raise DataError(
                f"Benchmark {recipe.name!r}: task {recipe.task!r} has no metric {self._name!r}. "
                f"{did_you_mean(self._name, known)}"
            )
        require_items(len(self._documents), recipe.name)
        better = self._task.higher_is_better().get(self._name, True)
        self.metric = Metric(
            name=recipe.name,
            better="higher" if better else "lower",
            capability=recipe.capability,
            role=recipe.role,
            own_domain=recipe.own_domain,
        )

    @cached_property
    def _documents(self) -> list[Any]:
        return list(self._task.eval_docs)[: self._recipe.max_items]

    @property
    def layout(self) -> tuple[object, ...]:
        """The recipe, the harness, and all that a model would be asked, prompts included."""
        from importlib.metadata import version

        with _quiet():
            self._task.set_fewshot_seed(seed=SEED)
            self._task.build_all_requests(limit=self._recipe.max_items, rank=0, world_size=1)
        asked = [(instance.doc_id, repr(instance.args)) for instance in self._task.instances]
        own = self._recipe.model_dump_json(exclude={"include_path"})  # where it lies does not count
        told = [own, version("lm_eval"), str(self._task.VERSION)]
        return *told, self._context.context, repr(self._task.dump_config()), asked

    def measure(self, model: "PreTrainedModel") -> ItemResults:
        """The task's metric for each item under `model`.

        Raises:
            DataError: The metric has no value for each item (a corpus-level one).
        """
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM

        name = self._recipe.task
        with _quiet():
            self._task.set_fewshot_seed(seed=SEED)  # or each model would see other examples
            language_model = HFLM(
                pretrained=model,
                tokenizer=self._context.tokenizer,
                batch_size=BATCH_SEQUENCES,
                max_length=self._context.context,
            )
            told = evaluate(
                lm=language_model,
                task_dict={name: self._task},
                limit=self._recipe.max_items,
                log_samples=True,
                bootstrap_iters=0,
            )
        samples = sorted(told["samples"][name], key=lambda sample: sample["doc_id"])
        filters = dict.fromkeys(sample["filter"] for sample in samples)
        chosen = self._recipe.filter or next(iter(filters))
        if chosen not in filters:
            raise DataError(
                f"Benchmark {self._recipe.name!r}: task {name!r} has no filter {chosen!r}. "
                f"{did_you_mean(chosen, filters)}"
            )
        found = [sample.get(self._name) for sample in samples if sample["filter"] == chosen]
        assert len(found) == len(self._documents)
        return self._read(found)

    def _read(self, found: list[Any]) -> ItemResults:
        """Item results; a pair is a value and its weight, as in bits per byte."""
        if all(isinstance(value, bool | int | float | np.number) for value in found):
            return ItemResults(np.array(found, dtype=np.float64), np.ones(len(found)))
        pairs = [value for value in found if isinstance(value, tuple | list) and len(value) == 2]
        if len(pairs) == len(found) and self._name == "bits_per_byte":
            values, sizes = np.array(pairs, dtype=np.float64).T
            return ItemResults(-values / np.log(2), sizes)
        raise DataError(
            f"Benchmark {self._recipe.name!r}: metric {self._name!r} of task {self._recipe.task!r} "
            "has no single value for each item; name another metric of the task."
        )


def _load(recipe: HarnessConfig) -> Any:
    """The harness's task object."""
    require_extra("eval")
    from lm_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(
        include_path=recipe.include_path, include_defaults=recipe.include_path is None
    )
    known = manager.all_subtasks
    if recipe.task not in known:
        raise DataError(
            f"Benchmark {recipe.name!r}: the harness has no single task {recipe.task!r}. "
            f"{did_you_mean(recipe.task, known)}"
        )
    try:
        task = get_task_dict([recipe.task], manager)[recipe.task]
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"Benchmark {recipe.name!r}: the harness cannot load {recipe.task!r} ({first[0]}); see "
            "whether its data can be reached from here."
        ) from None
    if recipe.shots is not None:
        task.set_config(key="num_fewshot", value=recipe.shots)
    return task


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the harness's own log lines and progress out of ours."""
    log = logging.getLogger("lm_eval")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
