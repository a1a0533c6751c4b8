"""From the natural to the recommended ratios: what grows, what shrinks, caps and repetition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from mixopt.mixture import Mixture
from mixopt.proposal import Proposal
from mixopt.report.charts.picture import Chart, Picture, values
from mixopt.report.charts.theme import ROW, Palette

MAX_DOMAINS = 25  # drawn; the table has all
AT_CAP = 1e-4  # a ratio this near to its cap lies on it
SAME = 5e-4  # a smaller change of a ratio is none: it shows as 0.0 points
ROOM = 1.55  # width of the axis by the largest ratio: the numbers stand at its right end


@dataclass(frozen=True)
class Change:
    """The ratio of one domain, before and after.

    Attributes:
        domain: Name.
        before: Ratio in the mixture that the proposal is compared with; None without one.
        after: Recommended ratio.
        cap: Largest allowed ratio below 1, if there is one.
        repetition: Times that the target run reads a token; None where it is not known.
    """

    domain: str
    before: float | None
    after: float
    cap: float | None = None
    repetition: float | None = None

    @property
    def at_cap(self) -> bool:
        """Whether the cap limits the recommended ratio."""
        return self.cap is not None and self.after >= self.cap - AT_CAP

    @property
    def difference(self) -> float:
        """Change of the ratio; 0 without a mixture to compare with."""
        return 0.0 if self.before is None else self.after - self.before

    @property
    def direction(self) -> str:
        """`grows`, `shrinks` or `stays`."""
        if abs(self.difference) < SAME:
            return "stays"
        return "grows" if self.difference > 0 else "shrinks"


def changes(proposal: Proposal, upper: Mapping[str, float] | None = None) -> list[Change]:
    """Return the ratios before and after, what grows most first and what shrinks most last.

    Where a decision keeps its reference, `after` is the best other mixture: what was not chosen.

    Args:
        proposal: Its ratios are compared with those of its `reference`.
        upper: Upper bounds by domain; the caps of the proposal's budget count too.
    """
    caps = dict(upper or {})
    for domain, cap in (proposal.budget.caps if proposal.budget else {}).items():
        caps[domain] = min(cap, caps.get(domain, 1.0))
    _, before = proposal.reference
    after = shown_ratios(proposal)
    repetition = {} if proposal.budget is None else proposal.budget.count(after)
    rows = [
        Change(
            domain,
            None if before is None else before.get(domain, 0.0),
            ratio,
            caps[domain] if caps.get(domain, 1.0) < 1 else None,
            repetition.get(domain),
        )
        for domain, ratio in after.items()
    ]
    return sorted(rows, key=lambda row: (-row.difference, -row.after))


def ratios_picture(proposal: Proposal, upper: Mapping[str, float] | None = None) -> Picture:
    """Return the picture of a proposal's ratios, as arrows from those it is compared with.

    Args:
        proposal: With or without comparisons.
        upper: Upper bounds by domain.
    """
    rows = changes(proposal, upper)
    drawn = rows
    if len(rows) > MAX_DOMAINS:
        movers = sorted(rows, key=lambda row: (-abs(row.difference), -row.after))[:MAX_DOMAINS]
        drawn = [row for row in rows if row in movers]
    other = proposal.reference[0]
    shown = "recommended" if shown_ratios(proposal) == proposal.ratios else "the best other mixture"
    columns = ["domain", other or "before", shown, "change"]
    columns += ["cap"] * any(row.cap is not None for row in rows)
    columns += ["repetition"] * any(row.repetition is not None for row in rows)
    return Picture(
        "ratios",
        lambda palette: _draw(drawn, palette),
        f"Ratios by domain, from {other} to {shown}" if other else "Recommended ratios by domain",
        tuple(columns),
        [tuple(_cells(row, columns)) for row in rows],
        ROW * len(drawn) + 10,
    )


def shown_ratios(proposal: Proposal) -> Mixture:
    """Return the mixture to show beside the reference: the best other one where that is kept.

    Args:
        proposal: With or without a decision.
    """
    decision = proposal.decision
    if decision is None or decision.moves or decision.alone:
        return proposal.ratios
    return decision.candidate


def _cells(row: Change, columns: list[str]) -> list[str]:
    before = "–" if row.before is None else f"{row.before:.1%}"
    change = "–" if row.before is None else f"{100 * row.difference:+.1f} points"
    cells = [row.domain, before, f"{row.after:.1%}", change]
    if "cap" in columns:
        text = "–" if row.cap is None else f"{row.cap:.1%}"
        cells.append(f"{text} (reached)" if row.at_cap else text)
    if "repetition" in columns:
        cells.append("–" if row.repetition is None else f"{row.repetition:.2f}x")
    return cells


def _fields(row: Change) -> dict[str, Any]:
    before = row.after if row.before is None else row.before
    numbers = f"{row.after:.1%}" if row.before is None else f"{before:.1%} → {row.after:.1%}"
    repetition = (
        "" if row.repetition is None or row.repetition < 1.005 else f" {row.repetition:.1f}x"
    )
    return {
        "domain": row.domain, "before": 100 * before, "after": 100 * row.after,
        "cap": None if row.cap is None else 100 * row.cap, "direction": row.direction,
        "text": f"{numbers}{repetition}{' cap' if row.at_cap else ''}",
        "short": f"{row.after:.1%}{repetition}{' cap' if row.at_cap else ''}",
    }  # fmt: skip


def _draw(rows: list[Change], palette: Palette) -> Chart:
    fields = [_fields(row) for row in rows]
    largest = max([row["after"] for row in fields] + [row["before"] for row in fields] + [1.0])
    for row in fields:  # a cap far to the right limits nothing, and would press all else together
        row["cap"] = row["cap"] if row["cap"] is not None and row["cap"] <= 1.1 * largest else None
    shown = alt.Scale(domain=[0, largest * ROOM], nice=False)
    axis = alt.Axis(title="share of training tokens, %", grid=True, tickCount=5,
                    values=_ticks(largest))  # fmt: skip
    names = [row["domain"] for row in fields]
    y = alt.Y("domain:N", sort=names, title=None, axis=alt.Axis(ticks=False, domain=False))
    kinds = ["grows", "shrinks", "stays"]
    colour = alt.Color("direction:N", legend=None, scale=alt.Scale(
        domain=kinds, range=[palette.grows, palette.shrinks, palette.soft]))  # fmt: skip
    tooltip = [alt.Tooltip("domain:N"), alt.Tooltip("text:N", title="ratio")]
    base = alt.Chart(values(fields)).encode(y=y, tooltip=tooltip)
    x = alt.X("after:Q", scale=shown, axis=axis)
    layers = [
        base.mark_tick(color=palette.ink, thickness=2, size=15).encode(x=alt.X("cap:Q", scale=shown)),
        base.mark_rule(strokeWidth=3).encode(x=x, x2="before:Q", color=colour),
        base.mark_point(filled=True, size=45, opacity=1, color=palette.unclear).encode(
            x=alt.X("before:Q", scale=shown)
        ),
        base.mark_point(filled=True, size=110, opacity=1).encode(x=x, color=colour, shape=alt.Shape(
            "direction:N", legend=None,
            scale=alt.Scale(domain=kinds, range=["triangle-right", "triangle-left", "diamond"]))),
        base.mark_text(align="right", color=palette.ink).encode(x=alt.value("width"), text="text:N"),
    ]  # fmt: skip
    return alt.layer(*layers)


def _ticks(largest: float) -> list[float]:
    """Return ticks up to the largest ratio: right of it stand numbers, not ratios."""
    step = next(step for step in (0.2, 0.5, 1, 2, 5, 10, 20, 25) if largest / step <= 5)
    return [step * place for place in range(int(largest / step) + 1)]
