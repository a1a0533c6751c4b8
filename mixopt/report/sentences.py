"""The report's answer in sentences. The verdict is the decision's; nothing here decides."""

from mixopt.decision import NATIVE, SPREADS, Decision
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal
from mixopt.report.data import UNITS, ReportData

MIN_CHANGE = 0.02  # smallest change of a ratio, or of all together, that the summary names
MIN_SHARE = 0.0005  # smallest share that one decimal of a percentage shows
MAX_NAMED = 3
DECISION_UNIT = "standard deviations of a benchmark over mixtures around the natural one"


def summarize(data: ReportData) -> str:
    """Return the answer in one sentence: what to change, how likely it is better, and by how much.

    Args:
        data: What the page shows.
    """
    best = data.best
    if not best.comparisons:
        return f"Train on {format_ratios(best.ratios)}. It was not compared with another mixture."
    first = best.comparisons[0]
    if best.decision is not None:
        return _summarize_decision(data, best.decision)
    if first.same:
        return f"Keep the {first.name} mixture: no mixture within the bounds is predicted to be better."
    gain = first.gain
    low, high = gain.interval
    unit = SPREADS if data.unit == UNITS["z"] else NATIVE
    source = f"measured by {data.measured_by}" if first.measured_gain else "predicted"
    span = f"{source}: {gain.mean:+.2f} {unit}, 95% interval {low:+.2f} to {high:+.2f}"
    changes = _describe_changes(best, first.name, first.ratios)
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


def _summarize_decision(data: ReportData, decision: Decision) -> str:
    low, high = decision.gain.interval
    tokens = "" if decision.tokens is None else f" after {decision.tokens:,} tokens"
    level = f" at {decision.level}" if decision.level else ""
    span = (
        f"expected gain {decision.gain.mean:+.2f} {decision.unit}{level}{tokens}, "
        f"95% interval {low:+.2f} to {high:+.2f}; from {decision.basis}"
    )
    sentence = decision.say(span)
    if not decision.moves:
        advice = f" {decision.advice}" if decision.advice else ""
        return f"{sentence[:1].upper()}{sentence[1:]}.{advice}"
    name, before = data.best.reference
    changes = _describe_changes(data.best, name, before or decision.kept)
    return f"{changes[:1].upper()}{changes[1:]}: {sentence}."


def describe_equivalent(data: ReportData) -> str:
    """Return the gain as tokens of training on natural, and what cannot be said of gains; "" without.

    Args:
        data: What the page shows.
    """
    decision = data.best.decision
    said = [] if decision is None else [decision.equivalent, decision.horizon]
    return " ".join(f"{one[:1].upper()}{one[1:]}." for one in said if one)


def format_ratios(mixture: Mixture, limit: int | None = None) -> str:
    """Return `50.0% web, 30.0% code and 20.0% maths`, the largest first.

    Args:
        mixture: Its domains without a share are not named; those with less than 0.05% are counted.
        limit: Most domains to name; the others are counted.
    """
    ranked = sorted((p for p in mixture.items() if p[1] > 0), key=lambda pair: -pair[1])
    named = [(domain, ratio) for domain, ratio in ranked if ratio >= MIN_SHARE][:limit]
    if not named:
        return f"{len(ranked):,} domains of less than 0.1% each"
    parts = [f"{100 * ratio:.1f}% {domain}" for domain, ratio in named]
    others = [ratio for _, ratio in ranked[len(named) :]]
    if sum(others) >= MIN_SHARE:
        domains = f"{len(others):,} other domain{'s' * (len(others) > 1)}"
        parts.append(f"{100 * sum(others):.1f}% in {domains}")
    return join(parts)


def _describe_changes(best: Proposal, name: str, other: Mixture) -> str:
    """Return `more code and maths, less web`."""
    changes = {d: best.ratios[d] - other.get(d, 0.0) for d in best.ratios}
    moved = sum(map(abs, changes.values())) / 2
    if moved < MIN_CHANGE:
        return f"nearly the {name} mixture"
    more = sorted((d for d in changes if changes[d] > MIN_CHANGE), key=lambda d: -changes[d])
    less = sorted((d for d in changes if changes[d] < -MIN_CHANGE), key=lambda d: changes[d])
    named = {"more": more[:MAX_NAMED], "less": less[:MAX_NAMED]}
    parts = [f"{word} {join(names)}" for word, names in named.items() if names]
    if parts:
        return ", ".join(parts)
    n_changed = sum(abs(change) > 0 for change in changes.values())
    return f"{100 * moved:.0f}% of the tokens move, a little in each of {n_changed:,} domains"


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


def join(names: list[str]) -> str:
    """Return `a, b and c`.

    Args:
        names: At least one.
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
