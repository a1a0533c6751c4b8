"""The pictures of the page's answer: ratios, gains, what gets worse, and the evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixopt.decision import NEAREST_ALLOWED
from mixopt.estimate import Estimate
from mixopt.mixture import Mixture
from mixopt.report.charts.experts import experts_picture
from mixopt.report.charts.gains import gains_picture
from mixopt.report.charts.learning_curve import learning_picture
from mixopt.report.charts.more_runs import more_runs_picture
from mixopt.report.charts.picture import Picture
from mixopt.report.charts.predicted import ranks_picture
from mixopt.report.charts.progress import progress_picture, purchases_picture
from mixopt.report.charts.ratios import ratios_picture
from mixopt.report.data import ReportData
from mixopt.report.sentences import format_ratios

SAME = 1e-6  # largest difference of a ratio between mixtures that count as the same
ALL = "all capabilities"
ALONE = 0.99  # ratio of a domain from which a trained run is of that domain alone
NAMED = 3  # domains in the name of a trained mixture


@dataclass(frozen=True)
class Findings:
    """The pictures that a report has; None, where there is nothing to show.

    Attributes:
        ratios: From natural to recommended.
        gains: By capability: of real training where a decision is about it, else of the prediction.
        benchmarks: Change of each benchmark in % of its score, the worst first.
        trained: Runs that were really trained, and what was expected.
        merges: By capability, of merges, beside a decision about real training.
        ranks: How well the surrogate ranks what it has not seen.
        progress: Rank correlation by candidates scored.
        learning: Expected gain by tokens of training, and what the next run is worth.
        purchases: What more computation would buy.
        more_runs: How well a surrogate of more runs would rank, for a table.
        experts: Change of each expert's losses.
    """

    ratios: Picture
    gains: Picture | None = None
    benchmarks: Picture | None = None
    trained: Picture | None = None
    merges: Picture | None = None
    ranks: Picture | None = None
    progress: Picture | None = None
    learning: Picture | None = None
    purchases: Picture | None = None
    more_runs: Picture | None = None
    experts: Picture | None = None

    @property
    def pictures(self) -> dict[str, Picture]:
        """Those that there are, by name."""
        found = (getattr(self, name) for name in self.__dataclass_fields__)
        return {picture.name: picture for picture in found if picture is not None}


def find(data: ReportData) -> Findings:
    """Return the pictures of a report.

    Args:
        data: What the page shows.
    """
    what_if, best = data.what_if, data.best
    upper = dict(zip(what_if.domains, what_if.upper.tolist(), strict=True))
    losses = [metric.name for metric in data.metrics if metric.better == "lower"]
    purchases = data.validation.purchases if data.validation else ()
    return Findings(
        ratios=ratios_picture(best, upper),
        gains=_gains(data),
        benchmarks=_benchmarks(data),
        trained=_trained(data),
        merges=_merges(data),
        ranks=ranks_picture(data.predictions) if data.predictions else None,
        progress=progress_picture(data.rounds) if data.rounds else None,
        learning=learning_picture(best.decision) if best.decision else None,
        purchases=purchases_picture(purchases) if purchases else None,
        more_runs=more_runs_picture(data.expectations) if data.expectations else None,
        experts=experts_picture(data.expert_scores, losses)
        if losses and data.expert_scores
        else None,
    )


def benchmark_changes(data: ReportData) -> dict[str, Estimate]:
    """Return the change of each benchmark in % of its score, positive where better; worst first.

    It is that of the decision where there is one, else the measured one of merges, else the predicted
    one; none where there is no other mixture than the reference. Benchmarks whose score at the reference
    is 0 or not known are left out.

    Args:
        data: What the page shows.
    """
    best, better = data.best, {metric.name: metric.better for metric in data.metrics}
    scores, predicted = _at_reference(data)
    if best.decision is not None:
        alone = best.decision.alone
        changes: Mapping[str, Estimate] = {} if alone else best.decision.differences
    elif best.comparisons and best.comparisons[0].differences:
        changes = best.comparisons[0].differences
    else:
        changes = predicted if best.comparisons else {}
    found = {}
    for name, change in changes.items():
        score = scores.get(name, math.nan)
        if math.isfinite(score) and abs(score) > 1e-12 and math.isfinite(change.mean):
            factor = 100 / abs(score) * (-1 if better.get(name) == "lower" else 1)
            found[name] = Estimate(factor * change.mean, abs(factor) * change.std_error)
    return dict(sorted(found.items(), key=lambda pair: pair[1].chance))


def probably_worse(data: ReportData) -> dict[str, float]:
    """Return benchmarks that probably get worse, with the probability, the likeliest first.

    Args:
        data: What the page shows.
    """
    best = data.best
    if best.decision is None:
        worse = best.comparisons[0].worse if best.comparisons else {}
        return dict(sorted(worse.items(), key=lambda pair: -pair[1]))
    changes = benchmark_changes(data)
    return {name: 1 - gain.chance for name, gain in changes.items() if gain.chance < 0.5}


def predicted_gains(data: ReportData) -> dict[str, Estimate]:
    """Return the surrogate's gain by capability of the proposal over the reference.

    Args:
        data: What the page shows.
    """
    what_if, ratios = data.what_if, data.best.ratios.vector(data.what_if.domains)[None]
    gains = {}
    for output in what_if.outputs:
        if output.kind == "capability":
            _, change, std = what_if.read(output, ratios)
            gains[output.name] = Estimate(float(change[0]), float(std[0]))
    return gains


def name_run(data: ReportData, ratios: Mixture) -> str:
    """Return what a trained mixture is called: a name that the page uses, or its largest ratios.

    Args:
        data: What the page shows.
        ratios: What was trained.
    """
    named = {"recommended": data.best.ratios}
    if data.best.decision is not None:
        decision = data.best.decision
        named = {decision.reference: decision.kept, **named}
        if not decision.moves:
            named = {decision.reference: decision.kept, "best other": decision.candidate}
    named |= {c.name: c.ratios for c in data.best.comparisons}
    for name, mixture in named.items():
        if all(abs(ratios[d] - mixture.get(d, 0.0)) < SAME for d in ratios):
            return name
    return format_ratios(ratios, NAMED)


def _at_reference(data: ReportData) -> tuple[dict[str, float], dict[str, Estimate]]:
    """Return scores at the reference, and the predicted changes of the proposal, by metric."""
    what_if, best = data.what_if, data.best
    _, mixture = best.reference
    reference = np.square(what_if.sqrt_reference)[None]
    if mixture is not None:  # of a decision it need not be the first comparison
        reference = np.array([[mixture.get(domain, 0.0) for domain in what_if.domains]])
    ratios = best.ratios.vector(what_if.domains)[None]
    scores, changes = {}, {}
    compared = [c for c in best.comparisons if c.ratios == mixture]
    if best.measured and compared:  # also those that the surrogate does not predict
        for name, change in compared[0].differences.items():
            if name in best.measured:
                scores[name] = best.measured[name].mean - change.mean
    for output in what_if.outputs:
        if output.kind == "metric":
            scores[output.name] = float(what_if.read(output, reference)[0][0])
            _, change_at, std = what_if.read(output, ratios)
            changes[output.name] = Estimate(float(change_at[0]), float(std[0]))
    return scores, changes


def _gains(data: ReportData) -> Picture | None:
    best = data.best
    if not best.comparisons:
        return None
    first = best.comparisons[0]
    if best.decision is not None:
        if best.decision.alone:
            return None
        rows = [(ALL, best.decision.gain), *best.decision.capabilities.items()]
        title = f"gain of training over {best.decision.reference}"
        return _capabilities("gains", rows, "Gain by capability", title)
    if first.same:
        return None
    if first.measured_gain is not None:
        rows = [(ALL, first.measured_gain), *first.capabilities.items()]
        return _capabilities(
            "gains", rows, "Measured gain by capability", f"gain over {first.name}"
        )
    rows = [(ALL, first.predicted_gain), *predicted_gains(data).items()]
    return _capabilities("gains", rows, "Predicted gain by capability", f"gain over {first.name}")


def _merges(data: ReportData) -> Picture | None:
    best = data.best
    if best.decision is None or not best.comparisons:
        return None
    first = best.comparisons[0]
    if first.measured_gain is None or first.same:
        return None
    rows = [(ALL, first.measured_gain), *first.capabilities.items()]
    title = f"difference from {first.name}"
    return _capabilities("merges", rows, "Measured difference of merges by capability", title)


def _capabilities(name: str, rows: list[tuple[str, Estimate]], label: str, title: str) -> Picture:
    return gains_picture(rows, name=name, label=label, title=title)


def _benchmarks(data: ReportData) -> Picture | None:
    changes = benchmark_changes(data)
    if not changes:
        return None
    return gains_picture(
        list(changes.items()), name="benchmarks", percent=True, first_column="benchmark",
        label="Change of each benchmark, the worst first",
        title="change in % of the score; right is better",
    )  # fmt: skip


def _trained(data: ReportData) -> Picture | None:
    decision = data.best.decision
    rows = [
        (name_run(data, run.ratios), Estimate(run.gain, math.nan))
        for run in data.trained
        # runs of one domain alone are so much worse that all else would lie on one spot
        if math.isfinite(run.gain) and max(run.ratios.values()) < ALONE
    ]
    if decision is not None and decision.alone:  # a reference gains nothing over itself
        decision = replace(decision, confirmation=None, merges=None)
    if decision is None or (not rows and decision.confirmation is None and decision.merges is None):
        return None
    expected = "expected of training" + (f" {decision.tokens:,} tokens" if decision.tokens else "")
    # runs and merges are compared with natural, also where the limits forbid it
    is_over_natural = decision.reference != NEAREST_ALLOWED
    said = [(expected, decision.gain)] * (is_over_natural and not decision.alone)
    if decision.confirmation is not None:
        tokens = decision.confirmed_tokens
        where = f", {tokens:,} tokens" if tokens else ""
        said.append((f"unused seeds{where}", decision.confirmation))
        if decision.expected_before is not None:
            said.append((f"expected before them{where}", decision.expected_before))
    if decision.merges is not None:
        said.append(("merges of the experts", decision.merges.gain))
    order = dict.fromkeys(name for name, _ in rows)
    dots = [(f"run: {name}", gain) for first in order for name, gain in rows if name == first]
    return gains_picture(
        [*said, *dots], name="trained", first_column="evidence",
        label="What is known of the gain: the expectation, merges, and each trained run",
        title=f"gain over {decision.reference if is_over_natural else 'natural'}",
    )  # fmt: skip
