"""Fields of a record: nested ones by a path with dots, chat messages as text, and conditions."""

from collections.abc import Mapping
from typing import Any

from mixopt.config.text import Conditions
from mixopt.errors import DataError, did_you_mean

MESSAGE_FIELDS = (("role", "content"), ("from", "value"))
"""Fields of a chat message: of the chat templates of transformers, and of ShareGPT."""
BETWEEN_MESSAGES = "\n\n"
MISSING = object()


def find_field(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field.

    Args:
        record: Its fields; values may be records again.
        name: A field (`text`), or a path (`meta.source`); a field with dots in its name goes first.

    Returns:
        The value, or `MISSING`.
    """
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def get_field(record: Mapping[str, Any], name: str, where: str) -> Any:
    """Return the value of a field that must exist.

    Args:
        record: Its fields.
        name: As for `find_field`.
        where: Position of the record, for the message.

    Raises:
        DataError: It does not exist.
    """
    value = find_field(record, name)
    if value is MISSING:
        raise DataError(f"{where} has no field {name!r}. {did_you_mean(name, _paths(record))}")
    return value


def _paths(record: Mapping[str, Any]) -> list[str]:
    """Return the fields of a record and of the records in it."""
    inner = [f"{name}.{key}" for name, value in record.items() if isinstance(value, Mapping)
             for key in value]  # fmt: skip
    return [*map(str, record), *inner]


def matches(record: Mapping[str, Any], conditions: Conditions) -> bool:
    """Return whether each condition holds; a record without the field does not match.

    Args:
        record: Its fields.
        conditions: Value, or list of values, by field.
    """
    for name, wanted in conditions.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if str(find_field(record, name)) not in map(str, allowed):
            return False
    return True


def join_messages(value: Any) -> str | None:
    """Return the texts of chat messages, with an empty line between two.

    Args:
        value: A list of messages (`{role, content}`), whose content is a text, empty, or a list of parts
            of which those with a `text` count.

    Returns:
        The text without roles, or None if `value` is no list of messages.
    """
    if not isinstance(value, list) or not value:
        return None
    texts = []
    for message in value:
        if not isinstance(message, Mapping):
            return None
        body = next(
            (key for role, key in MESSAGE_FIELDS if role in message and key in message), None
        )
        if body is None:
            return None
        content = message[body]
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, Mapping)]
            content = "\n".join(part for part in parts if isinstance(part, str))
        if content is not None and not isinstance(content, str):
            return None
        texts.append(content or "")
    return BETWEEN_MESSAGES.join(filter(None, texts))
