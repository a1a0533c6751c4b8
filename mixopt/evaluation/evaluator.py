"""The evaluator scores merges and ensembles of experts on the benchmarks, each candidate once.

Shapes: `k` experts, `m` benchmarks, `n` candidates.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, RunError, UserError, one_line
from mixopt.evaluation.engine import Engine, StreamedEngine, Weights
from mixopt.evaluation.gradients import Slopes
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache, as_row
from mixopt.evaluation.scored_items import AllItems, Flat, Items
from mixopt.evaluation.scorer import Scorer
from mixopt.executors.job import Job, JobDispatcher
from mixopt.io.progress import track
from mixopt.merging.ensemble import Ensemble
from mixopt.merging.merge import merge_weights
from mixopt.trial import Kind

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
T = TypeVar("T")

MOST_MAPPED = 64  # experts whose files stay open; a process may have about a thousand


@dataclass(frozen=True)
class ModelFacts:
    """What is known of base and experts without opening them again.

    Attributes:
        parameters: Of one model.
        tokens: That one forward pass over all benchmarks reads.
        step_sizes: δ of each expert (`k`).
        together: Whether many candidates are scored for little more than one.
    """

    parameters: int
    tokens: int
    step_sizes: list[float]
    together: bool


class MergeEvaluator:
    """Scores any weights of some experts by both proxies: their merge and their ensemble.

    Args:
        open_engine: Opens the engine; called only where something is scored in this process.
        k: Number of experts.
        scorer: The benchmarks.
        store: Where scores are kept.
        key: What determines scores beside weights and benchmarks.
        response: γ of the map from requested weights to those that are merged (λ^γ, normalized).
        names: Names of the experts, for jobs.
        dispatcher: Has candidates scored by workers; this process scores them if None.
        on_lost: Called with a message for each candidate that is set aside.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        k: int,
        scorer: Scorer,
        store: ArtifactStore,
        key: Mapping[str, Any],
        response: float = 1.0,
        *,
        names: Sequence[str] = (),
        dispatcher: JobDispatcher | None = None,
        on_lost: Callable[[str], None] = log.warning,
    ) -> None:
        self._open, self.k, self.scorer, self.store = open_engine, k, scorer, store
        self.response, self.names = response, tuple(names)
        self.dispatcher, self.on_lost = dispatcher, on_lost
        self._key = {**key, "benchmarks": scorer.digest}
        self.items: Items = AllItems(self, ScoreCache(store, "scores", key, scorer.digests))

    @cached_property
    def engine(self) -> Engine:
        """The engine that scores merges in this process."""
        return self._open()

    def evaluate(
        self, rows: Sequence[Weights], items: Items | None = None
    ) -> Iterator[dict[Kind, Results]]:
        """Score merge and ensemble of each candidate.

        Args:
            rows: Requested weights (`n x k`).
            items: The items to score on; all of them if None.

        Returns:
            Iterator of item results by kind and benchmark, in the order of `rows`; a candidate that
            failed has the benchmarks that succeeded, or none.

        Raises:
            UserError: The input of a benchmark is wrong.
            Exception: Without a dispatcher, whatever a candidate failed with.
        """
        items = items or self.items
        waiting = deque(as_row(self.respond(row)) for row in rows)
        pending = [row for row in dict.fromkeys(waiting) if items.cache.find(row) is None]
        given_up: set[Row] = set()
        shards = [self._job(shard, items) for shard in self._shards(pending, items)]
        singles: list[Job] = []
        for jobs in (shards, singles):
            if not jobs:
                continue
            # a generator each: the second list is filled while the first runs
            done = self.dispatcher.run(jobs) if self.dispatcher else self._run_here(jobs, items)
            for job, error in done:
                scored = [tuple(row) for row in job.arguments[-1]]
                lost = [row for row in scored if error is not None and not items.cache.find(row)]
                if len(scored) > 1:  # one candidate may be what fails the others
                    singles += [self._job([row], items) for row in lost]
                else:
                    given_up |= {self._give_up(row, error, items) for row in lost}
                while waiting and (scores := self._result(waiting[0], given_up, items)):
                    waiting.popleft()
                    yield scores.results
        for row in waiting:
            yield (self._result(row, given_up, items) or CandidateScores()).results

    def build(self, rows: Sequence[Row], items: Items | None = None) -> None:
        """Score candidates in this process, those with the same benchmarks together.

        Args:
            rows: Merged weights (`n x k`).
            items: The items to score on; all of them if None.

        Raises:
            Exception: Whatever a benchmark failed with; the results of the others are kept.
        """
        items = items or self.items
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(items.cache.missing(row), []).append(row)
        for names, group in groups.items():
            scorer = items.scorer_for(names)
            forward = [row for row in group if scorer.tasks and items.needs_forward_pass(row)]
            flats = zip(forward, self._logprobs(scorer, forward), strict=False)
            for row in group:
                score = partial(self._score_row, row, names, scorer, flats, items)
                self.store.get_or_build(items.cache.artifact(row), score)

    def _logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[Flat]:
        return self.engine.logprobs(scorer, rows) if rows else iter(())

    def _score_row(self, row: Row, names: tuple[str, ...], scorer: Scorer,
                   flats: Iterator[tuple[Row, Flat]], items: Items, folder: Path) -> None:  # fmt: skip
        flat = np.empty(0, np.float32)
        if scorer.tasks and items.needs_forward_pass(row):
            for scored, flat in flats:  # noqa: B007 - the flat of the last turn is used
                if scored == row:  # those before were finished by another process meanwhile
                    break
        scores = items.read(row, names, scorer, flat) if scorer.tasks else CandidateScores()
        results, error = self._measure_model_tasks(scorer, row)
        scores = scores.joined(CandidateScores({"merged": results}))
        if error is not None:
            items.cache.save_part(row, scores)
            raise error
        items.cache.save(row, scores, folder)

    def score(self, weights: Weights) -> dict[Kind, Results]:
        """Return item results of one candidate by kind and benchmark.

        Args:
            weights: Requested weights (`k`).

        Raises:
            RunError: A benchmark failed.
        """
        (results,) = self.evaluate([weights])
        missing = [n for n in self.items.cache.digests if n not in results.get("merged", {})]
        if missing:
            raise RunError(
                f"{self._describe_merge(weights)} has no score of {', '.join(missing)}, which is needed "
                f"here; the warnings before say why {missing[0]} could not be scored: fix that and run "
                "again."
            )
        return results

    def _describe_merge(self, weights: Weights) -> str:
        """Return a merge in words, with the weights of its experts by name."""
        row = self.respond(weights)
        names = self.names or tuple(f"expert {number}" for number in range(1, self.k + 1))
        parts = [f"{name} {w:.3g}" for name, w in zip(names, row, strict=True) if w]
        return f"The merge with weights {', '.join(parts)}" if parts else "The base"

    def score_base(self) -> Results:
        """Return item results of the base."""
        return self.score([0.0] * self.k)["merged"]

    def losses(self, weights: Weights) -> Array:
        """Return the smooth loss of each benchmark (`m`, bits per byte) at weights (`k`)."""
        self.score(weights)
        scores = self.items.cache.find(as_row(self.respond(weights)))
        assert scores is not None, "score has built it"
        return np.array([scores.losses[task.metric.name] for task in self.scorer.tasks])

    def score_ensembles(self, rows: Array) -> list[Results]:
        """Score ensembles, which is arithmetic on the experts' probabilities.

        Args:
            rows: Requested weights (`n x k`).

        Returns:
            Item results of each ensemble by benchmark (`n`).
        """
        self.prepare()
        return [self.scorer.read(self.ensemble.mix(self.respond(row))) for row in rows.tolist()]

    def respond(self, weights: Weights) -> list[float]:
        """Return the weights (`k`) that are merged or mixed where `weights` are requested."""
        return merge_weights(weights, self.response)

    def _shards(self, rows: list[Row], items: Items) -> list[list[Row]]:
        if rows and self.dispatcher is not None:
            items.prepare()
        return self._divide(rows)

    def _divide(self, work: list[T]) -> list[list[T]]:
        """Divide what is to be scored into jobs."""
        if not work or self.dispatcher is None:
            return [work] if work else []
        size = 1
        # starting a job may be expensive, or scoring many candidates as cheap as one
        if self.dispatcher.prefers_large_jobs or self.measure_facts().together:
            size = ceil(len(work) / self.dispatcher.slots)
        return [work[start : start + size] for start in range(0, len(work), size)]

    def _job(self, rows: Sequence[Row], items: Items) -> Job:
        name = f"{len(rows)} candidates" if len(rows) > 1 else "a candidate"
        return items.job(rows, self.names, name)

    def _run_here(self, jobs: list[Job], items: Items) -> Iterator[tuple[Job, None]]:
        for job in jobs:
            self.build([tuple(row) for row in job.arguments[-1]], items)
            yield job, None

    def _result(self, row: Row, given_up: set[Row], items: Items) -> CandidateScores | None:
        found = items.cache.find(row)
        return items.cache.gather(row, refresh=True) if found is None and row in given_up else found

    def _give_up(self, row: Row, error: Exception | None, items: Items) -> Row:
        missing = items.cache.missing(row, refresh=True)
        weights = ", ".join(f"{weight:.3g}" for weight in row)
        cause = one_line(error, limit=None) if error else ""
        without = len(missing) < len(items.cache.digests) and ", ".join(missing)
        fate = f"continues without {without}" if without else "is set aside"
        self.on_lost(f"The merge at weights {weights} {fate}: {cause}")
        return row

    def _measure_model_tasks(self, scorer: Scorer, row: Row) -> tuple[Results, Exception | None]:
        results: Results = {}
        failed: Exception | None = None
        for task in scorer.model_tasks:
            try:
                results |= self.engine.measure(scorer.restrict([task.metric.name]), row)
            except UserError:
                raise
            except Exception as error:  # others keep their scores; the job fails with this
                failed = failed or error
        return results, failed

    @cached_property
    def facts_artifact(self) -> Artifact:
        """The artifact of the models' facts."""
        return Artifact("engines", "facts", self._key)

    @cached_property
    def facts(self) -> ModelFacts:
        """Sizes of the models, measured here unless the store has them."""
        folder = self.store.get_or_build(self.facts_artifact, self._build_facts)
        return ModelFacts(**json.loads((folder / "facts.json").read_text()))

    def _build_facts(self, folder: Path) -> None:
        self.engine.prepare(self.scorer)
        facts = ModelFacts(
            self.engine.parameters, self.scorer.count_tokens(), self.engine.step_sizes(),
            isinstance(self.engine, StreamedEngine),
        )  # fmt: skip
        (folder / "facts.json").write_text(json.dumps(asdict(facts)))

    def measure_facts(self) -> ModelFacts:
        """Return sizes of the models, measured by a worker where there is one.

        Raises:
            RunError: A worker could not measure them.
        """
        self._require([Job("describe_models", (self.names,), "opening base and experts",
                           (self.facts_artifact,))])  # fmt: skip
        return self.facts

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass: 2 x parameters x tokens read."""
        return 2.0 * self.facts.parameters * self.facts.tokens

    @cached_property
    def ensemble(self) -> Ensemble:
        """The experts' token probabilities."""
        return Ensemble(self.expert_logprobs)

    @cached_property
    def expert_logprobs(self) -> list[Flat]:
        """Log-probabilities of all scored tokens (`t`) by each expert alone (`k`)."""
        folders = self.build_expert_logprobs(range(self.k))
        # an artifact never changes, so its file can be mapped; each map keeps a file open, and there are
        # many runs, of one model each
        mode: Literal["r"] | None = "r" if 1 < self.k <= MOST_MAPPED else None
        return [np.load(folder / "logprobs.npy", mmap_mode=mode) for folder in folders]

    def expert_artifact(self, index: int) -> Artifact:
        """Return the artifact of one expert's log-probabilities."""
        return Artifact("logprobs", f"expert-{index}", {**self._key, "expert": index})

    def build_expert_logprobs(self, indices: Sequence[int]) -> list[Path]:
        """Compute the log-probabilities of some experts together, where they are missing.

        Args:
            indices: Of the experts.

        Returns:
            Folder of each expert's `logprobs.npy` (`t`).
        """
        artifacts = {index: self.expert_artifact(index) for index in indices}
        missing = [i for i, one in artifacts.items() if self.store.find(one) is None]
        rows = np.eye(self.k)[missing].tolist()
        rows = [] if self.store.read_only else rows
        scored = track(self._logprobs(self.scorer, rows), "scoring", total=len(rows), unit="expert")
        flats = zip(missing, scored, strict=False)

        def build(index: int, folder: Path) -> None:
            flat = next(flat for computed, flat in flats if computed == index)
            np.save(folder / "logprobs.npy", flat)

        return [self.store.get_or_build(one, partial(build, i)) for i, one in artifacts.items()]

    def prepare(self) -> None:
        """Have the log-probabilities of each expert computed, by workers where there are any."""
        artifacts = [self.expert_artifact(index) for index in range(len(self.names))]
        missing = [i for i, one in enumerate(artifacts) if self.store.find(one) is None]
        shards = self._divide(missing) if self.dispatcher else []
        self._require([
            Job("score_experts", (self.names, tuple(shard)), self._name_alone(shard),
                tuple(artifacts[i] for i in shard))
            for shard in shards
        ])  # fmt: skip

    def _name_alone(self, indices: Sequence[int]) -> str:
        name = f"expert {self.names[indices[0]]!r}"
        return f"{name if len(indices) == 1 else f'{len(indices)} experts'} alone"

    def _require(self, jobs: Sequence[Job]) -> None:
        for job, error in self.dispatcher.run(jobs) if self.dispatcher else ():
            if error is not None:
                raise RunError(
                    f"The study cannot continue without {job.name} ({one_line(error, limit=None)})."
                ) from error

    def slopes(self, weights: Weights) -> Slopes:
        """Return losses and their derivatives with respect to each expert's weight.

        Args:
            weights: Where the merge is (`k`).

        Returns:
            Losses (`m`) and derivatives (`m x k`).

        Raises:
            ModelError: The models do not fit into memory, or a response map bends the weights.
            RunError: A worker could not measure them.
        """
        if self.response != 1:
            raise ModelError(
                "search.slopes and search.method: gradient measure gradients at weights equal to the "
                f"ratios, which needs search.response: 1, and it is {self.response}; set it to 1, or "
                "leave them out."
            )
        self._require([self._slopes_job(weights)])
        artifact = self._slopes_artifact(weights)
        folder = self.store.get_or_build(artifact, partial(self._build_slopes, weights))
        with np.load(folder / "slopes.npz") as arrays:
            return Slopes(arrays["losses"], arrays["by_weight"], float(arrays["passes"]))

    def _build_slopes(self, weights: Weights, folder: Path) -> None:
        np.savez(folder / "slopes.npz", **asdict(self.engine.slopes(self.scorer, weights)))

    def prepare_slopes(self, rows: Sequence[Weights]) -> None:
        """Have slopes at rows (`n x k`) measured by workers; `slopes` reports failures later."""
        for _ in self.dispatcher.run(map(self._slopes_job, rows)) if self.dispatcher else ():
            pass

    def _slopes_artifact(self, weights: Weights) -> Artifact:
        return Artifact("slopes", "candidate", {**self._key, "weights": list(as_row(weights))})

    def _slopes_job(self, weights: Weights) -> Job:
        return Job("measure_slopes", (self.names, as_row(weights)), "the slopes of a candidate",
                   (self._slopes_artifact(weights),))  # fmt: skip
