"""Sentences of the report: what a person would say in a meeting."""

from mixopt.proposal import Comparison, Proposal
from mixopt.report.data import UNITS, ReportData

MOVED = 0.02
"""Ratios that move by less are not worth a word."""
NAMED = 3


def tell_ratios(proposal: Proposal) -> str:
    """`50.0% web, 30.0% code and 20.0% maths`, the largest first."""
    parts = [
        f"{100 * ratio:.1f}% {domain}"
        for domain, ratio in sorted(proposal.ratios.items(), key=lambda pair: -pair[1])
        if ratio >= 0.0005
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def tell_meeting(data: ReportData) -> str:
    """The one sentence to take into a meeting: what moves, what it gains, and how sure that is."""
    best = data.best
    if not best.comparisons:
        return f"Train on {tell_ratios(best)}; it was compared with nothing."
    first = best.comparisons[0]
    if first.same:
        return (
            f"Keep the {first.name} mixture: nothing that may be proposed is expected to do better."
        )
    gain = first.gain
    low, high = gain.interval
    unit = " sd" if data.unit == UNITS["z"] else ""
    span = f"{gain.mean:+.2f}{unit} of utility, 95% interval {low:+.2f} to {high:+.2f}"
    how = f"measured by {data.measured_by}" if first.measured_gain else "predicted"
    if not gain.distinguishable:
        return (
            f"Against the {first.name} mixture the proposal ({_tell_moves(best, first)}) makes no "
            f"difference that we can tell ({how}: {span}); choose it for other reasons, or measure more."
        )
    word = "better" if gain.mean > 0 else "worse"
    return (
        f"{_capital(_tell_moves(best, first))}: {word} than the {first.name} mixture ({how}: {span})"
        f"{_tell_validation(data)}."
    )


def _tell_moves(best: Proposal, other: Comparison) -> str:
    """`more code and maths, less web`."""
    moves = {d: best.ratios[d] - other.ratios.get(d, 0.0) for d in best.ratios}
    more = sorted((d for d in moves if moves[d] > MOVED), key=lambda d: -moves[d])[:NAMED]
    less = sorted((d for d in moves if moves[d] < -MOVED), key=lambda d: moves[d])[:NAMED]
    parts = [f"{word} {_list(names)}" for word, names in (("more", more), ("less", less)) if names]
    return ", ".join(parts) or f"nearly the {other.name} mixture"


def _tell_validation(data: ReportData) -> str:
    found = data.validation
    if found is None:
        return "; no real run has checked it"
    gains = ", ".join(f"{gain:+.2f}" for gain in found.gain)
    whose = "the proposal before those runs" if _corrected(data) else "it"
    return f"; {whose}, really trained, gained by seed {gains}" if gains else ""


def _corrected(data: ReportData) -> bool:
    """Whether the real runs have changed the proposal that they were made for."""
    return any("the validation is of the proposal before" in note for note in data.best.notes)


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
