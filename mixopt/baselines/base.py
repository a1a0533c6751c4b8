"""The protocol of a method: from a study's domains and a budget to a mixture.

A method sees a `Problem`. What it trains is paid from the problem's budget, and its recommendation meets
every limit of the search space. Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics, `t` steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np

from mixopt.baselines.transport import TextSamples
from mixopt.errors import RunError, UserError
from mixopt.mixture import Array, Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_space import SearchSpace
from mixopt.trial import Metric

Scored = TypeVar("Scored")
Need = Literal["experts", "runs", "online"]
"""What a method asks for: scores of combined experts, trained runs, or training whose weights change."""
MORE_RUNS = "raise the method's budget (search.method_runs in a study)"
"""What to do where a method has too few runs."""


class Evaluator(Protocol):
    """Scores combinations of experts.

    Attributes:
        composition: Ratios of each expert's training tokens (`k x d`).
        tokens: Tokens of training that the experts cost; 0 for those that were given.
    """

    composition: Array
    tokens: int

    def merges(self, weights: Array) -> Array:
        """Return scores (`n x m`) of merges at weights (`n x k`); NaN where one could not be scored."""

    def ensembles(self, weights: Array) -> Array:
        """Return scores (`n x m`) of probability ensembles at weights (`n x k`)."""


@dataclass(frozen=True)
class OnlineTraining:
    """A training whose weights of the domains change as it goes.

    Attributes:
        method: Name of the method that changes them.
        tokens: Length.
        start: Ratios that it starts from, in the order of the domains; the same share of each if empty.
        settings: Settings of the method.
        seed: Of the order in which text is read, as runs have it.
    """

    method: str
    tokens: int
    start: tuple[float, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0


class Trainer(Protocol):
    """Trains models from the base.

    Attributes:
        run_tokens: Length of a run.
        refused: Runs that were asked for and not begun, since they would have read a domain too often.
    """

    run_tokens: int
    refused: int

    def train(self, ratios: Array) -> Array:
        """Train a run on each mixture (`n x d`); return scores (`n x m`), NaN for a run that failed."""

    def train_lengths(self, ratios: Array) -> tuple[tuple[int, int], Array]:
        """Train a run on each mixture (`n x d`), and score it at half of its length too.

        Returns:
            Both lengths in tokens, and the scores at them (`2 x n x m`), NaN for a run that failed.
        """

    def train_online(self, training: OnlineTraining) -> Array:
        """Train once, and return the weights of the domains at each step (`t x d`)."""

    def count_validation_tokens(self, training: OnlineTraining) -> int:
        """Return the tokens of benchmarks that a training descends on beside text; train nothing."""


@dataclass(frozen=True)
class Recommendation:
    """What a method recommends.

    Attributes:
        ratios: The mixture; it meets every limit.
        tokens: Tokens of training that it cost, experts included.
        predicted: Score by metric that the method expects at the mixture; empty if it predicts nothing.
        path: Weights of the domains over the training, first and last among them (`t x d`); empty for
            methods without weights that change.
    """

    ratios: Mixture
    tokens: int
    predicted: Mapping[str, float] = field(default_factory=dict)
    path: tuple[tuple[float, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values, for JSON."""
        path = [list(row) for row in self.path]
        return {
            "ratios": dict(self.ratios), "tokens": self.tokens, "predicted": dict(self.predicted),
            "path": path,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Recommendation":
        """Return the recommendation that `to_dict` gave the attributes of."""
        path = tuple(tuple(map(float, row)) for row in plain["path"])
        return cls(Mixture(plain["ratios"]), int(plain["tokens"]), dict(plain["predicted"]), path)


class Problem:
    """What a method is asked, and what it may spend.

    Args:
        space: Limits on the ratios of `d` domains, and the natural mixture.
        metrics: The metrics that choose (`m`).
        weights: Of the metrics' losses in the mean that is minimized (`m`), which sum to 1.
        trainer: Trains runs.
        budget_tokens: Tokens of training that may be spent, experts included.
        evaluator: Scores combinations of experts; None where there are no experts.
        run_ratios: Mixtures of the runs so far (`n x d`), which cost nothing now.
        run_scores: Their scores (`n x m`).
        epochs: How often a domain is read at a ratio of 1 in the target run (`d`); 1 if left out.
        target_tokens: Tokens of the target run; None where it is not known.
        open_samples: Returns samples of the domains' and the benchmarks' text; None where there is none.
        seed: Of everything random.

    Attributes:
        spent: Tokens of training so far.
    """

    def __init__(
        self,
        space: SearchSpace,
        metrics: Sequence[Metric],
        weights: Array,
        trainer: Trainer,
        budget_tokens: int,
        *,
        evaluator: Evaluator | None = None,
        run_ratios: Array | None = None,
        run_scores: Array | None = None,
        epochs: Array | None = None,
        target_tokens: int | None = None,
        open_samples: Callable[[], TextSamples] | None = None,
        seed: int = 0,
    ) -> None:
        d = len(space.domains)
        self.space, self.metrics, self.seed = space, tuple(metrics), seed
        self.weights = np.asarray(weights, dtype=np.float64)
        self.epochs = np.ones(d) if epochs is None else epochs
        self.budget_tokens, self.spent = budget_tokens, 0
        self.target_tokens, self._open_samples = target_tokens, open_samples
        self._trainer, self._evaluator = trainer, evaluator
        self._paid_experts = False
        m = len(self.metrics)
        self.run_ratios = np.empty((0, d)) if run_ratios is None else run_ratios
        self.run_scores = np.empty((0, m)) if run_scores is None else run_scores

    @cached_property
    def mixtures(self) -> WeightSpace:
        """The allowed mixtures: weights are the ratios of the domains."""
        return WeightSpace.of_domains(self.space)

    @cached_property
    def combinations(self) -> WeightSpace:
        """The allowed weights of the experts (`k`)."""
        experts = self._require_experts()
        names = tuple(f"expert {index}" for index in range(len(experts.composition)))
        return WeightSpace(self.space, names, experts.composition)

    @property
    def natural(self) -> Array:
        """The natural mixture (`d`), or the uniform one where there is none."""
        return self.space.prior_vector()

    @property
    def run_tokens(self) -> int:
        """Length of a run."""
        return self._trainer.run_tokens

    @property
    def expert_tokens(self) -> int:
        """Tokens of training that the experts cost."""
        return self._require_experts().tokens

    @property
    def affordable_runs(self) -> int:
        """Number of runs that the rest of the budget pays for."""
        return max(0, (self.budget_tokens - self.spent) // self.run_tokens)

    def rng(self, *purpose: int) -> np.random.Generator:
        """Return a generator that depends on the seed and the purpose alone."""
        return np.random.default_rng([self.seed, *purpose])

    def losses(self, scores: Array) -> Array:
        """Return losses (`n x m`) of scores: the score, or 1 minus it where higher is better."""
        higher = np.array([metric.better == "higher" for metric in self.metrics])
        return np.where(higher, 1 - scores, scores)

    def scores(self, losses: Array) -> Array:
        """Return the scores (`n x m`) that have these losses."""
        return self.losses(losses)

    def loss(self, scores: Array) -> Array:
        """Return the mean loss (`n`) of scores (`n x m`), by the weights of the metrics."""
        return np.asarray(self.losses(scores) @ self.weights)

    def merges(self, weights: Array) -> Array:
        """Return scores (`n x m`) of merges of experts at weights (`n x k`); experts are paid once."""
        return self._experts().merges(weights)

    def ensembles(self, weights: Array) -> Array:
        """Return scores (`n x m`) of ensembles of experts at weights (`n x k`); experts cost once."""
        return self._experts().ensembles(weights)

    def train(self, ratios: Array) -> Array:
        """Train a run on each mixture (`n x d`); return scores (`n x m`), NaN for one that failed.

        Raises:
            RunError: The budget does not pay for them.
        """
        return self._pay_for_runs(len(ratios), lambda: self._trainer.train(ratios))

    def train_lengths(self, ratios: Array) -> tuple[tuple[int, int], Array]:
        """Train a run on each mixture (`n x d`); return its half and whole length, and both scores.

        Returns:
            Lengths in tokens, and scores (`2 x n x m`), NaN for a run that failed.

        Raises:
            RunError: The budget does not pay for them.
        """
        return self._pay_for_runs(len(ratios), lambda: self._trainer.train_lengths(ratios))

    def require_samples(self) -> TextSamples:
        """Return samples of the domains' and the benchmarks' text.

        Raises:
            UserError: There is no text.
        """
        if self._open_samples is None:
            raise UserError("This method compares samples of text and there is none; give text.")
        return self._open_samples()

    def train_online(self, training: OnlineTraining) -> Array:
        """Train with weights that change, and return them at each step (`t x d`).

        Raises:
            RunError: The budget does not pay for it.
        """
        beside = self.count_validation_tokens(training)
        what = ", with the benchmarks' text that it reads," if beside else ""
        self._pay(training.tokens + beside, f"the training of {training.method}{what}")
        return self._trainer.train_online(training)

    def count_validation_tokens(self, training: OnlineTraining) -> int:
        """Return the tokens of benchmarks that a training descends on beside those of the domains."""
        return self._trainer.count_validation_tokens(training)

    def add_tokens(self, tokens: int, what: str) -> None:
        """Pay for training beside runs, such as a second copy of a model.

        Raises:
            RunError: The budget does not pay for it.
        """
        self._pay(tokens, what)

    def recommend(
        self, ratios: Array, losses: Array | None = None, path: Array | None = None
    ) -> Recommendation:
        """Return the recommendation of an allowed mixture: `ratios` (`d`), or one near them.

        Args:
            ratios: The mixture that the method found.
            losses: The losses that it expects there (`m`), if it does.
            path: Weights over a training (`t x d`), if they changed.
        """
        allowed = self.mixtures.pull(ratios[None])[0]
        allowed = np.maximum(allowed, 0.0) / np.maximum(allowed, 0.0).sum()
        predicted = {}
        if losses is not None:
            names = [metric.name for metric in self.metrics]
            predicted = dict(zip(names, self.scores(losses[None])[0].tolist(), strict=True))
        rows = [] if path is None else path.tolist()
        return Recommendation(
            Mixture.from_vector(self.space.domains, allowed), self.spent, predicted,
            tuple(tuple(row) for row in rows),
        )  # fmt: skip

    def _pay_for_runs(self, n: int, train: Callable[[], Scored]) -> Scored:
        self._pay(n * self.run_tokens, f"{n} runs")
        before = self._trainer.refused
        scored = train()
        self.spent -= (self._trainer.refused - before) * self.run_tokens
        return scored

    def _experts(self) -> Evaluator:
        experts = self._require_experts()
        if not self._paid_experts:
            self._pay(experts.tokens, "the experts")
            self._paid_experts = True
        return experts

    def _require_experts(self) -> Evaluator:
        if self._evaluator is None:
            raise UserError("This method combines experts and there are none; train experts first.")
        return self._evaluator

    def _pay(self, tokens: int, what: str) -> None:
        left = self.budget_tokens - self.spent
        if tokens > left:
            raise RunError(
                f"{what[0].upper()}{what[1:]} cost {tokens:,} tokens and {left:,} of the method's "
                f"budget are left; {MORE_RUNS}."
            )
        self.spent += tokens


class Method(Protocol):
    """Recommends a mixture within a budget.

    Attributes:
        need: What it asks for.
        source: Paper or code that it follows.
    """

    need: ClassVar[Need]
    source: ClassVar[str]

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the smallest budget that the method can work with.

        Args:
            d: Number of domains.
            experts_tokens: Tokens of training that the experts cost.
            run_tokens: Length of a run.
        """

    def recommend(self, problem: Problem) -> Recommendation:
        """Return the mixture that the method recommends.

        Raises:
            UserError: The problem lacks what the method needs.
            RunError: Too little of what was trained can be used.
        """
