"""The end of a command in ten lines: verdict, ratios as bars, where things are, what to do next.

Shapes: `d` domains.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from rich.cells import cell_len, set_cell_size

from mixopt.decision import EquivalentTokens, round_tokens
from mixopt.io.display import DOTS, show_line
from mixopt.proposal import Proposal

ROWS = 10
"""Lines in all."""
FEWEST_BARS = 3
"""Lines for ratios that are kept where other lines take two rows of a narrow terminal."""
NAME_CELLS = 24
"""Widest name of a domain."""
BAR_CELLS = 30
"""Longest bar."""
MOVED = 5e-4
"""Difference of a ratio below which a domain stays."""


@dataclass(frozen=True)
class BarSigns:
    """Signs of a bar: what both mixtures have, what is added, and what is taken away."""

    both: str
    added: str
    taken: str


BLOCKS = BarSigns("█", "▒", "░")
ASCII = BarSigns("#", "+", "-")


def choose_signs() -> BarSigns:
    """Return the signs that the encoding of stdout can write."""
    try:
        (BLOCKS.both + BLOCKS.added + BLOCKS.taken).encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return BLOCKS


def summarize(
    proposal: Proposal,
    rest: Sequence[str],
    *,
    width: int | None = None,
    signs: BarSigns = BLOCKS,
) -> list[str]:
    """Return the answer in about ten lines: verdict, tokens that the gain is worth, bars, and the rest.

    Args:
        proposal: The best one.
        rest: Where things are, and what to do next; a line each.
        width: Columns of the terminal, in which a longer line takes two rows; None without one.
        signs: Of the bars.
    """
    lines = [proposal.verdict]
    decision = proposal.decision
    if decision is not None and decision.equivalent_tokens is not None and not decision.alone:
        mixture = "this mixture" if decision.moves else "the best other one"
        lines.append(f"  {_worth(decision.equivalent_tokens, mixture)}")
    if decision is not None and decision.horizon:
        lines.append(f"  the gain at the target's {decision.target_tokens:,} tokens cannot be said")
    rows = sum(_count_rows(line, width) for line in (*lines, *rest))
    lines += draw_ratios(proposal, max(FEWEST_BARS, ROWS - rows), signs, width)
    return [show_line(line) for line in (*lines, *rest)]


def draw_ratios(
    proposal: Proposal, most: int, signs: BarSigns = BLOCKS, width: int | None = None
) -> list[str]:
    """Return a line for each domain, the ones that move most first.

    Args:
        proposal: Its recommended mixture is drawn over the reference's. Where the reference is kept, the
            best other mixture is named beside it.
        most: Lines; the last one counts the domains that have none.
        signs: Of the bars.
        width: Columns of the terminal, into which the bars are fitted; None without one.
    """
    before, after, stays = _mixtures(proposal)
    names = sorted(after, key=lambda d: (-abs(after[d] - before.get(d, 0.0)), -after[d], d))
    if len(names) > most:
        shown, left = names[: most - 1], names[most - 1 :]
    else:
        shown, left = names, []
    cells = min(NAME_CELLS, max(cell_len(show_line(name)) for name in shown))
    scale = max(max(before.get(d, 0.0), after[d]) for d in names) or 1.0
    lines = []
    for name in shown:
        old, new = before.get(name, 0.0), after[name]
        label = _fit(show_line(name), cells)
        numbers = f"{old:6.1%} (best other {new:6.1%})" if stays else f"{old:6.1%} -> {new:6.1%}"
        before_bar = f"  {label}  {numbers}  "
        room = BAR_CELLS if width is None else max(0, width - cell_len(before_bar))
        bar = _draw_bar(old, new, min(BAR_CELLS, room) / scale, signs)
        lines.append(f"{before_bar}{bar}".rstrip())
    if left:
        largest = max(abs(after[d] - before.get(d, 0.0)) for d in left)
        change = f"differ by {largest:.1%} or less" if largest >= MOVED else "are the same"
        lines.append(f"  and {len(left)} more domains, which {change}")
    return lines


def _mixtures(proposal: Proposal) -> tuple[Mapping[str, float], Mapping[str, float], bool]:
    """Return the reference, the mixture beside it, and whether the reference is kept."""
    decision = proposal.decision
    if decision is not None:
        return decision.kept, decision.candidate, not decision.moves and not decision.alone
    if proposal.comparisons:
        return proposal.comparisons[0].ratios, proposal.ratios, False
    return proposal.ratios, proposal.ratios, False


def _draw_bar(old: float, new: float, cells: float, signs: BarSigns) -> str:
    """Return the bar of two ratios with as many cells for a ratio of 1."""
    short, long = (round(cells * ratio) for ratio in sorted((old, new)))
    return signs.both * short + (signs.added if new > old else signs.taken) * (long - short)


def _worth(equivalent: EquivalentTokens, mixture: str) -> str:
    low, high = round_tokens(equivalent.low), round_tokens(equivalent.high)
    return (
        f"{equivalent.tokens:,} tokens on {mixture} are worth {round_tokens(equivalent.median)} of "
        f"natural, 95% interval [{low}, {high}]"
    )


def _fit(name: str, cells: int) -> str:
    """Return a name in exactly as many cells: cut with dots, or padded."""
    if cell_len(name) > cells:
        return set_cell_size(name, cells - len(DOTS)) + DOTS
    return set_cell_size(name, cells)


def _count_rows(line: str, width: int | None) -> int:
    return 1 if width is None else max(1, ceil(cell_len(line) / width))
