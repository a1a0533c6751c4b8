"""Warnings of a command in full, in a file beside its results; one line of each is printed."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixopt.callbacks.base import StudyWarning
from mixopt.errors import hide_credentials
from mixopt.io.display import shorten
from mixopt.io.files import storage_errors, write_text

NAME = "warnings.txt"
LINE = 100
"""Characters of a warning that are printed."""
HEADINGS = {
    "ratios": "These may change the ratios.",
    "scores": "These may change scores, or their weight.",
    "nothing": "These change nothing: the study has dealt with them.",
}
"""Groups of the file, by what a warning may change."""


class WarningFile:
    """Collects warnings of a study, and those that mixopt logs meanwhile.

    Args:
        output: Folder of the study's results.
        tell: Prints a line.

    Attributes:
        path: The file; None as long as no warning was too long for a line.
    """

    def __init__(self, output: Path, tell: Callable[[str], Any]) -> None:
        self.path: Path | None = None
        self._output, self._tell = output, tell
        self._kept: list[StudyWarning] = []
        self._handler = _LogHandler(self)

    def open(self) -> None:
        """Begin to take what is logged; a file of an earlier command is deleted."""
        with storage_errors(self._output / NAME):
            (self._output / NAME).unlink(missing_ok=True)
        log = logging.getLogger("mixopt")
        for other in [each for each in log.handlers if isinstance(each, _LogHandler)]:
            log.removeHandler(other)  # of a study whose start failed
        log.addHandler(self._handler)

    def close(self) -> None:
        """Take no more of what is logged."""
        logging.getLogger("mixopt").removeHandler(self._handler)

    def add(self, warning: StudyWarning, label: str = "warning") -> None:
        """Print a warning in one line, and write all of them to the file where one has more.

        Args:
            warning: One that was added before is left out.
            label: Before the line.
        """
        text = hide_credentials(warning.text)
        if any(text == each.text for each in self._kept):
            return
        self._kept.append(StudyWarning(text, warning.changes))
        short = shorten(" ".join(text.split()), LINE)
        self._tell(f"{label}: {short}")
        if short != text or self.path is not None:
            parts = []
            for changes, heading in HEADINGS.items():
                group = [each.text for each in self._kept if each.changes == changes]
                if group:
                    parts.append("\n\n".join([heading, *(f"- {each}" for each in group)]))
            self.path = write_text(self._output / NAME, "\n\n".join(parts) + "\n")

    def describe(self) -> str:
        """Return how many warnings there are, and how many may change the ratios; empty without any."""
        n_ratios = sum(each.changes == "ratios" for each in self._kept)
        some = f", {n_ratios} may change the ratios" if n_ratios else ""
        return f"{len(self._kept)}{some}" if self._kept else ""


class _LogHandler(logging.Handler):
    """Adds warnings that are logged, and marks them as shown."""

    def __init__(self, warnings: WarningFile) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._warnings.add(StudyWarning(record.getMessage(), "scores"))
            record.shown = True
