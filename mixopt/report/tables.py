"""Tables of the page that stand behind no picture."""

import math
from collections.abc import Sequence

from mixopt.estimate import Estimate
from mixopt.mixture import HIERARCHY_MARK, group_names, members_of
from mixopt.report.charts.ratios import shown_ratios
from mixopt.report.data import CHANGES, ReportData
from mixopt.report.findings import name_run

Rows = list[tuple[str, ...]]


def scores(data: ReportData) -> tuple[tuple[str, ...], Rows]:
    """Return the columns and rows of the proposal's scores.

    Args:
        data: What the page shows.
    """
    best, by_name = data.best, {metric.name: metric for metric in data.metrics}
    first = best.comparisons[0] if best.comparisons else None
    columns = ["benchmark", "capability", "role", "better", "predicted"]
    if best.measured is not None:
        columns += ["measured", f"difference from {first.name}" if first else "difference"]
    rows: Rows = []
    for name in best.measured or best.predicted:
        metric = by_name[name]
        row = [
            name,
            metric.capability,
            metric.role,
            metric.better,
            _plain(best.predicted.get(name)),
        ]
        if best.measured is not None:
            change = first.differences.get(name) if first else None
            row += [_plain(best.measured.get(name)), _plain(change, "+.3f")]
        rows.append(tuple(row))
    return tuple(columns), rows


def ties(data: ReportData) -> Rows:
    """Return the range of each domain among mixtures that cannot be told from the proposal.

    Args:
        data: What the page shows.
    """
    ranges = data.best.ties.ranges if data.best.ties else {}
    widest = sorted(ranges.items(), key=lambda pair: pair[1][0] - pair[1][1])
    return [(domain, f"{low:.1%}", f"{high:.1%}") for domain, (low, high) in widest]


def groups(data: ReportData) -> Rows:
    """Return the sum of each group of domains beside the reference, and what it is split into.

    Where the reference is kept, the sums are those of the best other mixture.

    Args:
        data: What the page shows.
    """
    after, (_, before) = shown_ratios(data.best), data.best.reference
    rows: Rows = []
    for group in group_names(tuple(after)):
        members = members_of(group, tuple(after))
        total = sum(after[name] for name in members)
        parts = "; ".join(
            f"{name.removeprefix(group + HIERARCHY_MARK)} {after[name] / total if total else 0:.1%}"
            for name in members
        )
        was = "–" if before is None else f"{sum(before.get(name, 0.0) for name in members):.1%}"
        rows.append((group, was, f"{total:.1%}", parts))
    return rows


def trained(data: ReportData) -> Rows:
    """Return the runs that were really trained.

    Args:
        data: What the page shows.
    """
    rows: Rows = []
    for run in data.trained:
        gain = f"{run.gain:+.3f}" if math.isfinite(run.gain) else "–"
        note = "failed" if run.failed else "unused seed" if run.unseen else ""
        rows.append((name_run(data, run.ratios), f"{run.tokens:,}", str(run.seed), gain, note))
    return rows


def domains(data: ReportData) -> Rows:
    """Return the available tokens by domain.

    Args:
        data: What the page shows.
    """
    return [(row.domain, f"{row.available_tokens:,}", row.note) for row in data.domains]


def warnings(data: ReportData) -> list[tuple[str, Sequence[str], bool]]:
    """Return warnings by what they change: a title, sentences, and whether they are folded.

    Args:
        data: What the page shows; the notes of its proposal count as warnings about the ratios.
    """
    by_change = {
        change: [w.text for w in data.warnings if w.changes == change] for change in CHANGES
    }
    notes = [note for note in data.best.notes if note not in by_change["ratios"]]
    by_change["ratios"] = [*notes, *by_change["ratios"]]
    return [(CHANGES[c], found, c == "nothing") for c, found in by_change.items() if found]


def _plain(estimate: Estimate | None, form: str = ".3f") -> str:
    if estimate is None:
        return "–"
    return f"{estimate.mean:{form}} ± {estimate.std_error:.3f}"
