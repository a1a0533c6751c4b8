"""Candidates: rows of weights scored once each, here or by a crew; those that fail are set aside."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import RunError, UserError
from mixopt.evaluation.engine import Engine, Weights
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache, in_shards
from mixopt.evaluation.scorer import Scorer
from mixopt.executors.job import SEEN_AFTER_S, Job, JobDispatcher, wait_for
from mixopt.trials import Kind

log = logging.getLogger(__name__)

Lost = dict[Row, Exception]
"""Rows that were given up, and why."""


class Candidates(ABC):
    """Scores rows of weights on some benchmarks, keeps the scores, and finds them again.

    Args:
        book: Where scores are kept.
        crew: Who scores; this process if None.
        lost: Is told of rows that are set aside.
    """

    def __init__(
        self,
        book: ScoreCache,
        crew: JobDispatcher | None,
        lost: Callable[[str], None] = log.warning,
    ) -> None:
        self.book, self.crew, self.lost = book, crew, lost

    def score_rows(self, rows: Sequence[Row]) -> Iterator[CandidateScores]:
        """What is known of each row, in turn; a row that was given up has what it has, or nothing.

        Without a crew what a row fails of is raised.
        """
        wanted = list(dict.fromkeys(rows))
        made = self._have_made([row for row in wanted if self.book.find(row) is None])
        given_up: Lost = {}
        for row in rows:
            found = self.book.find(row)
            while found is None and row not in given_up:
                lost = next(made, None)
                assert lost is not None, "every row is made or given up"
                given_up |= lost
                found = self.book.find(row)
            yield self.book.gather(row, look=True) if found is None else found

    def _have_made(self, rows: Sequence[Row]) -> Iterator[Lost]:
        """Has rows scored; each step says which were given up since the last."""
        if self.crew is None:
            for _ in self.make(rows):
                yield {}
            return
        if not rows:
            return
        self.prepare()
        size = 1
        if self.crew.coarse or self.together:
            size = ceil(len(rows) / self.crew.slots)
        again: list[Row] = []
        for job, error in self.crew.do(self.job(shard) for shard in in_shards(rows, size)):
            left = self._left_of(job, error)
            if error is not None and len(self._rows_of(job)) > 1:
                again += left  # one of them may be what fails
                left = []
            yield self._give_up(left, error)
        for job, error in self.crew.do(self.job([row]) for row in again):
            yield self._give_up(self._left_of(job, error), error)

    def _left_of(self, job: Job, error: Exception | None) -> list[Row]:
        """Rows of a job that is over and has not made them.

        Raises:
            RunError: It says that it did.
        """
        assert self.crew is not None
        left = [row for row in self._rows_of(job) if not self.book.has(row)]
        if error is None and left and self.crew.remote:
            left = [r for r in left if wait_for(partial(self.book.find, r), SEEN_AFTER_S) is None]
        if error is None and left:
            raise RunError(
                f"A worker says that {job.name} is done and made other units than were asked for; "
                "run the same mixopt, Python and libraries on all machines."
            )
        return left

    def _give_up(self, rows: Sequence[Row], error: Exception | None) -> Lost:
        lost: Lost = {}
        for row in rows:
            assert error is not None
            known = self.book.gather(row, look=True).benchmarks
            lacking = [name for name in self.book.digests if name not in known]
            told = ", ".join(f"{weight:.3g}" for weight in row)
            cause = " ".join(str(error).split()) or type(error).__name__
            self.lost(
                f"The merge at weights {told} goes on without {', '.join(lacking)}: {cause}"
                if known
                else f"The merge at weights {told} is set aside: {cause}"
            )
            lost[row] = error
        return lost

    def make(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Scores rows in this process, those alike in what they lack together; each as it is kept.

        Raises:
            Exception: What a benchmark failed of; those before it are kept.
        """
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            known = self.book.gather(row).benchmarks
            names = tuple(name for name in self.book.digests if name not in known)
            groups.setdefault(names, []).append(row)
        for names, group in groups.items():
            flats = Flats(
                self.engine, self.restrict(names), [r for r in group if self.needs_flat(r)]
            )
            for row in group:

                def measure(row: Row = row) -> tuple[CandidateScores, Exception | None]:
                    return self._measure(row, names, flats)  # noqa: B023 - used in this turn

                self.book.make(row, measure)
                yield row

    def _measure(
        self, row: Row, names: tuple[str, ...], flats: "Flats"
    ) -> tuple[CandidateScores, Exception | None]:
        found = self.read(row, names, flats) if flats.scorer.tasks else CandidateScores()
        whole: Results = {}
        failed: Exception | None = None
        for task in flats.scorer.model_tasks:
            alone = flats.scorer.restrict([task.metric.name])
            try:
                whole |= self.engine.measure(alone, row)
            except UserError:
                raise
            except Exception as error:  # the others keep their scores; the job fails with this one
                failed = failed or error
        kind: Kind = "merged"
        return found.joined(CandidateScores({kind: whole})), failed

    def _rows_of(self, job: Job) -> list[Row]:
        return [tuple(row) for row in job.arguments[-1]]

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What scores merges, in this process."""

    @property
    @abstractmethod
    def together(self) -> bool:
        """Whether the engine scores many rows for little more than one."""

    @abstractmethod
    def prepare(self) -> None:
        """Has made what all rows need."""

    @abstractmethod
    def job(self, rows: Sequence[Row]) -> Job:
        """The job of scoring some rows; they are its last argument."""

    @abstractmethod
    def restrict(self, names: Sequence[str]) -> Scorer:
        """What is really scored for some of the benchmarks."""

    @abstractmethod
    def needs_flat(self, row: Row) -> bool:
        """Whether a row has to go through the engine."""

    @abstractmethod
    def read(self, row: Row, names: Sequence[str], flats: "Flats") -> CandidateScores:
        """Scores of a row on the benchmarks `names` that token probabilities are enough for."""


class Flats:
    """Log-probabilities of rows as an engine gives them, asked for in the same order.

    A row that was finished meanwhile (by another process, say) is passed over; one that is not
    among them is computed by itself.
    """

    def __init__(self, engine: Engine, scorer: Scorer, rows: Sequence[Weights]) -> None:
        self._engine, self.scorer = engine, scorer
        asked = [list(row) for row in rows] if scorer.tasks else []
        self._flats = engine.logprobs(scorer, asked) if asked else iter(())
        self._left = list(asked)

    def of(self, row: Weights) -> NDArray[np.float32]:
        """Of one row."""
        if list(row) in self._left:
            while self._left:
                found, flat = self._left.pop(0), next(self._flats)
                if found == list(row):
                    return flat
        return next(self._engine.logprobs(self.scorer, [list(row)]))
