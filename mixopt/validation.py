"""A validation: what really trained proxy runs say of the proxies and of the proposal."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mixopt.trials import Kind

ENOUGH_TO_JUDGE = 10
"""Mixtures whose ranks tell a proxy of 0.7 from chance."""
LEAST_GAIN = 0.005
"""A gain of rank below this is none."""


@dataclass(frozen=True)
class RankFidelity:
    """How one proxy ranks the trained mixtures on one metric, or on the utility (`overall`).

    Attributes:
        name: The metric, or `overall`.
        proxy: `merged` or `ensembled`.
        spearman: Between the proxy's scores and the trained ones (mean over seeds).
        interval: Its 95% interval over mixtures (Fisher z, Bonett & Wright 2000).
        ceiling: Spearman of one seed's scores with another's; NaN with one seed. The proxy is
            held against the mean over seeds, which is less noisy, so it may lie a little above.
        baseline: Spearman of log(own domain's ratio): no training at all; NaN where no domain
            is the metric's own.
        overlap: Share of the truly best quarter that is in the proxy's best quarter.
        seeds: Runs of each mixture.
        mixtures: How many were ranked.
    """

    name: str
    proxy: Kind
    spearman: float
    interval: tuple[float, float]
    ceiling: float
    baseline: float
    overlap: float
    seeds: int = 1
    mixtures: int = 0

    @property
    def attainable(self) -> float:
        """What a proxy without noise of its own could reach against the mean over seeds.

        From the ceiling r of two single seeds: √(s·r ÷ (1 + (s − 1)·r)), the square root of the
        reliability of a mean of s (Spearman-Brown); exact for Pearson's correlation.
        """
        if not self.ceiling > 0:
            return math.nan
        return math.sqrt(self.seeds * self.ceiling / (1 + (self.seeds - 1) * self.ceiling))

    @property
    def earned(self) -> bool:
        """Whether the ranking is not to be explained by chance: the interval is above zero."""
        return self.interval[0] > 0

    @property
    def failed(self) -> bool:
        """Whether chance would explain the ranking although there was enough to show a useful one.

        Ten mixtures show a rank of 0.7. Fewer condemn a proxy only where it ranks backwards.
        """
        if self.earned or not math.isfinite(self.spearman):
            return False
        return self.mixtures >= ENOUGH_TO_JUDGE or self.spearman <= 0


@dataclass(frozen=True)
class Purchase:
    """What more of something would buy.

    Attributes:
        what: `merges`, `experts` (trained as long again) or `runs`.
        count: How many more are meant.
        gain: Rank correlation with real training, utility against utility.
        tokens: Training tokens, or what costs as much.
        at_most: Whether the gain is a bound, not an estimate.
    """

    what: str
    count: int
    gain: float
    tokens: float
    at_most: bool

    @property
    def per_token(self) -> float:
        """Gain for a token."""
        return self.gain / self.tokens if self.tokens > 0 else 0.0

    @property
    def sentence(self) -> str:
        """What it would buy, in one line."""
        named = {
            "merges": f"{self.count} more candidates",
            "experts": "training every expert twice as long",
            "runs": f"{self.count} more real runs",
        }[self.what]
        most = "at most " if self.at_most else "about "
        return f"{named}: {most}{self.gain:+.3f} of rank for {self.tokens:,.0f} tokens"


@dataclass(frozen=True)
class Cost:
    """What the search cost, and what training every candidate would have.

    Attributes:
        search_tokens: Tokens the experts were trained on.
        search_flops: Of training the experts and scoring every candidate.
        trained_tokens: Tokens to train every candidate as a proxy run.
        trained_flops: Of that, and of scoring each.
    """

    search_tokens: int
    search_flops: float
    trained_tokens: int
    trained_flops: float


@dataclass(frozen=True)
class Validation:
    """What real proxy runs say of the proxies and of the proposal.

    Attributes:
        fidelities: By proxy: first `overall`, then every metric.
        mixtures: Names of the trained mixtures.
        utilities: Trained utility of each (mean over seeds), in standard deviations over them.
        regret: Best trained utility minus the proposal's; NaN where it was not trained.
        proxy_regret: By proxy: best trained utility minus that of the mixture it ranks first.
        gain: Proposal's trained utility minus the natural mixture's, by seed.
        seeds: Runs of each mixture.
        cost: Of the search and of its alternative.
        result: Benchmarks that chose nothing, on which the result stands.
        result_gain: Proposal's trained utility on those minus the natural mixture's, by seed.
        purchases: What more of each would buy, the best per token first.
    """

    fidelities: tuple[RankFidelity, ...]
    mixtures: tuple[str, ...]
    utilities: tuple[float, ...]
    regret: float
    proxy_regret: Mapping[str, float]
    gain: tuple[float, ...]
    seeds: int
    cost: Cost
    result: tuple[str, ...] = ()
    result_gain: tuple[float, ...] = ()
    purchases: tuple[Purchase, ...] = ()

    @property
    def advice(self) -> str:
        """What would buy most per token."""
        useful = [purchase for purchase in self.purchases if purchase.gain > LEAST_GAIN]
        if not useful:
            return (
                "Neither more candidates, longer experts nor more real runs promise better ranks."
            )
        return "Most for its tokens: " + "; then ".join(p.sentence for p in useful) + "."

    def overall(self, proxy: str) -> RankFidelity | None:
        """How a proxy ranks the mixtures by utility; None where it was not scored."""
        rows = [row for row in self.fidelities if row.name == "overall" and row.proxy == proxy]
        return rows[0] if rows else None

    @property
    def result_sentence(self) -> str:
        """What may be reported: the gain on benchmarks that chose nothing."""
        if not self.result:
            return "Nothing here is a result: every benchmark chose the mixture. Give some role holdout."
        if not self.result_gain:
            return (
                f"There is no result: the holdout benchmarks ({', '.join(self.result)}) are the same "
                "for all trained mixtures, or the proposal or the natural mixture was not trained."
            )
        gains = ", ".join(f"{gain:+.2f}" for gain in self.result_gain)
        return (
            f"Result on what chose nothing ({', '.join(self.result)}): trained gain of the proposal, as "
            f"it was before these runs, over the natural mixture, by seed: {gains} sd."
        )

    @property
    def sentence(self) -> str:
        """What the proxy runs say, in one line."""
        parts = []
        for row in self.fidelities:
            if row.name == "overall":
                low, high = row.interval
                parts.append(
                    f"{row.proxy} rank {row.spearman:+.2f} [{low:+.2f}, {high:+.2f}] "
                    f"(ceiling {row.ceiling:+.2f}, own-domain log-ratio {row.baseline:+.2f})"
                )
        return (
            f"over {len(self.mixtures)} trained mixtures x {self.seeds} seeds: {'; '.join(parts)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        plain = asdict(self) | {"advice": self.advice}
        for row, told in zip(self.fidelities, plain["fidelities"], strict=True):
            told |= {"attainable": row.attainable, "earned": row.earned, "failed": row.failed}
        return plain
