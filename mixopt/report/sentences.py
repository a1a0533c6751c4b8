"""The report's summary sentences."""

from mixopt.proposal import Comparison, Proposal
from mixopt.report.data import UNITS, ReportData

MIN_CHANGE = 0.02
"""Smallest change of a ratio that the summary names."""
MAX_NAMED = 3


def format_ratios(proposal: Proposal) -> str:
    """Return `50.0% web, 30.0% code and 20.0% maths`, the largest first."""
    return _join([
        f"{100 * ratio:.1f}% {domain}"
        for domain, ratio in sorted(proposal.ratios.items(), key=lambda pair: -pair[1])
        if ratio >= 0.0005
    ])  # fmt: skip


def summarize(data: ReportData) -> str:
    """Return what changes against the first comparison, the gain, and how certain that is."""
    best = data.best
    if not best.comparisons:
        return f"Train on {format_ratios(best)}. It was not compared with another mixture."
    first = best.comparisons[0]
    if first.same:
        return f"Keep the {first.name} mixture: no mixture within the bounds is predicted to be better."
    gain = first.gain
    low, high = gain.interval
    unit = " sd" if data.unit == UNITS["z"] else ""
    source = f"measured by {data.measured_by}" if first.measured_gain else "predicted"
    span = f"{source}: {gain.mean:+.2f}{unit} of utility, 95% interval {low:+.2f} to {high:+.2f}"
    changes = _describe_changes(best, first)
    if not gain.distinguishable:
        return (
            f"The proposal ({changes}) is not distinguishable from the {first.name} mixture ({span}). "
            "Choose it for other reasons, or measure more."
        )
    word = "better" if gain.mean > 0 else "worse"
    return (
        f"{changes[:1].upper()}{changes[1:]}: {word} than the {first.name} mixture ({span})."
        f"{_describe_validation(data)}"
    )


def _describe_changes(best: Proposal, other: Comparison) -> str:
    """Return `more code and maths, less web`."""
    changes = {d: best.ratios[d] - other.ratios.get(d, 0.0) for d in best.ratios}
    more = sorted((d for d in changes if changes[d] > MIN_CHANGE), key=lambda d: -changes[d])
    less = sorted((d for d in changes if changes[d] < -MIN_CHANGE), key=lambda d: changes[d])
    parts = [
        f"{word} {_join(names[:MAX_NAMED])}"
        for word, names in (("more", more), ("less", less))
        if names
    ]
    return ", ".join(parts) or f"nearly the {other.name} mixture"


def _describe_validation(data: ReportData) -> str:
    if data.validation is None:
        return " No real training run has checked it."
    gains = ", ".join(f"{gain:+.2f}" for gain in data.validation.gain)
    if not gains:
        return ""
    subject = "it"
    if data.validated_an_earlier_proposal:
        subject = "the earlier proposal, from before they corrected the surrogate,"
    return f" In real training runs {subject} gained {gains} (one number per seed)."


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
