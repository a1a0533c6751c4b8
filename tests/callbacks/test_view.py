import sys
from io import BytesIO, TextIOWrapper

import pytest

from mixopt.callbacks.view import LogView, View
from mixopt.io.progress import Work, listening


class Time:
    def __init__(self):
        self.t = 0.0

    def __call__(self):
        return self.t


def test_a_line_has_no_control_characters_and_no_credentials():
    lines = []
    View(lines.append).line("a\r\x1b[31mb\nc [bold]\u202e http://me:secret@host/x")
    assert lines == ["a [U+001B][31mb c [bold][U+202E] http://host/x"]


def test_the_time_goes_before_a_milestone():
    lines = []
    View(lines.append).line("x", timed=True)
    assert lines[0][2] == lines[0][5] == ":"
    assert lines[0][8:] == "  x"


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", "数"), ("ascii", "\\u6570")])
def test_what_the_encoding_lacks_is_escaped(monkeypatch, encoding, written):
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding=encoding))
    lines = []
    View(lines.append).line("数")
    assert lines == [written]


def test_long_work_has_a_line_at_its_quarters_and_short_work_has_none():
    lines, time = [], Time()
    view = LogView(lines.append, time)
    with listening(view), Work("round 1: scoring", total=100, unit="candidate") as work:
        for _ in range(100):
            time.t += 0.1
            work.advance()
        assert lines == []
    with (
        listening(view),
        Work("round 2: scoring", total=100, unit="candidate") as work,
        Work("the candidates"),
    ):
        for _ in range(100):
            time.t += 10.0
            work.advance()
    assert [line[10:] for line in lines] == [
        "round 2: scoring: candidate 25 of 100, about 13 min left of this stage",
        "round 2: scoring: candidate 50 of 100, about 8 min left of this stage",
        "round 2: scoring: candidate 75 of 100, about 4 min left of this stage",
    ]


def test_work_of_hours_has_a_line_each_half_hour():
    lines, time = [], Time()
    view = LogView(lines.append, time)
    with listening(view), Work("training base", total=1000, unit="step") as work:
        work.note = "loss 3"
        for _ in range(100):
            time.t += 60.0
            work.advance()
    assert len(lines) == 3
    assert lines[0][10:].startswith("training base: step 30 of 1,000, loss 3, about 16 h")
