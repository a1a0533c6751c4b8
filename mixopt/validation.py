"""A validation: what really trained proxy runs say of the proxies and of the proposal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mixopt.trials import Kind


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
    """

    name: str
    proxy: Kind
    spearman: float
    interval: tuple[float, float]
    ceiling: float
    baseline: float
    overlap: float


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

    @property
    def result_sentence(self) -> str:
        """What may be reported: the gain on benchmarks that chose nothing."""
        if not self.result:
            return "Nothing here is a result: every benchmark chose the mixture. Give some role holdout."
        if not self.result_gain:
            return (
                "The proposal and the natural mixture were not both trained, so there is no result."
            )
        gains = ", ".join(f"{gain:+.2f}" for gain in self.result_gain)
        return (
            f"Result on what chose nothing ({', '.join(self.result)}): trained gain over the natural "
            f"mixture, by seed: {gains} sd."
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
        return asdict(self)
