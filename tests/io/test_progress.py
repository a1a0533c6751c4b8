import io

import pytest

from mixopt.io.progress import Work, listening, track


class Log:
    def __init__(self):
        self.events = []

    def on_work_begin(self, work):
        self.events.append(("begin", work.what))

    def on_work_advance(self, work):
        self.events.append((work.done, work.total, work.note))

    def on_work_end(self, work):
        self.events.append(("end", work.what))


def test_work_is_told_to_the_listener_and_draws_no_bar(monkeypatch):
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **_: pytest.fail("a bar"))
    log = Log()
    with listening(log), Work("training birds", total=4, unit="step", done=1) as work:
        work.note = "loss 3"
        work.advance(2)
    assert log.events == [("begin", "training birds"), (3, 4, "loss 3"), ("end", "training birds")]


def test_items_are_done_when_the_next_one_is_asked_for():
    log = Log()
    with listening(log):
        items = track(iter("ab"), "experts", total=2, unit="expert")
        assert next(items) == "a"
        assert log.events == [("begin", "experts")]
        assert list(items) == ["b"]
    assert log.events[1:] == [(1, 2, ""), (2, 2, ""), ("end", "experts")]


def test_work_that_fails_ends():
    log = Log()
    with pytest.raises(RuntimeError), listening(log), Work("a job"):
        raise RuntimeError
    assert log.events == [("begin", "a job"), ("end", "a job")]


def test_an_inner_listener_replaces_the_outer_one_for_its_time():
    outer, inner = Log(), Log()
    with listening(outer):
        with listening(inner):
            Work("x").close()
        Work("y").close()
    assert inner.events == [("begin", "x"), ("end", "x")]
    assert outer.events == [("begin", "y"), ("end", "y")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("unit", "stream", "drawn"), [
    ("step", Terminal, True), ("step", io.StringIO, False), ("", Terminal, False),
])  # fmt: skip
def test_without_a_listener_counted_work_has_a_bar_in_a_terminal(monkeypatch, unit, stream, drawn):
    import sys

    monkeypatch.setattr(sys, "stderr", stream())
    with Work("training birds", total=2, unit=unit) as work:
        work.advance()
    assert ("training birds" in sys.stderr.getvalue()) == drawn
