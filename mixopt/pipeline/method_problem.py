"""What a method of others sees of a study: the scores of its experts, and runs that are its jobs.

Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics, `l` lengths.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mixopt.baselines.base import OnlineTraining
from mixopt.errors import DataError, DivergedError, UserError, one_line
from mixopt.mixture import Array, Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import (
    RunSpec,
    ScoredRun,
    first_checkpoints,
    name_mixture,
    order_natural,
    train_runs,
)
from mixopt.pipeline.online_runs import count_validation_tokens, run_online
from mixopt.pipeline.search import CandidateSearch
from mixopt.trial import Metric

if TYPE_CHECKING:
    from mixopt.evaluation.score_cache import Results


def expert_tokens(context: StudyContext) -> int:
    """Return the tokens of training that the study's experts cost."""
    trained = [name for name in context.compositions if name not in context.given_experts]
    return len(trained) * context.config.training.expert_length


def name_weights(metrics: Sequence[Metric], weights: Array) -> dict[str, float]:
    """Return weights of metrics (`m`) by their names."""
    return dict(zip((metric.name for metric in metrics), weights.tolist(), strict=True))


class StudyEvaluator:
    """Scores merges and ensembles of a study's experts for a method.

    Args:
        context: The study.
        search: The experts.
        metrics: The metrics that choose (`m`).

    Attributes:
        lost: Merges without a score of some metric, which may have one another time.
    """

    def __init__(
        self, context: StudyContext, search: CandidateSearch, metrics: Sequence[Metric]
    ) -> None:
        self.composition = search.space.composition
        self.tokens = expert_tokens(context)
        self.lost: list[str] = []
        self._evaluator = search.evaluator
        self._names = [metric.name for metric in metrics]

    def merges(self, weights: Array) -> Array:
        """Return scores (`n x m`) of merges; NaN for one that was set aside."""
        scored = self._evaluator.evaluate(weights.tolist())
        rows = [results.get("merged", {}) for results in scored]
        self.lost += [
            f"the merge at weights {', '.join(f'{weight:.3g}' for weight in asked)}"
            for asked, row in zip(weights.tolist(), rows, strict=True)
            if any(name not in row for name in self._names)
        ]
        return self._table(rows)

    def ensembles(self, weights: Array) -> Array:
        """Return scores (`n x m`) of probability ensembles."""
        return self._table(self._evaluator.score_ensembles(weights))

    def _table(self, rows: "Sequence[Results]") -> Array:
        values = [
            [row[name].score if name in row else float("nan") for name in self._names]
            for row in rows
        ]
        return np.array(values, dtype=np.float64).reshape(len(rows), len(self._names))


class StudyTrainer:
    """Trains runs of a study for a method, as its jobs; what is finished is kept.

    Args:
        context: The study.
        search: Reads the scores.
        metrics: The metrics that choose (`m`).
        shares: Weights of the metrics' benchmarks in a loss of their text (`m`).
        seed: Of the runs; those with one seed read the same text of a domain.

    Attributes:
        observations: The runs, in the order in which they were asked for; refused ones are left out.
        online_tokens: Tokens of training with weights that change, text of benchmarks included.
        refused: Runs that would have read a domain too often, and were not begun.
        lost: Names of the runs that failed and may succeed another time.
    """

    def __init__(
        self,
        context: StudyContext,
        search: CandidateSearch,
        metrics: Sequence[Metric],
        shares: Array,
        seed: int = 0,
    ) -> None:
        self._seed = seed
        self.run_tokens = context.config.training.tokens
        self.observations: list[Observation] = []
        self.online_tokens = self.refused = 0
        self.lost: list[str] = []
        self._context, self._search = context, search
        self._names = [metric.name for metric in metrics]
        self._shares = name_weights(metrics, shares)

    def train(self, ratios: Array) -> Array:
        """Train a run on each mixture (`n x d`); return scores, NaN for one that failed."""
        marks = first_checkpoints(self._context.config)
        _, scores = self._train(ratios, marks[-1:])
        return np.asarray(scores[-1])

    def train_lengths(self, ratios: Array) -> tuple[tuple[int, int], Array]:
        """Train a run on each mixture (`n x d`), and score it at half of its length too.

        Returns:
            Both lengths in tokens, in whole steps, and the scores (`2 x n x m`).

        Raises:
            UserError: The rate decays, so that a checkpoint is no run of its length.
        """
        if self._context.config.training.decays:
            raise UserError(
                "The method needs runs of two lengths, and with training.schedule "
                f"{self._context.config.training.schedule}, a decaying learning rate, a half-way "
                "checkpoint is not a finished run; set it to constant."
            )
        lengths, scores = self._train(ratios, (self.run_tokens // 2, self.run_tokens))
        return (lengths[0], lengths[-1]), scores[[0, -1]]

    def _train(self, ratios: Array, marks: tuple[int, ...]) -> tuple[list[int], Array]:
        """Return lengths near `marks` (`l`) and the scores of runs at them (`l x n x m`)."""
        context, natural = self._context, order_natural(self._context)
        specs, places = {}, []
        for row in ratios:
            mixture = Mixture.from_vector(context.config.domains, row)
            # natural's run is the one that a budget begins with
            if np.abs(row - natural.vector(context.config.domains)).max() < 1e-9:
                mixture = natural
            name = name_mixture(mixture)
            places.append(name)
            own = first_checkpoints(context.config) if mixture == natural else marks
            specs[name] = RunSpec(f"{name}-{self._seed}", mixture, self._seed, own)
        lengths, missing = list(marks), np.full((len(marks), len(self._names)), np.nan)
        scores, refused = dict.fromkeys(specs, missing), set[str]()
        for spec, scored in train_runs(context, list(specs.values())):
            name = name_mixture(spec.ratios)
            if isinstance(scored, ScoredRun):
                # lengths are whole steps
                lengths = [_nearest(scored.logprobs, mark) for mark in marks]
                scores[name] = np.stack([self._read(scored, tokens) for tokens in lengths])
                continue
            cause = one_line(scored, limit=None)
            context.callbacks.warning(f"The run {spec.name} is left out: {cause}")
            if isinstance(scored, DataError):
                refused.add(name)
            elif not isinstance(scored, DivergedError):
                self.lost.append(f"run {spec.name}")
        self.refused += sum(name in refused for name in places)
        for name, spec in specs.items():
            if name in refused:
                continue
            row = spec.ratios.vector(context.config.domains)
            last = scores[name][-1]
            tokens = self.run_tokens if np.isnan(last).all() else lengths[-1]
            self.observations.append(Observation(row, self._seed, tokens, last))
        return lengths, np.stack([scores[name] for name in places], axis=1)

    def _read(self, scored: ScoredRun, tokens: int) -> Array:
        results = self._search.evaluator.scorer.read(scored.logprobs[tokens])
        return np.array([results[metric].score for metric in self._names])

    def train_online(self, training: OnlineTraining) -> Array:
        """Train with weights that change, as a job; return them at each step (`t x d`)."""
        beside = self.count_validation_tokens(training)
        self.online_tokens += beside + training.tokens * (2 if training.method == "scalebio" else 1)
        return run_online(self._context, replace(training, seed=self._seed), self._shares)

    def count_validation_tokens(self, training: OnlineTraining) -> int:
        """Return the tokens of benchmarks that a training descends on beside those of the domains."""
        return count_validation_tokens(self._context, training, self._shares)


def _nearest(lengths: Iterable[int], mark: int) -> int:
    return min(lengths, key=lambda tokens: abs(tokens - mark))
