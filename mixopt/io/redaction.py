"""Credentials are kept out of logs, tracebacks, and plain values that are written to files."""

import logging
import sys
import threading
import traceback
from typing import Any

from mixopt.errors import hide_credentials


def hide_in(value: Any) -> Any:
    """Return plain values with credentials hidden in every string.

    Args:
        value: Nested as in JSON; values of other types are returned as they are.
    """
    if isinstance(value, str):
        return hide_credentials(value)
    if isinstance(value, dict):
        return {hide_in(key): hide_in(part) for key, part in value.items()}
    if isinstance(value, list):
        return [hide_in(part) for part in value]
    if type(value) is tuple:
        return tuple(hide_in(part) for part in value)
    return value


def format_traceback(error: BaseException) -> str:
    """Return a traceback with those of its causes, without credentials."""
    return hide_credentials("".join(traceback.format_exception(error)))


class RedactedRecord(logging.LogRecord):
    """A log record, of any library, without credentials."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[1] is not None:
            self.exc_text = format_traceback(self.exc_info[1]).rstrip()

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message with its arguments."""
        return hide_credentials(super().getMessage())


def redact_output() -> None:
    """Keep credentials out of what this process logs, and of tracebacks that end it or a thread.

    Hooks that another library has set stay.
    """
    logging.setLogRecordFactory(RedactedRecord)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, error, trace: _print(error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda failure: _print(failure.exc_value)


def _print(error: BaseException | None) -> None:
    if error is not None:
        sys.stderr.write(format_traceback(error))
