"""Results of a validation: proxies and the proposal compared with really trained runs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mixopt.trial import Kind

ENOUGH_TO_JUDGE = 10  # mixtures with which a rank correlation of 0.7 is significant
LEAST_GAIN = 0.005  # smallest gain of rank correlation that counts


@dataclass(frozen=True)
class RankFidelity:
    """How a proxy ranks the trained mixtures on a metric, or on the utility (`overall`).

    Attributes:
        name: The metric, or `overall`.
        proxy: `merged` or `ensembled`.
        spearman: Spearman's correlation of the proxy's scores with trained ones (mean over seeds).
        interval: Its 95% interval over mixtures (Fisher z, Bonett & Wright 2000).
        ceiling: Spearman's correlation of two seeds; NaN with one seed. The proxy is compared with
            the mean over seeds, which is less noisy, so it may exceed the ceiling a little.
        baseline: Spearman's correlation of log(own domain's ratio), which needs no training; NaN
            without a domain of the metric's own.
        overlap: Share of the best trained quarter that is in the proxy's best quarter.
        seeds: Runs of each mixture.
        mixtures: Number of mixtures.
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
        """Largest correlation of a noiseless proxy with the mean over seeds.

        From the ceiling r of two single seeds: √(s·r ÷ (1 + (s − 1)·r)), the square root of the
        reliability of a mean of s (Spearman-Brown); exact for Pearson's correlation.
        """
        if not self.ceiling > 0:
            return math.nan
        return math.sqrt(self.seeds * self.ceiling / (1 + (self.seeds - 1) * self.ceiling))

    @property
    def earned(self) -> bool:
        """Whether the ranking is better than chance: the interval is above zero."""
        return self.interval[0] > 0

    @property
    def failed(self) -> bool:
        """Whether the ranking is no better than chance with enough mixtures to show a useful one.

        Ten mixtures show a correlation of 0.7. With fewer, only a negative correlation fails.
        """
        if self.earned or not math.isfinite(self.spearman):
            return False
        return self.mixtures >= ENOUGH_TO_JUDGE or self.spearman <= 0


@dataclass(frozen=True)
class Purchase:
    """Expected benefit of further computation.

    Attributes:
        what: `merges`, `experts` (trained as long again) or `runs`.
        count: Number of further units.
        gain: Gain of rank correlation with trained utility.
        tokens: Cost in training tokens; 0 for candidates that ensembles score by arithmetic.
        at_most: Whether the gain is a bound, not an estimate.
    """

    what: str
    count: int
    gain: float
    tokens: float
    at_most: bool

    @property
    def per_token(self) -> float:
        """Gain per token; infinite where tokens buy a gain for nothing."""
        if self.tokens > 0:
            return self.gain / self.tokens
        return math.inf if self.gain > 0 else 0.0

    @property
    def option(self) -> str:
        """What is bought, in words."""
        return {
            "merges": f"{self.count} more candidates",
            "experts": "training every expert twice as long",
            "runs": f"{self.count} more real runs",
        }[self.what]

    @property
    def sentence(self) -> str:
        """The purchase in words."""
        most = "at most " if self.at_most else "about "
        cost = f"{self.tokens:,.0f} tokens" if self.tokens else "no tokens of training"
        return f"{self.option}: {most}{self.gain:+.3f} of rank for {cost}"


@dataclass(frozen=True)
class Cost:
    """Cost of the search, and of training every candidate instead.

    Attributes:
        search_tokens: Training tokens of the experts.
        search_flops: FLOPs of training the experts and scoring every candidate.
        trained_tokens: Training tokens if every candidate were a proxy run.
        trained_flops: FLOPs of those runs and of scoring them.
    """

    search_tokens: int
    search_flops: float
    trained_tokens: int
    trained_flops: float


@dataclass(frozen=True)
class Validation:
    """Proxies and the proposal compared with trained proxy runs.

    Attributes:
        fidelities: Rank fidelity by proxy: first `overall`, then every metric.
        mixtures: Names of the trained mixtures.
        utilities: Trained utility of each (mean over seeds), in standard deviations over them.
        regret: Best trained utility minus the proposal's; NaN if it was not trained.
        proxy_regret: By proxy, best trained utility minus that of the mixture it ranks first.
        gain: The proposal's trained utility minus the natural mixture's, by seed.
        seeds: Runs of each mixture.
        cost: Cost of the search and of its alternative.
        result: Holdout benchmarks of the result.
        result_gain: As `gain`, on those benchmarks.
        purchases: Benefits of further computation, the largest per token first.
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
        """The most useful further computation, in words."""
        useful = [purchase for purchase in self.purchases if purchase.gain > LEAST_GAIN]
        if not useful:
            return (
                "Neither more candidates, longer experts nor more real runs promise better ranks."
            )
        return "Most for its tokens: " + "; then ".join(p.sentence for p in useful) + "."

    def overall(self, proxy: str) -> RankFidelity | None:
        """Return how a proxy ranks the mixtures by utility; None if it was not scored."""
        rows = (row for row in self.fidelities if row.name == "overall" and row.proxy == proxy)
        return next(rows, None)

    @property
    def result_sentence(self) -> str:
        """The gain on holdout benchmarks in words, which may be reported."""
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
        """Rank fidelities of the proxies in words."""
        parts = "; ".join(
            f"{row.proxy} rank {row.spearman:+.2f} [{row.interval[0]:+.2f}, {row.interval[1]:+.2f}] "
            f"(ceiling {row.ceiling:+.2f}, own-domain log-ratio {row.baseline:+.2f})"
            for row in self.fidelities if row.name == "overall"
        )  # fmt: skip
        return f"over {len(self.mixtures)} trained mixtures x {self.seeds} seeds: {parts}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self) | {"advice": self.advice}
        for row, fields in zip(self.fidelities, plain["fidelities"], strict=True):
            fields |= {"attainable": row.attainable, "earned": row.earned, "failed": row.failed}
        return plain
