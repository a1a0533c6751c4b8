"""Tasks of lm-evaluation-harness, with its prompts and scoring and with results per item."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mixopt.config.benchmarks import HarnessConfig
from mixopt.errors import DataError, did_you_mean, require_extra
from mixopt.evaluation.tasks.base import ItemResults, TaskContext, describe_metric
from mixopt.evaluation.tasks.items import require_items
from mixopt.evaluation.tasks.lm_eval_layout import describe_config
from mixopt.evaluation.tasks.lm_eval_metrics import choose_metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SEQUENCES = 16
SEED = 1234
"""Seed with which the harness draws few-shot examples."""
WRITTEN = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Settings of the tokens that a task writes; the first that is given counts."""
WRITTEN_TOKENS = 256
"""The harness's default of them."""
_NEEDS_RUN_CODE = (
    "Benchmark {!r}: task {!r} runs programs that models write, with your rights; allow it by "
    "--run-code (run_code=True from Python) and HF_ALLOW_CODE_EVAL=1 in the environment, or leave it "
    "out."
)


class LmEvalTask:
    """One task of the harness, run on a whole model.

    Args:
        config: Sets task, metric, filter and number of examples.
        context: Sets tokenizer, sequence length, and whether task files of one's own may be run.

    Raises:
        MissingExtraError: `mixopt[eval]` is not installed.
        DataError: The harness has no such task or metric, or cannot load it; the metric is no mean over
            items, or the context has no room for what the task writes.
    """

    def __init__(self, config: HarnessConfig, context: TaskContext) -> None:
        self._config, self._context = config, context
        if config.include_path is not None and not context.run_code:
            raise DataError(
                f"Benchmark {config.name!r}: task files of one's own may name Python that is run "
                f"({config.include_path}); pass --run-code if you trust them."
            )
        with _quiet():
            self._task = _load(config)
        if getattr(self._task, "UNSAFE_CODE", False) and not context.run_code:
            raise DataError(_NEEDS_RUN_CODE.format(config.name, config.task))
        self._metric = choose_metric(self._task, config)
        require_items(len(self._documents), config.name)
        requests = self._build_requests()
        self.truncated = self._count_truncated(requests)
        self._requests = [(request.doc_id, repr(request.args)) for request in requests]
        better = "higher" if self._metric.higher_is_better else "lower"
        self.metric = describe_metric(config, better)

    @cached_property
    def _documents(self) -> list[Any]:
        return list(self._task.eval_docs)[: self._config.max_items]

    def _build_requests(self) -> list[Any]:
        with _quiet():
            self._task.set_fewshot_seed(seed=SEED)  # the same examples for each model
            self._task.build_all_requests(limit=self._config.max_items, rank=0, world_size=1)
        return list(self._task.instances)

    def _count_truncated(self, requests: list[Any]) -> int:
        """Return how many items have a request that the harness truncates, from the left.

        Raises:
            DataError: A request leaves no room for its prompt.
        """
        context, texts, rooms, items = self._context.context, [], [], []
        for request in requests:
            if request.request_type == "generate_until":
                texts.append(request.args[0])
                rooms.append(context - self._require_room(request.args[1]))
            elif request.request_type == "loglikelihood":
                texts.append("".join(request.args[:2]))
                rooms.append(context + 1)
            else:
                continue  # a whole text is read in windows
            items.append(request.doc_id)
        tokens = self._context.tokenizer(texts, verbose=False)["input_ids"] if texts else []
        cut = zip(items, tokens, rooms, strict=True)
        return len({item for item, each, room in cut if len(each) > room})

    def _require_room(self, settings: Mapping[str, Any]) -> int:
        """Return the tokens that are written after a prompt."""
        given = (settings[name] for name in WRITTEN if settings.get(name) is not None)
        wanted = int(next(given, WRITTEN_TOKENS))
        if wanted >= self._context.context:
            raise DataError(
                f"Benchmark {self._config.name!r}: task {self._config.task!r} writes {wanted:,} tokens, "
                f"and the context of {self._context.context:,} leaves none for its prompt; lengthen the "
                "context, or use a task of your own (include_path) with a smaller max_gen_toks."
            )
        return wanted

    @property
    def layout(self) -> tuple[object, ...]:
        from importlib.metadata import version

        # the content of the path follows, and the path itself does not count
        own = self._config.model_dump_json(exclude={"include_path"})
        versions = [own, version("lm_eval"), str(self._task.VERSION)]
        return *versions, self._context.context, describe_config(self._task), self._requests

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
            outcome = evaluate(
                lm=language_model, task_dict={name: self._task}, limit=self._config.max_items,
                log_samples=True, bootstrap_iters=0, confirm_run_unsafe_code=self._context.run_code,
            )  # fmt: skip
        samples = sorted(outcome["samples"][name], key=lambda sample: sample["doc_id"])
        filters = dict.fromkeys(sample["filter"] for sample in samples)
        chosen = self._config.filter or next(iter(filters))
        if chosen not in filters:
            raise DataError(
                f"Benchmark {self._config.name!r}: task {name!r} has no filter {chosen!r}. "
                f"{did_you_mean(chosen, filters)}"
            )
        values = [sample.get(self._metric.key) for sample in samples if sample["filter"] == chosen]
        assert len(values) == len(self._documents)
        results = self._metric.read(values)
        if results is None:
            raise DataError(
                f"Benchmark {self._config.name!r}: metric {self._metric.key!r} of task "
                f"{self._config.task!r} has no single value for each item; name another metric of the "
                "task."
            )
        return results


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
        if "HF_ALLOW_CODE_EVAL" in str(error):
            raise DataError(_NEEDS_RUN_CODE.format(config.name, config.task)) from None
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
