"""How a proposal compares: with one other mixture, with those that are as good, and with the trials.

Shapes: `d` domains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixopt.estimate import Estimate, read_estimates
from mixopt.mixture import Mixture


@dataclass(frozen=True)
class Comparison:
    """The proposal compared with one other mixture.

    Attributes:
        name: `natural`, `best seen` (the best run), `uniform` or `given`.
        ratios: The other mixture (`d`).
        predicted_gain: Utility of the proposal minus that of the other, by the surrogate.
        measured_gain: The same difference from merging and scoring both on the same items.
        differences: Measured score differences by metric, proposal minus other, in the metric's
            units.
        worse: Probability of a worse score by metric, for metrics where that is likely; by the measured
            differences if there are any, else by the surrogate.
        aggregates: Measured gain by aggregation of the capabilities: `mean`, `weighted`, `worst`.
        capabilities: Measured gain by capability, in standard deviations of a benchmark over the trials.
    """

    name: str
    ratios: Mixture
    predicted_gain: Estimate
    measured_gain: Estimate | None = None
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    worse: Mapping[str, float] = field(default_factory=dict)
    aggregates: Mapping[str, Estimate] = field(default_factory=dict)
    capabilities: Mapping[str, Estimate] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Comparison":
        """Return the comparison of a written proposal."""
        measured = plain.get("measured_gain")
        return cls(
            name=plain["name"],
            ratios=Mixture(plain["ratios"]),
            predicted_gain=Estimate.from_dict(plain["predicted_gain"]),
            measured_gain=None if measured is None else Estimate.from_dict(measured),
            differences=read_estimates(plain.get("differences", {})),
            worse=plain.get("worse", {}),
            aggregates=read_estimates(plain.get("aggregates", {})),
            capabilities=read_estimates(plain.get("capabilities", {})),
        )

    @property
    def gain(self) -> Estimate:
        """The measured gain if there is one, else the predicted one."""
        return self.measured_gain or self.predicted_gain

    @property
    def same(self) -> bool:
        """Whether the proposal is the other mixture."""
        return self.gain.mean == 0 and self.gain.std_error == 0

    @property
    def difference(self) -> str:
        """The gain in words, without a verdict."""
        low, high = self.gain.interval
        how = "measured" if self.measured_gain else "predicted"
        interval = f"95% interval [{low:+.3f}, {high:+.3f}]"
        return f"{how} utility difference {self.gain.mean:+.3f}, {interval}"

    @property
    def verdict(self) -> str:
        """The comparison in words: better, worse, not distinguishable, or the same mixture."""
        if self.same:
            return f"the same as the {self.name} mixture"
        span = self.difference
        if not self.gain.distinguishable:
            return f"not distinguishable from the {self.name} mixture ({span})"
        word = "better" if self.gain.mean > 0 else "worse"
        return f"{word} than the {self.name} mixture ({span})"


@dataclass(frozen=True)
class Ties:
    """Feasible mixtures that the surrogate cannot distinguish from the proposal.

    Attributes:
        share: Their share of the feasible mixtures, by uniform draws.
        ranges: Smallest and largest ratio by domain (`d`) among them.
        examples: Some of them, far from each other.
    """

    share: float
    ranges: Mapping[str, tuple[float, float]]
    examples: tuple[Mixture, ...] = ()

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Ties":
        """Return the ties of a written proposal."""
        ranges = {name: (float(low), float(high)) for name, (low, high) in plain["ranges"].items()}
        examples = tuple(Mixture(ratios) for ratios in plain["examples"])
        return cls(float(plain["share"]), ranges, examples)


@dataclass(frozen=True)
class Support:
    """Distance of a proposal from the trials.

    Attributes:
        nearest: Id of the trial with the nearest mixture.
        distance: Hellinger distance to it, from 0 to 1.
        usual: Usual distance of a trial from its nearest other trial: the 95th percentile.
        domains: Domains whose ratio lies beyond the range of the trials and its margin.
    """

    nearest: str
    distance: float
    usual: float
    domains: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Support":
        """Return the support of a written proposal."""
        domains = tuple(str(name) for name in plain.get("domains", ()))
        nearest, distance = str(plain["nearest"]), float(plain["distance"])
        return cls(nearest, distance, float(plain["usual"]), domains)

    @property
    def extrapolates(self) -> bool:
        """Whether the trials do not cover the mixture."""
        return self.distance > self.usual or bool(self.domains)
