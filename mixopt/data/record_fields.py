"""Fields of a record: nested ones by a path with dots, joined ones, chat messages, and conditions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from mixopt.config.text import Conditions
from mixopt.errors import DataError, did_you_mean
from mixopt.io.parsing import load_json

MESSAGE_FIELDS = (("role", "content"), ("from", "value"), ("role", "text"), ("speaker", "text"))
"""Fields of a chat message: of the chat templates of transformers, of ShareGPT, and of others."""
CALLS = {"tool_calls", "function_call", "tool_call_id", "name", "reasoning_content"}
"""Fields of a message without content."""
PART_FIELDS = ("text", "content")
"""Fields of a part of a message that hold its text, or an object with it as `value`."""
MESSAGES_AS_TEXT = re.compile(r'\s*\[\s*\{\s*"(?:role|from|content|value)"\s*:')
BETWEEN_MESSAGES = "\n\n"
BETWEEN_FIELDS = "\n\n"
FIRST_RECORDS = 100
"""Records of a file among which each of several fields must occur; later ones may lack some."""
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
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = _parse_record(value)
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def _parse_record(text: str) -> Any:
    """Return the record in a field that holds it as text, as some datasets have their metadata."""
    try:
        return load_json(text)
    except ValueError:
        return text


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


def unwrap_records(
    rows: Iterable[tuple[str, dict[str, Any]]], fields: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield records, also those inside an object that wraps them.

    An object with none of the fields is a wrapper if one of its values is a list of records with them
    (`{"data": [...]}`), or if it is the only object and all of its values are such records
    (`{"id-1": {...}, ...}`).

    Args:
        rows: Position of each record, for messages, and its fields.
        fields: Fields of the text.

    Returns:
        Iterator of such pairs.
    """
    rows = iter(rows)
    first = list(islice(rows, 2))
    for where, row in chain(first, rows):
        if _has_any(row, fields):
            yield where, row
            continue
        lists = [(n, v) for n, v in row.items() if isinstance(v, list) and _are_records(v, fields)]
        if len(lists) == 1:
            name, inner = lists[0]
            yield from ((f"{where}, {name}[{i}]", each) for i, each in enumerate(inner))
        elif len(first) == 1 and len(row) > 1 and _are_records(list(row.values()), fields):
            yield from ((f"{where}, {name!r}", each) for name, each in row.items())
        else:
            yield where, row


def _are_records(values: Sequence[Any], fields: Sequence[str]) -> bool:
    return bool(values) and all(isinstance(v, dict) and _has_any(v, fields) for v in values)


def _has_any(record: Mapping[str, Any], fields: Sequence[str]) -> bool:
    return any(find_field(record, name) is not MISSING for name in fields)


class TextReader:
    """Reads the text of records from one field, or from several that are joined.

    Of several fields a record may lack some, or have them empty; each must occur among the first
    records.

    Args:
        fields: One or more.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._unseen = set(fields) if len(fields) > 1 else set()
        self._count = 0
        self._last: tuple[Mapping[str, Any], str] | None = None

    def read(self, record: Mapping[str, Any], where: str) -> str:
        """Return the text of a record.

        Args:
            record: Its fields.
            where: Position of the record, for messages.

        Raises:
            DataError: A field is missing, or holds something else than text or chat messages.
        """
        self._last = record, where
        if len(self._fields) == 1:
            value = get_field(record, self._fields[0], where)
            return "" if value is None else _to_text(value, self._fields[0], where)
        found = {name: find_field(record, name) for name in self._fields}
        self._unseen -= {name for name, value in found.items() if value is not MISSING}
        self._count += 1
        if self._unseen and (
            self._count == FIRST_RECORDS or len(self._unseen) == len(self._fields)
        ):
            get_field(record, min(self._unseen), where)  # raises, with the nearest name
        given = {name: v for name, v in found.items() if v is not MISSING and v is not None}
        texts = [_to_text(value, name, where) for name, value in given.items()]
        return BETWEEN_FIELDS.join(filter(None, texts))

    def finish(self) -> None:
        """Check after the last record that each field has occurred.

        Raises:
            DataError: A field has not.
        """
        if self._unseen and self._last is not None:
            record, where = self._last
            get_field(record, min(self._unseen), where)


def _to_text(value: Any, name: str, where: str) -> str:
    joined = join_messages(value)
    text = "" if value == [] else value if joined is None else joined  # a chat without messages
    if not isinstance(text, str):
        raise DataError(
            f"{where}: field {name!r} holds {type(text).__name__}, not text; name the field with the "
            "text or the chat messages (`field`)."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: field {name!r} holds half a character, which is no text; fix or drop it."
        ) from None
    return text


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
        value = find_field(record, name)
        if not any(_is_same(value, each) for each in allowed):
            return False
    return True


def _is_same(value: Any, wanted: str | bool | float) -> bool:
    """Return whether a value is the wanted one, also where a file has truth or numbers as text."""
    if value == wanted or str(value) == str(wanted):
        return True
    if isinstance(wanted, bool):
        return isinstance(value, str) and value.strip().lower() == str(wanted).lower()
    if isinstance(wanted, str) or not isinstance(value, str):
        return False
    try:
        return float(value) == wanted
    except ValueError:
        return False


def join_messages(value: Any) -> str | None:
    """Return the texts of chat messages, with an empty line between two.

    Args:
        value: A list of messages (`{role, content}`), or JSON text of one. The content of a message is a
            text, missing (a call of a tool), or a list of parts of which those with text count.

    Returns:
        The text without roles, or None if `value` is no list of messages, or JSON text of messages that
        are all empty.
    """
    is_text = isinstance(value, str)
    if is_text and MESSAGES_AS_TEXT.match(value):
        value = _parse_record(value)
    if not isinstance(value, list) or not value:
        return None
    texts = []
    for message in value:
        if not isinstance(message, Mapping) or not any(
            role in message for role, _ in MESSAGE_FIELDS
        ):
            return None
        body = next(
            (key for role, key in MESSAGE_FIELDS if role in message and key in message), None
        )
        content = None if body is None else message[body]
        if body is None and not CALLS & message.keys():
            return None
        text = _join_parts(content)
        if text is None:
            return None
        texts.append(text)
    if is_text and not any(texts):  # a list of other records, which are the text themselves
        return None
    return BETWEEN_MESSAGES.join(filter(None, texts))


def _join_parts(content: Any) -> str | None:
    """Return the text of a message's content; None where it is of no known form."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        text = part
        if isinstance(part, Mapping):  # images and sounds have none of these
            held = (part.get(key) for key in PART_FIELDS)
            text = next((value for value in held if isinstance(value, str | Mapping)), "")
            text = text.get("value", "") if isinstance(text, Mapping) else text
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(filter(None, texts))
