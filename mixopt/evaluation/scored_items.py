"""Which items of the benchmarks a candidate is scored on: the protocol, and all of them.

Shapes: `k` experts, `n` scored tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mixopt.evaluation.engine import Weights
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache
from mixopt.evaluation.scorer import Scorer
from mixopt.executors.job import Job
from mixopt.trial import Kind

if TYPE_CHECKING:
    from mixopt.evaluation.evaluator import MergeEvaluator

Flat = NDArray[np.float32]
"""Log-probabilities of all scored tokens (`n`, nats)."""


class Items(Protocol):
    """Which items of the benchmarks a candidate is scored on, and how its results follow from them.

    Attributes:
        cache: Where the scores lie.
    """

    cache: ScoreCache

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations that score one candidate."""

    def prepare(self) -> None:
        """Build what the scores of every candidate need."""

    def scorer_for(self, names: Sequence[str]) -> Scorer:
        """Return the scorer of these items of some benchmarks."""

    def needs_forward_pass(self, row: Row) -> bool:
        """Return whether a candidate has to go through the engine."""

    def read(self, row: Row, names: Sequence[str], scorer: Scorer, flat: Flat) -> CandidateScores:
        """Return a candidate's scores on benchmarks that need log-probabilities only.

        Args:
            row: Merged weights (`k`).
            names: The benchmarks.
            scorer: Of these benchmarks, by `scorer_for`.
            flat: Log-probabilities that the merge gives the tokens of `scorer` (`n`), empty where no
                forward pass is needed.
        """

    def job(self, rows: Sequence[Row], experts: tuple[str, ...], name: str) -> Job:
        """Return the job of scoring candidates.

        Args:
            rows: Merged weights (`n x k`); the job's last argument.
            experts: Names of the experts (`k`).
            name: Of the job, for messages.
        """


class AllItems:
    """Scores candidates on every item.

    Args:
        evaluator: Gives the log-probabilities of single experts.
        cache: Where the scores lie.
    """

    def __init__(self, evaluator: "MergeEvaluator", cache: ScoreCache) -> None:
        self._evaluator, self.cache = evaluator, cache

    @property
    def flops_per_score(self) -> float:
        return self._evaluator.flops_per_score

    def prepare(self) -> None:
        self._evaluator.prepare()

    def scorer_for(self, names: Sequence[str]) -> Scorer:
        return self._evaluator.scorer.restrict(names)

    def needs_forward_pass(self, row: Row) -> bool:
        return _single_expert(row) is None  # whose log-probabilities are known

    def read(self, row: Row, names: Sequence[str], scorer: Scorer, flat: Flat) -> CandidateScores:
        evaluator, index = self._evaluator, _single_expert(row)
        if index is not None:
            scorer, flat = evaluator.scorer, evaluator.expert_logprobs[index]
        losses = zip((task.metric.name for task in scorer.tasks), scorer.losses(flat), strict=True)
        results: dict[Kind, Results] = {"merged": scorer.read(flat)}
        if any(row):
            results["ensembled"] = evaluator.scorer.read(evaluator.ensemble.mix(row))
        scores = CandidateScores(results, {name: float(loss) for name, loss in losses})
        return scores.restrict(names)

    def job(self, rows: Sequence[Row], experts: tuple[str, ...], name: str) -> Job:
        return Job("score", (experts, list(rows)), name, tuple(map(self.cache.artifact, rows)))


def _single_expert(weights: Weights) -> int | None:
    values = list(map(float, weights))
    return values.index(1.0) if values.count(0.0) == len(values) - 1 and 1.0 in values else None
