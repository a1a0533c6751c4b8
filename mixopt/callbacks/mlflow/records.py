"""The form of the records in a queue.

A queue lies in the folder of results, which may come from others, so each record is checked before it is
sent.
"""

from collections.abc import Mapping
from typing import Any

from mixopt.artifacts.bundle import is_safe_path

FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "run": {"id": (str, type(None)), "name": str, "parent": (str, type(None)), "experiment": str,
            "tags": dict, "time": int},
    "batch": {"metrics": list, "params": dict, "tags": dict},
    "data": {"name": str, "digest": str},
    "text": {"text": str, "path": str},
    "file": {"file": str, "to": (str, type(None))},
    "end": {"status": str, "time": int},
}  # fmt: skip
"""Types of the fields of each operation, beside `do` and `run`."""
STATUSES = ("FINISHED", "FAILED", "KILLED")


def is_record(plain: Mapping[str, Any]) -> bool:
    """Return whether a line of a queue is a record that can be sent.

    Args:
        plain: The line, parsed.
    """
    operation = plain.get("do")
    fields = FIELDS.get(operation) if isinstance(operation, str) else None
    if fields is None or not isinstance(plain.get("run"), str):
        return False
    if not all(name in plain and isinstance(plain[name], kind) for name, kind in fields.items()):
        return False
    return (
        all(_are_texts(plain.get(name, {})) for name in ("params", "tags"))
        and all(map(_is_point, plain.get("metrics", [])))
        and plain.get("status", STATUSES[0]) in STATUSES
        and all(is_safe_path(plain[name]) for name in ("path", "to") if plain.get(name) is not None)
    )


def _are_texts(plain: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str | int | float) for value in plain.values())


def _is_point(plain: Any) -> bool:
    """Return whether this is a metric's name, value, time and step."""
    kinds = (str, int | float, int, int)
    return (
        isinstance(plain, list)
        and len(plain) == len(kinds)
        and all(isinstance(part, kind) for part, kind in zip(plain, kinds, strict=True))
    )
