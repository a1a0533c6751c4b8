import os
import re
import subprocess
import sys

import click
import pytest
from calling import ENV, call

from mixopt.callbacks.live_view import LiveView
from mixopt.callbacks.view import LogView, View
from mixopt.cli.main import VERBS, main
from mixopt.cli.output import open_view

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_q_and_v(verb):
    printed = call(verb, "--help")
    assert re.search(r"-q, --quiet +Print only the result", printed)
    assert re.search(r"-v, --verbose +Print and log more", printed)


@pytest.mark.parametrize(("given", "level"), [
    ((), 20), (("-q",), 40), (("--verbose",), 10),
])  # fmt: skip
def test_before_the_verb_and_after_it(given, level, tmp_path):
    import logging

    for before, after in ((given, ()), ((), given)):
        call(*before, "pack", *after, tmp_path / "none", tmp_path / "x.tar", code=2)
        assert logging.getLogger("mixopt").level == level


def run(ran, *words, stderr=subprocess.PIPE, **changes):
    folder, _ = ran
    env = ENV | {"MIXOPT_CACHE": str(folder / "cache")} | changes
    command = [sys.executable, "-m", "mixopt", *words, str(folder / "toy.yaml"),
               "-o", str(folder / "out"), "--device", "cpu", "--no-track"]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=env)


def test_a_pipe_gets_lines_with_their_time_and_no_control_characters(ran):
    out, errors = run(ran, "run").communicate(timeout=300)
    text = out.decode() + errors.decode()
    assert not re.search(r"[\r\x1b\x00-\x08]", text)
    milestones, end = out.decode().split("\n\n")
    assert all(re.match(r"\d\d:\d\d:\d\d  \S", line) for line in milestones.splitlines())
    assert len(end.splitlines()) <= 10
    lines = text.splitlines()
    assert len({line[10:] for line in lines if line}) == len([line for line in lines if line])


def test_quiet_is_the_end_alone_in_what_the_encoding_has(ran):
    out, errors = run(ran, "run", "-q", PYTHONIOENCODING="ascii", PYTHONUTF8="0").communicate(
        timeout=300
    )
    assert errors == b""
    assert len(out.splitlines()) <= 10
    assert b"likely to be better" in out.splitlines()[0]
    assert re.search(rb"\d%.*  #{3,}", out)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_terminal_gets_a_live_view_that_leaves_lines_behind(ran):
    import pty

    ours, theirs = pty.openpty()
    process = run(ran, "run", stderr=theirs, TERM="xterm-256color")
    os.close(theirs)
    drawn = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last process has closed it
            break
        if not part:
            break
        drawn += part
    out, _ = process.communicate(timeout=300)
    os.close(ours)
    text = ESCAPES.sub("", drawn.decode())
    assert "searching" in text
    assert "study: " in text
    assert drawn.decode().rstrip("\r").endswith("\x1b[2K")  # erased at the end
    assert not re.search(rb"[\r\x1b]", out)  # a pipe, although stderr is a terminal
    assert b"expert birds: loss" in out


@pytest.mark.parametrize(("verbosity", "terminal", "term", "rank", "kind"), [
    (0, True, "xterm", "0", LiveView),
    (0, True, "dumb", "0", LogView), (0, False, "xterm", "0", LogView),
    (-1, True, "xterm", "0", View), (0, True, "xterm", "1", View),
])  # fmt: skip
def test_what_shows_work_under_way(monkeypatch, verbosity, terminal, term, rank, kind):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("RANK", rank)
    context = click.Context(main)
    context.meta["mixopt.verbosity"] = verbosity
    assert type(open_view(context)) is kind
    assert open_view(context) is open_view(context)


def test_names_with_markup_in_a_table_are_text(tables, tmp_path):
    text = tables[0].read_text().replace("web,code", "[bold red]web[/],\u202ecode")
    (tmp_path / "r.csv").write_text(text)
    printed = call("propose", "--ratios", tmp_path / "r.csv", "--metrics", tables[1])
    assert "  [bold red]web[/]  " in printed
    assert "  [U+202E]code" in printed
