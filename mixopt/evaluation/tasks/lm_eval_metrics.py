"""Metrics of lm-evaluation-harness as results per item.

The harness sums up the values of items by a function of its own for each metric. Results per item can
stand for those alone that are a mean over items, or its monotone function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixopt.config.benchmarks import HarnessConfig
from mixopt.errors import DataError, did_you_mean
from mixopt.evaluation.tasks.base import LN2, ItemResults

Read = Callable[[Sequence[Any]], ItemResults | None]
"""Results of the values of items; None where they are none."""


@dataclass(frozen=True)
class HarnessMetric:
    """A metric of a task of the harness.

    Attributes:
        key: Field of a sample that holds its value.
        higher_is_better: Direction of the results.
        read: Returns the results of items.
    """

    key: str
    higher_is_better: bool
    read: Read


def choose_metric(task: Any, config: HarnessConfig) -> HarnessMetric:
    """Return the metric that a config names, or the first of its task.

    Args:
        task: Of the harness.
        config: Names the benchmark, the task and the metric.

    Raises:
        DataError: The task has no such metric, or it has no value for each item.
    """
    listed = _list_keys(task)
    name = config.metric or next(iter(listed))
    # a metric under its function's name, such as pass_at_k for pass@1
    name = next((key for key, metric in listed.items() if metric == name), name)
    if name not in listed:
        raise DataError(
            f"Benchmark {config.name!r}: task {config.task!r} has no metric {name!r}. "
            f"{did_you_mean(name, listed)}"
        )
    readers = _list_readers()
    by_function = {key: readers.get(task.aggregation()[metric]) for key, metric in listed.items()}
    read = by_function[name]
    if read is None:
        others = ", ".join(repr(key) for key, reader in by_function.items() if reader is not None)
        remedy = f"name another, {others}" if others else "choose another task"
        raise DataError(
            f"Benchmark {config.name!r}: metric {name!r} of task {config.task!r} is no mean over items; "
            f"{remedy}."
        )
    return HarnessMetric(name, task.higher_is_better().get(listed[name], True), read)


def _list_keys(task: Any) -> dict[str, str]:
    """Return the metrics of a task by the keys under which its samples hold them."""
    keys: dict[str, str] = {}
    settings = getattr(task, "_metric_fn_kwargs", {})
    for metric in task.aggregation():
        k = settings.get(metric, {}).get("k") if metric == "pass_at_k" else None
        each = k if isinstance(k, list | tuple) else [] if k is None else [k]
        keys |= {f"pass@{number}": metric for number in each} or {metric: metric}
    return keys


def _list_readers() -> dict[Any, Read]:
    """Return how items are read, by the function that the harness sums them up with."""
    from lm_eval.api.registry import get_aggregation

    return {
        get_aggregation("mean"): _read_means,
        get_aggregation("perplexity"): _read_log_perplexity,
        get_aggregation("bits_per_byte"): _read_bits_per_byte,
    }


def _read_means(values: Sequence[Any]) -> ItemResults | None:
    if not all(isinstance(value, bool | int | float | np.number) for value in values):
        return None
    return ItemResults(np.array(values, dtype=np.float64), np.ones(len(values)))


def _read_log_perplexity(values: Sequence[Any]) -> ItemResults | None:
    """Return negative log-likelihoods (nats), whose mean is the logarithm of the perplexity."""
    logs = _read_means(values)  # the harness keeps log-likelihoods of items
    return None if logs is None else ItemResults(-logs.values, logs.sizes)


def _read_bits_per_byte(values: Sequence[Any]) -> ItemResults | None:
    # pairs of a log-likelihood and its bytes
    if not all(isinstance(value, tuple | list) and len(value) == 2 for value in values):
        return None
    logs, sizes = np.array(values, dtype=np.float64).T
    return ItemResults(-logs / LN2, sizes)
