"""Progress of work that takes long, reported to whoever shows it.

A command shows it in its terminal (`mixopt.callbacks.live_view`). Without a listener, as in a notebook,
counted work has a bar of tqdm.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")


class ProgressListener(Protocol):
    """Is told of work under way, by the thread that does it."""

    def on_work_begin(self, work: "Work") -> None:
        """Called when work begins."""

    def on_work_advance(self, work: "Work") -> None:
        """Called when a part of it is done."""

    def on_work_end(self, work: "Work") -> None:
        """Called when it ends, finished or not."""


class Work:
    """Work under way, from its creation to `close`, or to the end of its `with` block.

    Args:
        what: In words, such as `training birds`.
        total: Number of its parts; None if unknown.
        unit: What is counted; empty for work that is one piece.
        done: Parts that were done before.

    Attributes:
        done: Parts that are done.
        note: How it goes, such as `loss 3.1`; shown from the next `advance` on.
    """

    def __init__(
        self, what: str, *, total: int | None = None, unit: str = "", done: int = 0
    ) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self.note = ""
        self._bar: Any = None
        if _listener is not None:
            _listener.on_work_begin(self)
        elif unit:
            from tqdm.auto import tqdm

            # where nobody reads along (`disable=None`) there is no bar
            self._bar = tqdm(desc=what, total=total, unit=unit, initial=done, mininterval=1.0,
                             leave=False, disable=None)  # fmt: skip

    def advance(self, n: int = 1) -> None:
        """Count `n` more parts as done."""
        self.done += n
        if self._bar is not None:
            self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.update(n)
        elif _listener is not None:
            _listener.on_work_advance(self)

    def close(self) -> None:
        """End the work; further calls do nothing."""
        if self._bar is not None:
            self._bar.close()
        elif _listener is not None:
            _listener.on_work_end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def track(
    items: Iterable[T], what: str, *, total: int | None = None, unit: str = "part"
) -> Iterator[T]:
    """Yield the items, and report each as done when the next one is asked for.

    Args:
        items: Computed as they are asked for.
        what: What is done, in words.
        total: Number of items; None if unknown.
        unit: What an item is.
    """
    with Work(what, total=total, unit=unit) as work:
        for item in items:
            yield item
            work.advance()


@contextmanager
def listening(listener: ProgressListener) -> Iterator[None]:
    """Return a context in which a listener is told of all work of this process.

    Args:
        listener: Replaces an outer one.
    """
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


_listener: ProgressListener | None = None
