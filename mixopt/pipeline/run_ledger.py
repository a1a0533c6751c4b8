"""The runs of a budget: what is trained, with which seeds and lengths, what failed, and what it took.

Shapes: `d` domains, `m` metrics.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mixopt.errors import one_line
from mixopt.mixture import Array, Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.decide import VALIDATED
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import RunSpec, ScoredRun, name_mixture, train_runs
from mixopt.pipeline.stored_purchases import specify_purchase
from mixopt.surrogates.gain_model import SAME

WantedRun = tuple[Array, int, int]
"""A run that a budget asks for: mixture (`d`), seed, and length in tokens."""


class RunLedger:
    """Trains the runs of a budget, and keeps account of them.

    Args:
        context: The study.
        gains: The experts, natural, and the metrics.
        lengths: Of runs, in tokens, the shortest first.
        known: Runs that were trained before: candidates of the search, and of a validation.
        paid: Tokens of training that experts and a method of others took.

    Attributes:
        lengths: As given.
        observations: What was trained, with its scores; none of them for a run that failed.
        spent: Tokens of training so far, experts included.
        used: Runs that were asked for.
        failures: Causes by mixture's name and seed.
    """

    def __init__(
        self,
        context: StudyContext,
        gains: StudyGains,
        lengths: Sequence[int],
        known: Sequence[Observation],
        paid: int,
    ) -> None:
        self._context, self._gains = context, gains
        self._known, self._paid, self.lengths = [*known], paid, lengths
        # with a rate that decays a checkpoint is no run, and a long run tells nothing of a short one
        self.decays = context.config.training.decays
        self._ended: dict[RunSpec, ScoredRun | Exception] = {}
        self.reset()

    def reset(self) -> None:
        """Return to what is known before anything is bought."""
        self.spent = self._paid
        self.observations: list[Observation] = []
        self._trained: dict[tuple[str, int], set[int]] = {}
        self.failures: dict[tuple[str, int], str] = {}
        for each in self._known:
            if each.seed < VALIDATED:  # candidates of the search, which the budget pays for
                name = name_mixture(self.mixture(each.ratios))
                if (name, each.seed) not in self._trained:  # checkpoints are parts of one run
                    self.spent += self.lengths[0]
                self._trained[name, each.seed] = {self.lengths[0]}
                if each.failed:
                    # a seed of natural that failed tells of no gain, and its mixture is not bought
                    self.failures[name, each.seed] = "it failed in the search"
        self.used: set[RunSpec] = set()

    @property
    def runs(self) -> list[Observation]:
        """What is known: runs that were trained before, and those of the budget."""
        return [*self._known, *self.observations]

    @property
    def ended(self) -> Mapping[RunSpec, ScoredRun | Exception]:
        """Runs that this command trained or read."""
        return self._ended

    def train(self, rows: Sequence[WantedRun]) -> None:
        """Train mixtures (`d`) with seeds for some tokens; a run that fails is reported and left out."""
        domains = self._context.config.domains
        specs = [self.specify(*each) for each in rows]
        for spec in specs:
            trained = self._trained.setdefault((name_mixture(spec.ratios), spec.seed), set())
            trained.add(spec.checkpoints[-1])
        self.spent += count_tokens(specs)
        self.used.update(specs)
        now = [spec for spec in specs if spec not in self._ended]
        # several workers end in an order of their own, and what follows is that of one worker
        self._ended |= dict(train_runs(self._context, now))
        for spec in specs:
            scored = self._ended[spec]
            if isinstance(scored, ScoredRun):
                self._observe(scored)
                continue
            cause = one_line(scored, limit=None)
            self.failures[name_mixture(spec.ratios), spec.seed] = cause
            self.observations.append(self._failure(spec))
            if spec in now:
                natural = is_same(spec.ratios.vector(domains), self._gains.natural)
                name = f"of the natural mixture with seed {spec.seed}" if natural else spec.name
                self._context.callbacks.warning(f"The run {name} is left out: {cause}", "ratios")

    def specify(self, row: Array, seed: int, tokens: int) -> RunSpec:
        """Return the run of a mixture (`d`), with the checkpoints that are scored."""
        mixture = self.mixture(row)
        return specify_purchase(self._context, self.lengths, mixture, seed, tokens)

    def is_known(self, spec: RunSpec) -> bool:
        """Return whether the study has a run before it buys any."""
        row = spec.ratios.vector(self._context.config.domains)
        return self.is_trained(row, spec.seed, spec.checkpoints[-1])

    def is_trained(self, row: Array, seed: int, tokens: int) -> bool:
        """Return whether a mixture was trained for some tokens with a seed, also where that failed."""
        return self.has(self._trained.get((name_mixture(self.mixture(row)), seed), ()), tokens)

    def has(self, lengths: Collection[int], tokens: int) -> bool:
        """Return whether runs of some lengths are scored at `tokens`."""
        return tokens in lengths if self.decays else max(lengths, default=0) >= tokens

    def longest(self, row: Array) -> int:
        """Return the tokens of the longest run of a mixture (`d`) with any seed; 0 without any."""
        name = name_mixture(self.mixture(row))
        return max(
            (max(n) for (own, _), n in self._trained.items() if own == name and n), default=0
        )

    def failed(self, row: Array, seed: int | None = None) -> bool:
        """Return whether a run of a mixture failed, with one seed or with any."""
        name = name_mixture(Mixture.from_vector(self._context.config.domains, row))
        return any(own == name and seed in (None, number) for own, number in self.failures)

    def _failure(self, spec: RunSpec) -> Observation:
        row = spec.ratios.vector(self._context.config.domains)
        missing = np.full(len(self._gains.metrics), np.nan)
        return Observation(row, spec.seed, spec.checkpoints[-1], missing)

    def _observe(self, scored: ScoredRun) -> None:
        scorer = self._context.scorer
        row = scored.spec.ratios.vector(self._context.config.domains)
        # lengths are rounded to whole steps, the same for every run
        for tokens, logprobs in scored.logprobs.items():
            results = scorer.read(logprobs)
            scores = np.array([results[metric.name].score for metric in self._gains.metrics])
            known = Observation(row, scored.spec.seed, tokens, scores)
            seen = [(o.seed, o.tokens, is_same(o.ratios, row)) for o in self.runs if not o.failed]
            if (known.seed, tokens, True) not in seen:
                self.observations.append(known)

    def mixture(self, row: Array) -> Mixture:
        """Return ratios (`d`) as a mixture of the study's domains."""
        return Mixture.from_vector(self._context.config.domains, row)


def count_tokens(specs: Collection[RunSpec]) -> int:
    """Return the tokens of training of some runs."""
    return sum(spec.checkpoints[-1] for spec in specs)


def is_same(one: Array, other: Array) -> bool:
    """Return whether two mixtures (`d`) are one."""
    return bool(np.abs(one - other).max() < SAME)
