import io
import logging
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console, Group

from mixopt import Estimate, Mixture
from mixopt.callbacks.base import BestSoFar, PlannedStage
from mixopt.callbacks.live_view import LiveView
from mixopt.io.progress import Work, listening


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal():
    """Stdout and stderr of one terminal."""
    return Terminal()


@pytest.fixture(autouse=True)
def stdout_is_the_terminal(monkeypatch, terminal):
    monkeypatch.setattr("mixopt.callbacks.live_view.sys", SimpleNamespace(stdout=terminal))


def make_view(stream, width=80):
    lines = []
    console = Console(file=stream, width=width, force_terminal=True, highlight=False)
    return LiveView(lines.append, console), lines


def drawn(view, width):
    """The lines that are drawn, as text."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(Group(*view.draw_lines()))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_stage_work_study_and_best_have_a_line_each_that_fits(terminal, width):
    view, _ = make_view(terminal, width)
    view.clock.plan([PlannedStage("experts", 2000)])
    view.clock.begin("experts")
    name = "[bold red]" + "w" * 200
    view.best = BestSoFar(Mixture({name: 0.7, "b": 0.3}), Estimate(0.5, 0.1), "merges")
    with listening(view):
        with Work("experts", total=3, unit="expert"), Work(name, total=9, unit="step") as steps:
            steps.note = "loss 3.1"
            lines = drawn(view, width)
        view.close()
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    head, work, study, best = lines
    assert head.startswith("training e")
    assert work.startswith("  [bold red]www")
    assert study.startswith("  study: 0 s")
    assert best.startswith("  best: +0.50 [+0.30, +0.70] over nat")


@pytest.mark.parametrize(("part", "of"), [("study", ""), ("phase", " of this phase")])
def test_what_is_left_is_of_the_phase_where_there_are_phases(terminal, part, of):
    view, _ = make_view(terminal)
    view.clock.now = lambda: view.clock.started + 10.0
    view.clock.plan([PlannedStage("experts", 2000), PlannedStage("budget", 4000)], part)
    view.clock.begin("budget")
    view.clock._token_s = 0.005
    assert drawn(view, 80)[1] == f"  study: 10 s, about 20 s left{of}"
    view.close()


def test_jobs_of_many_workers_are_counted(terminal):
    view, _ = make_view(terminal)
    view.clock.begin("experts")
    with (
        listening(view), Work("experts", total=3, unit="expert"), Work("expert 'a'"),
        Work("expert 'b'"),
    ):  # fmt: skip
        assert "  at work: expert 'a', and 1 more" in drawn(view, 80)
    view.close()


def test_lines_go_above_the_view_and_it_leaves_nothing_behind(terminal):
    view, printed = make_view(terminal)
    view.clock.begin("experts")
    with listening(view), Work("experts", total=3, unit="expert"):
        view.line("[bold]a milestone[/]")
    view.close()
    view.line("the end")
    assert "[bold]a milestone[/]" in terminal.getvalue()
    assert printed == ["the end"]
    assert terminal.getvalue().endswith("\x1b[1A\x1b[2K")  # the drawn lines are erased


def test_a_pipe_on_stdout_gets_its_lines_plain(terminal, monkeypatch):
    monkeypatch.setattr("mixopt.callbacks.live_view.sys", SimpleNamespace(stdout=io.StringIO()))
    view, printed = make_view(terminal)
    view.clock.begin("experts")
    with listening(view), Work("experts", total=3, unit="expert"):
        view.line("a milestone")
    view.close()
    assert printed == ["a milestone"]
    assert view.width is None


def test_what_is_logged_goes_above_the_view(terminal, monkeypatch):
    from mixopt.cli.output import StderrHandler

    monkeypatch.setattr(sys, "stderr", terminal)
    handler = StderrHandler()
    view, _ = make_view(terminal)
    view.clock.begin("experts")
    with listening(view), Work("experts", total=3, unit="expert"):
        assert handler.stream is not terminal
        handler.emit(logging.makeLogRecord({"msg": "beware\x1b[31m", "levelno": logging.WARNING}))
    view.close()
    assert handler.stream is terminal
    assert "beware[U+001B]" in terminal.getvalue()


def test_a_command_without_stages_ends_the_view_with_its_work(terminal):
    view, printed = make_view(terminal)
    with listening(view), Work("merging", total=2, unit="file") as files:
        files.advance()
        assert drawn(view, 80)[0].startswith("merging  ")
    view.line("Written")
    assert printed == ["Written"]
