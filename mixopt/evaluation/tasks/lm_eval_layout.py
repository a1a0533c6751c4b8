"""What determines the results of a task of lm-evaluation-harness, the same in every process."""

from collections.abc import Mapping
from functools import partial
from inspect import getsource
from typing import Any


def describe_config(task: Any) -> str:
    """Return the configuration of a task, with the source of the functions in it.

    Args:
        task: Of the harness, whose own description has the addresses of functions in memory.
    """
    return repr(_describe(task.config.to_dict(keep_callable=True)))


def _describe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _describe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(each) for each in value]
    if isinstance(value, partial):
        return ["partial", *map(_describe, (value.func, value.args, value.keywords))]
    kind: Any = type(value)
    if callable(value) or kind.__repr__ is object.__repr__:
        return _source(value if hasattr(value, "__qualname__") else kind)
    return value


def _source(function: Any) -> str:
    try:
        return getsource(function)
    except (TypeError, OSError):  # built in
        return f"{function.__module__}.{function.__qualname__}"
