import sys
from dataclasses import replace
from io import BytesIO, TextIOWrapper

import pytest

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.summary import ASCII, BLOCKS, choose_signs, draw_ratios, summarize
from mixopt.comparison import Comparison
from mixopt.decision import Decision

REST = ("Results   out", "Next      read", "Warnings  2")


def decided(before, after, *, moves=True):
    before, after = Mixture(before), Mixture(after)
    decision = Decision(moves, after, before, Estimate(0.4, 0.1), 9000, 2)
    return Proposal(after if moves else before, Estimate(0, 1), {}, decision=decision)


def many(n):
    """Domains of which the last ones move most."""
    shift = {i: i / n**3 for i in range(n)}
    start = {f"d{i:03d}": 1 / n for i in range(n)}
    moved = {
        f"d{i:03d}": 1 / n + (shift[i] if i % 2 else -shift[i - 1] if i else 0) for i in range(n)
    }
    total = sum(moved.values())
    return decided(start, {name: ratio / total for name, ratio in moved.items()})


def test_bars_show_what_is_kept_added_and_taken():
    first, second = draw_ratios(decided({"a": 0.5, "b": 0.5}, {"a": 0.8, "b": 0.2}), 5, ASCII)
    assert first == f"  a   50.0% ->  80.0%  {'#' * 19}{'+' * 11}"
    assert second == f"  b   50.0% ->  20.0%  {'#' * 8}{'-' * 11}"


def test_where_natural_stays_the_best_other_mixture_is_named():
    proposal = decided({"a": 0.5, "b": 0.5}, {"a": 0.8, "b": 0.2}, moves=False)
    first, _ = draw_ratios(proposal, 5)
    assert first.startswith("  a   50.0% (best other  80.0%)  ███")


def test_a_target_beyond_what_can_be_told_has_a_line():
    near = decided({"a": 0.5, "b": 0.5}, {"a": 0.8, "b": 0.2})
    far = replace(near, decision=replace(near.decision, target_tokens=10**6))
    assert "  the gain at the target's 1,000,000 tokens cannot be said" in summarize(far, REST)
    assert not [line for line in summarize(near, REST) if "cannot be said" in line]


def test_without_a_decision_the_first_comparison_is_the_reference():
    proposal = Proposal(
        Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {},
        (Comparison("best seen", Mixture.uniform("ab"), Estimate(0.0, 1.0)),),
    )  # fmt: skip
    assert draw_ratios(proposal, 5)[0].startswith("  a   50.0% ->  90.0%")
    assert draw_ratios(replace(proposal, comparisons=()), 5)[0].startswith("  a   90.0% ->  90.0%")


@pytest.mark.parametrize("n", [2, 6, 7, 25, 300])
def test_ten_lines_whatever_the_number_of_domains(n):
    lines = summarize(many(n), REST)
    assert len(lines) == min(10, 4 + n)
    assert lines[0].startswith("> 99% likely to be better than the natural mixture")
    assert lines[-3:] == list(REST)


def test_of_three_hundred_domains_the_top_movers_come_first():
    *_, before_last, last = draw_ratios(many(300), 6)
    lines = draw_ratios(many(300), 6)
    assert lines[0].split()[0] == "d299"
    assert {line.split()[0] for line in lines[1:3]} == {"d297", "d298"}
    assert before_last.split()[0].startswith("d29")
    assert last == "  and 295 more domains, which are the same"
    assert draw_ratios(many(7), 6)[-1].startswith("  and 2 more domains, which differ by ")


def test_a_narrow_terminal_gets_fewer_bars_and_the_rest_whole():
    wide, narrow = (summarize(many(25), REST, width=width) for width in (140, 60))
    assert len(wide) == 10
    assert len(narrow) < 10
    assert narrow[0] == wide[0]
    assert narrow[-3:] == wide[-3:]


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80])
def test_bars_fit_into_the_terminal(width, moves):
    before = {"a" * 24: 0.5, "b" * 24: 0.5}
    proposal = decided(before, dict(zip(before, (0.8, 0.2), strict=True)), moves=moves)
    lines = draw_ratios(proposal, 5, BLOCKS, width)
    numbers = (
        "  " + "a" * 24 + ("   50.0% (best other  80.0%)" if not moves else "   50.0% ->  80.0%")
    )
    assert lines[0].startswith(numbers)
    if width >= 60:  # the numbers alone take more of a narrower one
        assert max(map(len, lines)) <= width
    assert len(lines[0]) <= max(width, len(numbers))
    assert len(draw_ratios(proposal, 5, BLOCKS, 200)[0]) == len(numbers) + 2 + 30


@pytest.mark.parametrize(("name", "shown"), [
    ("[bold red]x[/]", "[bold red]x[/]"),
    ("a\u202eb", "a[U+202E]b"),
    ("\x1b[31mred\r", "[U+001B][31mred"),
    ("w" * 200, "w" * 21 + "..."),
    ("数" * 40, "数" * 10 + " ..."),
])  # fmt: skip
def test_names_are_shown_as_text(name, shown):
    proposal = decided({name: 0.5, "b": 0.5}, {name: 0.8, "b": 0.2})
    first = next(line for line in summarize(proposal, REST) if "80.0%" in line)
    assert first.startswith(f"  {shown}")
    assert "\r" not in first
    assert "\x1b" not in first


@pytest.mark.parametrize(("encoding", "signs"), [
    ("utf-8", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), ("cp437", BLOCKS),
])  # fmt: skip
def test_bars_are_what_the_encoding_can_write(monkeypatch, encoding, signs):
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding=encoding))
    assert choose_signs() is signs
