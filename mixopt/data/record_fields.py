"""Fields of a record: nested ones by a path with dots, joined ones, chat messages, and conditions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from mixopt.config.text import Conditions
from mixopt.errors import DataError, did_you_mean

MESSAGE_FIELDS = (("role", "content"), ("from", "value"))
"""Fields of a chat message: of the chat templates of transformers, and of ShareGPT."""
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

    def read(self, record: Mapping[str, Any], where: str) -> str:
        """Return the text of a record.

        Args:
            record: Its fields.
            where: Position of the record, for messages.

        Raises:
            DataError: A field is missing, or holds something else than text or chat messages.
        """
        if len(self._fields) == 1:
            return _to_text(get_field(record, self._fields[0], where), self._fields[0], where)
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

    def finish(self, record: Mapping[str, Any], where: str) -> None:
        """Check after the last record of a file that each field has occurred.

        Args:
            record: The last record.
            where: Its position.

        Raises:
            DataError: A field has not.
        """
        if self._unseen:
            get_field(record, min(self._unseen), where)


def _to_text(value: Any, name: str, where: str) -> str:
    joined = join_messages(value)
    text = value if joined is None else joined
    if not isinstance(text, str):
        raise DataError(f"{where}: field {name!r} holds {type(text).__name__}, not text.")
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
