"""A proposal: the mixture to train on, what it should do, how sure we are, and against what."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mixopt.errors import ExportError
from mixopt.io.parsing import load_json, show, tell
from mixopt.mixture import Budget, Mixture

Z95 = 1.959963984540054
"""Two-sided 95% quantile of the standard normal distribution."""

Z80 = 1.2815515655446004
"""Two-sided 80% quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A number and how sure it is.

    Attributes:
        mean: The number.
        std_error: Its standard error, calibrated where the 95% interval was.
        half80: Half of the 80% interval in standard errors: tails need not be normal.
    """

    mean: float
    std_error: float
    half80: float = Z80

    @property
    def interval80(self) -> tuple[float, float]:
        """The two-sided 80% interval."""
        half = self.half80 * self.std_error
        return self.mean - half, self.mean + half

    @property
    def chance(self) -> float:
        """The probability that the number is above zero, under a normal error."""
        if not self.std_error > 0:
            return (
                math.nan
                if math.isnan(self.mean)
                else (float(self.mean > 0) + float(self.mean >= 0)) / 2
            )
        return 0.5 * (1 + math.erf(self.mean / self.std_error / math.sqrt(2)))

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95% interval."""
        half = Z95 * self.std_error
        return self.mean - half, self.mean + half

    @property
    def distinguishable(self) -> bool:
        """Whether zero lies outside the 95% interval."""
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class Comparison:
    """The proposal against one other mixture.

    Attributes:
        name: `natural`, `uniform` or `best seen`.
        ratios: The other mixture.
        predicted_gain: Utility of the proposal minus the other's, by the surrogate.
        measured_gain: The same from really merging and scoring both, on the same items.
        differences: Measured by metric, in the metric's own units, proposal minus other.
        worse: Metrics that are expected to be worse than at the other, with the probability.
        aggregates: The measured gain by each way of making one number of the capabilities:
            `mean`, `weighted`, `worst`.
        capabilities: The measured gain in each capability, in standard deviations over the trials.
    """

    name: str
    ratios: Mixture
    predicted_gain: Estimate
    measured_gain: Estimate | None = None
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    worse: Mapping[str, float] = field(default_factory=dict)
    aggregates: Mapping[str, Estimate] = field(default_factory=dict)
    capabilities: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def gain(self) -> Estimate:
        """The measured gain where there is one, else the predicted one."""
        return self.measured_gain or self.predicted_gain

    @property
    def same(self) -> bool:
        """Whether the proposal is the other mixture: no difference, and no doubt about it."""
        return self.gain.mean == 0 and self.gain.std_error == 0

    @property
    def verdict(self) -> str:
        """One sentence: better, worse, not distinguishable, or the same mixture."""
        if self.same:
            return f"the same as the {self.name} mixture"
        low, high = self.gain.interval
        how = "measured" if self.measured_gain else "predicted"
        interval = f"95% interval [{low:+.3f}, {high:+.3f}]"
        span = f"{how} utility difference {self.gain.mean:+.3f}, {interval}"
        if not self.gain.distinguishable:
            return f"not distinguishable from the {self.name} mixture ({span})"
        word = "better" if self.gain.mean > 0 else "worse"
        return f"{word} than the {self.name} mixture ({span})"


@dataclass(frozen=True)
class Ties:
    """Feasible mixtures that cannot be told from the proposal.

    Attributes:
        share: Of the candidates that were looked at.
        ranges: Smallest and largest ratio by domain among them.
        examples: A few of them, far from each other.
    """

    share: float
    ranges: Mapping[str, tuple[float, float]]
    examples: tuple[Mixture, ...] = ()


@dataclass(frozen=True)
class Support:
    """What of the trials stands behind a proposal.

    Attributes:
        nearest: Id of the trial whose mixture is nearest.
        distance: Hellinger distance to it, from 0 to 1.
        usual: The largest distance of a trial to its nearest other one.
    """

    nearest: str
    distance: float
    usual: float

    @property
    def extrapolates(self) -> bool:
        """Whether the proposal lies further from every trial than trials from each other."""
        return self.distance > self.usual


