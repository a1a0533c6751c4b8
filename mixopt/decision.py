"""The decision: which mixture to train on, and how likely it is to be better than the natural one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from mixopt.estimate import Estimate, format_chance, read_estimates
from mixopt.evidence import PairedNoise, describe_ranges
from mixopt.mixture import Mixture

Record = TypeVar("Record")

NEAREST_ALLOWED = "nearest allowed"
"""Name of the reference where the limits forbid natural: the mixture nearest to it that they allow."""
SPREADS = "sd of a benchmark"
"""Unit of gains: 1 = every benchmark that chooses improves by one standard deviation of its scores.

That is over the runs of a table, or over ensembles around natural in a study. The utility is a weighted
mean of such gains, so its own standard deviation is not 1.
"""
OLD_SPREADS = "sd of utility"
"""What files of earlier versions call that unit."""
NATIVE = "of utility"
"""Unit of gains of a utility that has no such scale: raw scores, or ranks."""
CHANCE = 0.8
"""Least probability of a positive gain at which a mixture is recommended."""
FARTHEST = 8
"""A gain is stated for at most this many times the tokens of the longest run that a study can train."""
SAME_RATIO = 1e-6  # largest difference of a ratio between mixtures that count as the same


@dataclass(frozen=True)
class EquivalentTokens:
    """How long natural would have to be trained to be as good as the candidate.

    Attributes:
        tokens: Tokens of training on the candidate.
        median: Tokens of training on natural with the same utility. They have no mean, because a slope
            that may be near 0 divides.
        low: Lower end of the 95% interval.
        high: Upper end.
    """

    tokens: int
    median: float
    low: float
    high: float

    def describe(self, mixture: str) -> str:
        """Return the comparison in words.

        Args:
            mixture: What the candidate is called.
        """
        return (
            f"{self.tokens:,} tokens on {mixture} are worth {round_tokens(self.median)} on the natural "
            f"mixture, 95% interval [{round_tokens(self.low)}, {round_tokens(self.high)}]"
        )


@dataclass(frozen=True)
class MergeCheck:
    """What merges of the experts say of the candidate: evidence beside ensembles and runs.

    Attributes:
        gain: Gain of its merge over the merge of natural, at the experts' length; the interval covers
            the sampling of benchmark items alone.
        better: How many of the next best mixtures have a better merge, beyond the sampling of items.
        neighbours: How many of them were merged.
    """

    gain: Estimate
    better: int
    neighbours: int

    def describe(self, mixture: str = "") -> str:
        """Return the check in words.

        Args:
            mixture: What the candidate is called, where that is not clear.
        """
        low, high = self.gain.interval
        of = f" for {mixture}" if mixture else ""
        rank = f"; {self.better} of the {self.neighbours} next best mixtures have a better merge"
        return (
            f"merges of the experts{of}: gain {self.gain.mean:+.3f} at the experts' length, 95% "
            f"interval of the items [{low:+.3f}, {high:+.3f}]{rank if self.neighbours else ''}"
        )


@dataclass(frozen=True)
class LearningStep:
    """What was known after some training.

    Attributes:
        tokens: Tokens of training until then, without the base: experts, from the second step on runs
            too.
        runs: Trained runs until then that tell of a gain.
        gain: Of the candidate that would have been chosen then, in the unit of `Decision.gain`.
        moves: Whether it would have been recommended.
    """

    tokens: int
    runs: int
    gain: Estimate
    moves: bool


@dataclass(frozen=True)
class NextRun:
    """A run that was not trained, and what it is worth.

    Attributes:
        ratios: Of the run.
        tokens: Its length.
        price: Tokens of training that it costs, with a natural run to compare it with.
        value: By how much it is expected to raise the gain of the mixture chosen after it.
    """

    ratios: Mixture
    tokens: int
    price: int
    value: float


def round_tokens(tokens: float) -> str:
    """Return a number of tokens with three significant digits, such as `1,230,000`."""
    return f"{int(float(f'{tokens:.3g}')):,}"


@dataclass(frozen=True)
class Decision:
    """What to train on, and how likely it is to be better than a reference, the natural mixture.

    It is about one quantity: the gain of really training on a mixture over really training on the
    reference. Scores of merges are evidence about it.

    Attributes:
        moves: Whether to train on the candidate; otherwise stay with the reference.
        candidate: The best mixture other than the reference.
        kept: The reference.
        gain: The candidate's gain, in the unit of the objective; the interval covers what the
            proxies miss.
        tokens: Tokens of training at which the gain is stated; None where they are not known.
        runs: Number of really trained runs behind it.
        capabilities: Its gain by capability, in the same unit.
        differences: Its expected difference by metric, in the metric's units.
        confirmation: Its gain over natural in unused seeds, which were trained at the end of a budget.
            The candidate was the best before these runs and is chosen again given them: they are part
            of `gain`. It is in the objective's unit at the length of these runs.
        equivalent_tokens: The gain as tokens of training on natural; None where it cannot be said.
        no_equivalent: Why it cannot be said; empty where it is.
        merges: What merges say of the candidate beside natural, as a check.
        reference: Name of the reference: `natural`, `uniform`, `best seen` or `given`; `nearest allowed`
            if the limits forbid that one, for the mixture nearest to it that they allow.
        level: Fidelity of the runs at which the gain is stated, where a table has several.
        proxies: What else it is known from; empty for runs alone.
        advice: What it would take to tell, where the reference is kept; empty where unknown.
        learning: What was known as training was spent, first to last; empty where unknown.
        next_runs: Of each length, the run that is worth most; empty where unknown.
        confirmed_tokens: Length of the runs of `confirmation`; None without any.
        expected_before: What was expected of `confirmation`, given the other runs; None without any.
        unit: Of `gain`, in the words that follow its number: `SPREADS` or `NATIVE`.
        target_tokens: Of the run that the mixture is for; None where it is not known.
        noise: Of one paired difference of the utility; None where unknown.
        resampled: By domain, the 10% and 90% quantiles of its ratio in the best ensemble over resampled
            benchmark items; empty where ensembles do not score all that chooses.
    """

    moves: bool
    candidate: Mixture
    kept: Mixture
    gain: Estimate
    tokens: int | None
    runs: int
    capabilities: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    confirmation: Estimate | None = None
    equivalent_tokens: EquivalentTokens | None = None
    no_equivalent: str = ""
    merges: MergeCheck | None = None
    reference: str = "natural"
    level: str = ""
    proxies: str = "ensembles of the experts"
    advice: str = ""
    learning: tuple[LearningStep, ...] = ()
    next_runs: tuple[NextRun, ...] = ()
    confirmed_tokens: int | None = None
    unit: str = SPREADS
    target_tokens: int | None = None
    noise: PairedNoise | None = None
    resampled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    expected_before: Estimate | None = None

    @property
    def ratios(self) -> Mixture:
        """The mixture to train on."""
        return self.candidate if self.moves else self.kept

    @property
    def verdict(self) -> str:
        """The decision in one sentence."""
        low, high = self.gain.interval
        gain = f"gain {self.gain.mean:+.3f} {self.unit}{self.where}"
        return self.say(f"{gain}, 95% interval [{low:+.3f}, {high:+.3f}]")

    def say(self, span: str) -> str:
        """Return the decision in one sentence.

        Args:
            span: The gain and its interval in words.
        """
        chance = format_chance(self.gain.chance)
        if self.moves:
            return f"{chance} likely to be better than the {self.reference} mixture ({span})"
        stay = f"stay with the {self.reference} mixture"
        if self.alone:
            return f"{stay}: there is no other candidate"
        # likely enough, so it is the expected gain that is missing
        little = ", by too little to count" if self.gain.chance >= CHANCE else ""
        return f"{stay}: the best other one is {chance} likely to be better{little} ({span})"

    @property
    def alone(self) -> bool:
        """Whether the candidate is the reference itself, for want of another."""
        names = {*self.candidate, *self.kept}
        return all(
            abs(self.candidate.get(name, 0.0) - self.kept.get(name, 0.0)) < SAME_RATIO
            for name in names
        )

    @property
    def equivalent(self) -> str:
        """The gain as tokens of training on natural, or why it cannot be said; "" without either."""
        if self.alone:
            return ""
        if self.equivalent_tokens is not None:
            return self.equivalent_tokens.describe(self._candidate_name)
        why = self.no_equivalent
        return f"the gain cannot be said in tokens of the natural mixture: {why}" if why else ""

    @property
    def horizon(self) -> str:
        """What cannot be said of the target's tokens; "" where the gain is stated at them."""
        if self.tokens is None or self.target_tokens is None or self.target_tokens <= self.tokens:
            return ""
        return (
            f"the gain at the target's {self.target_tokens:,} tokens cannot be said: that is more than "
            f"{FARTHEST} times the longest run of this study"
        )

    @property
    def where(self) -> str:
        """Fidelity and tokens at which the gain is stated, in words: ` at 1B`; empty if unknown."""
        tokens = [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        parts = [self.level] * bool(self.level) + tokens
        return f" at {', '.join(parts)}" if parts else ""

    @property
    def basis(self) -> str:
        """What the gain is known from, in words."""
        count = f"{self.runs} {self.level or 'trained'} run{'s' * (self.runs > 1)}"
        runs = count if self.runs else "no trained run"
        return f"{self.proxies} and {runs}" if self.proxies else runs

    @property
    def checks(self) -> tuple[str, ...]:
        """Sentences on what else was looked at: unused seeds, merges, noise, and resampled items."""
        name = self._candidate_name
        said = [] if self.merges is None else [self.merges.describe("" if self.moves else name)]
        if self.confirmation is not None:
            gain, (low, high) = self.confirmation.mean, self.confirmation.interval
            tokens = self.confirmed_tokens
            where = "" if tokens is None else f" at {tokens:,} tokens"
            known = f"unused seeds of {name}, which was the best before these runs"
            sentence = f"{known}: gain {gain:+.3f}{where}, 95% interval [{low:+.3f}, {high:+.3f}]"
            if (before := self.expected_before) is not None:
                low, high = before.interval
                sentence += f"; expected before them: {before.mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            said.insert(0, sentence)
        over = "over the natural mixture: " * (self.reference == NEAREST_ALLOWED)
        said = [f"{over}{sentence}" for sentence in said]
        if self.noise is not None:
            said.append(self.noise.describe(self.unit))
        if self.resampled:
            said.append(describe_ranges(self.resampled))
        return tuple(said)

    @property
    def contradiction(self) -> str:
        """How the unused seeds contradict what was expected of them; "" where they do not.

        They do where the difference is outside the 95% interval that the errors of both give.
        """
        found, before = self.confirmation, self.expected_before
        if found is None or before is None:
            return ""
        error = math.hypot(found.std_error, before.std_error)
        apart = Estimate(found.mean - before.mean, error)
        if not apart.distinguishable:
            return ""
        chance = format_chance(2 * min(apart.chance, 1 - apart.chance))
        where = "" if self.confirmed_tokens is None else f" at {self.confirmed_tokens:,} tokens"
        return (
            f"The unused seeds contradict what was expected of them: gain {found.mean:+.3f}{where}, "
            f"where {before.mean:+.3f} was expected; the chance of a difference as large is {chance}. "
            "The chance and the interval of the answer may claim too much; raise the budget by some "
            "runs before you act on it."
        )

    @property
    def _candidate_name(self) -> str:
        return "this mixture" if self.moves else "the best other mixture"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Decision":
        """Return the decision whose attributes a mapping has.

        Args:
            plain: As `dataclasses.asdict` returns it.

        Raises:
            KeyError: An attribute is missing.
            ValueError: A value is not a number.
        """
        confirmed, equivalent = plain.get("confirmation"), plain.get("equivalent_tokens")
        before = plain.get("expected_before")
        merges, confirmed_tokens = plain.get("merges"), plain.get("confirmed_tokens")
        target_tokens = plain.get("target_tokens")
        texts = ("reference", "level", "proxies", "advice")
        return cls(
            moves=bool(plain["moves"]),
            candidate=Mixture(plain["candidate"]),
            kept=Mixture(plain["kept"]),
            gain=Estimate.from_dict(plain["gain"]),
            tokens=None if plain["tokens"] is None else int(plain["tokens"]),
            runs=int(plain["runs"]),
            capabilities=read_estimates(plain.get("capabilities", {})),
            differences=read_estimates(plain.get("differences", {})),
            confirmation=Estimate.from_dict(confirmed) if confirmed else None,
            expected_before=Estimate.from_dict(before) if before else None,
            equivalent_tokens=_read(EquivalentTokens, equivalent) if equivalent else None,
            no_equivalent=str(plain.get("no_equivalent", "")),
            merges=_read(MergeCheck, merges) if merges else None,
            learning=tuple(_read(LearningStep, row) for row in plain.get("learning", ())),
            next_runs=tuple(_read(NextRun, row) for row in plain.get("next_runs", ())),
            confirmed_tokens=None if confirmed_tokens is None else int(confirmed_tokens),
            target_tokens=None if target_tokens is None else int(target_tokens),
            # earlier versions did not write it
            unit=str(plain.get("unit", NATIVE)).replace(OLD_SPREADS, SPREADS),
            noise=_read(PairedNoise, plain["noise"]) if plain.get("noise") else None,
            resampled={
                name: (float(low), float(high))
                for name, (low, high) in plain.get("resampled", {}).items()
            },
            **{name: str(plain[name]) for name in texts if name in plain},
        )


def _read(kind: type[Record], plain: Mapping[str, Any]) -> Record:
    """Return a dataclass of numbers, flags, mixtures and estimates from what `asdict` made of it."""
    attributes: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        read: Any = Estimate.from_dict if each.type is Estimate else each.type
        attributes[each.name] = read(plain[each.name])
    return kind(**attributes)