@dataclass(frozen=True)
class Proposal:
    """A mixture that the surrogate recommends.

    Attributes:
        ratios: Shares of tokens by domain.
        utility: Predicted utility, higher is better.
        predicted: Predicted score by metric, in the metric's own units.
        comparisons: Against the reference mixtures; the first is the natural one.
        weights: The experts' weights that stand for `ratios`, where there are experts.
        measured: Score by metric of the proposal's own merge, where it was verified.
        budget: What the target run reads, and what there is to read.
        tokens_per_document: Measured mean by domain; trainers that draw documents need it.
        notes: Sentences that a reader must not miss.
        ties: Mixtures that cannot be told from this one.
        support: The nearest trial, and how far the proposal extrapolates.
        errors: Predicted error of benchmarks whose loss-to-error law is known.
    """

    ratios: Mixture
    utility: Estimate
    predicted: Mapping[str, Estimate]
    comparisons: tuple[Comparison, ...] = ()
    weights: Mapping[str, float] | None = None
    measured: Mapping[str, Estimate] | None = None
    budget: Budget | None = None
    tokens_per_document: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ties: Ties | None = None
    support: Support | None = None
    errors: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def repetition(self) -> dict[str, float]:
        """How often the target run would see a token of each domain, where that is known."""
        return {} if self.budget is None else self.budget.count(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the utility gain over the natural mixture.

        From the verification where there was one; else the surrogate's own.
        """
        return self.comparisons[0].gain.interval if self.comparisons else self.utility.interval

    @property
    def verdict(self) -> str:
        """One sentence about the proposal and the natural mixture."""
        return self.comparisons[0].verdict if self.comparisons else "compared with nothing"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the verdict and intervals spelled out for readers."""
        plain = asdict(self) | {"ratios": dict(self.ratios), "comparisons": []}
        if self.ties is not None:
            plain["ties"] |= {"examples": [dict(mixture) for mixture in self.ties.examples]}
        for comparison in self.comparisons:
            row = asdict(comparison) | {"ratios": dict(comparison.ratios)}
            told = {"verdict": comparison.verdict, "chance": comparison.gain.chance}
            plain["comparisons"].append(row | told)
        told = {"repetition": self.repetition, "verdict": self.verdict}
        return plain | told | {"interval": list(self.interval)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Proposal":
        """The proposal that `to_dict` wrote.

        Raises:
            ValueError: A number is none, or a mean length or a count of tokens is not positive.
        """
        for domain, number in plain.get("tokens_per_document", {}).items():
            if not isinstance(number, int | float) or not number > 0:
                raise ValueError(f"tokens_per_document of {domain!r} is {number!r}")
        return cls(
            ratios=Mixture(plain["ratios"]),
            utility=_estimate(plain["utility"]),
            predicted=_estimates(plain["predicted"]),
            comparisons=tuple(_comparison(row) for row in plain["comparisons"]),
            weights=plain.get("weights"),
            measured=None if plain.get("measured") is None else _estimates(plain["measured"]),
            budget=None if plain.get("budget") is None else Budget.from_dict(plain["budget"]),
            tokens_per_document=_numbers(plain.get("tokens_per_document", {})),
            notes=tuple(plain.get("notes", ())),
            ties=None if plain.get("ties") is None else _ties(plain["ties"]),
            support=None if plain.get("support") is None else Support(**plain["support"]),
            errors=_estimates(plain.get("errors", {})),
        )

    @classmethod
    def read(cls, path: str | Path) -> "Proposal":
        """The proposal in a JSON file that mixopt wrote.

        Raises:
            ExportError: The file does not exist or holds no proposal.
        """
        file = Path(path)
        if not file.is_file():
            raise ExportError(f"{file} does not exist; give the proposal.json of a study.")
        try:
            return cls.from_dict(load_json(file.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise ExportError(
                f"{file} is not a proposal that mixopt wrote ({tell(error)}); give a proposal.json."
            ) from None

    def to_json(self) -> str:
        """The proposal as JSON text; NaN, which JSON lacks, is written as null."""
        return json.dumps(_without_nan(self.to_dict()), indent=2) + "\n"


def _comparison(row: Mapping[str, Any]) -> Comparison:
    measured = row.get("measured_gain")
    return Comparison(
        name=row["name"],
        ratios=Mixture(row["ratios"]),
        predicted_gain=_estimate(row["predicted_gain"]),
        measured_gain=None if measured is None else _estimate(measured),
        differences=_estimates(row.get("differences", {})),
        worse=row.get("worse", {}),
        aggregates=_estimates(row.get("aggregates", {})),
        capabilities=_estimates(row.get("capabilities", {})),
    )


def _ties(plain: Mapping[str, Any]) -> Ties:
    ranges = {name: (float(low), float(high)) for name, (low, high) in plain["ranges"].items()}
    examples = tuple(Mixture(ratios) for ratios in plain["examples"])
    return Ties(float(plain["share"]), ranges, examples)


def _estimate(plain: Mapping[str, float | None]) -> Estimate:
    for key, value in plain.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"its {key} is {show(value)}")
    numbers = {key: math.nan if value is None else value for key, value in plain.items()}
    return Estimate(**numbers)


def _numbers(plain: Mapping[str, Any]) -> dict[str, float]:
    for name, value in plain.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise ValueError(f"{show(name)} has {show(value)} tokens per document")
    return {name: float(value) for name, value in plain.items()}


def _estimates(plain: Mapping[str, Mapping[str, float | None]]) -> dict[str, Estimate]:
    return {name: _estimate(row) for name, row in plain.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
