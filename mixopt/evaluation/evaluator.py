"""The swarm: base and experts, scoring any weights by both proxies, each candidate once.

Shapes: `k` experts.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, RunError
from mixopt.evaluation.candidates import Candidates, Flats
from mixopt.evaluation.engine import Engine, StreamedEngine, Weights
from mixopt.evaluation.gradients import Slopes
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache, as_row
from mixopt.evaluation.scorer import Scorer
from mixopt.executors.job import Job, JobDispatcher
from mixopt.merging.ensemble import Ensemble
from mixopt.merging.response import merge_weights
from mixopt.trials import Kind

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What is known of base and experts without opening them again.

    Attributes:
        parameters: Of one model.
        tokens: That one forward pass over all benchmarks reads.
        step_sizes: δ of each expert.
        together: Whether many candidates are scored for little more than one.
    """

    parameters: int
    tokens: int
    step_sizes: list[float]
    together: bool


class MergeEvaluator(Candidates):
    """Base and experts, scoring any weights by both proxies.

    Args:
        open_engine: Opens what scores merges; only where something must be scored here.
        k: Experts.
        scorer: The benchmarks.
        store: Where scores are kept.
        key: What determines them beside weights and benchmarks.
        response: γ of the map from the weights that are asked for to those that are merged.
        names: What a crew calls the experts.
        crew: Who scores; this process if left out.
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
        crew: JobDispatcher | None = None,
    ) -> None:
        super().__init__(ScoreCache(store, "scores", key, scorer.digests), crew)
        self._open, self.k, self.scorer, self.store = open_engine, k, scorer, store
        self.response = response
        self.names = tuple(names)
        self._key = {**key, "benchmarks": scorer.digest}

    @cached_property
    def engine(self) -> Engine:
        """What scores merges, opened in this process."""
        return self._open()

    # --- what is known of all ------------------------------------------------------------------

    @cached_property
    def facts(self) -> Facts:
        """Sizes of the models, found or measured now."""

        def build(scratch: Path) -> None:
            self.engine.prepare(self.scorer)
            facts = Facts(
                self.engine.parameters, self.scorer.count_tokens(), self.engine.step_sizes(),
                isinstance(self.engine, StreamedEngine),
            )  # fmt: skip
            (scratch / "facts.json").write_text(json.dumps(asdict(facts)))

        if self.crew is not None and self.store.find(*self.facts_unit) is None:
            self._insist([Job("describe", (self.names,), "the look at base and experts")])
        folder = self.store.make(*self.facts_unit, build)
        return Facts(**json.loads((folder / "facts.json").read_text()))

    @property
    def facts_unit(self) -> tuple[str, str, Mapping[str, Any]]:
        """Kind, name and key of the unit that the facts are."""
        return "engines", "facts", self._key

    @property
    def together(self) -> bool:
        """Whether many candidates are scored for little more than one."""
        return self.facts.together

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass: 2 x parameters x tokens read."""
        return 2.0 * self.facts.parameters * self.facts.tokens

    @cached_property
    def ensemble(self) -> Ensemble:
        """The experts' token probabilities, each computed once."""
        return Ensemble(self._corners)

    @cached_property
    def _corners(self) -> list[NDArray[np.float32]]:
        """Log-probabilities of each expert alone."""
        self.prepare()
        return [np.load(folder / "logprobs.npy") for folder in self.make_corners(range(self.k))]

    def prepare(self) -> None:
        """Has the log-probabilities of each expert alone computed, by a crew where there is one."""
        if self.crew is None:
            return
        lacking = [
            index for index in range(self.k)
            if self.store.find(*self.corner_unit(index)) is None
        ]  # fmt: skip
        self._insist([
            Job("score_corner", (self.names, index), f"expert {self.names[index]!r} alone")
            for index in lacking
        ])  # fmt: skip

    def make_corners(self, indices: Sequence[int]) -> list[Path]:
        """Units of the log-probabilities of some experts alone, found or computed together."""
        units = {index: self.corner_unit(index) for index in indices}
        lacking = [i for i, unit in units.items() if self.store.find(*unit) is None]
        flats: list[Flats] = []
        folders = []
        for index, unit in units.items():

            def build(scratch: Path, index: int = index) -> None:
                if not flats:  # the engine is opened only if something lacks
                    flats.append(Flats(self.engine, self.scorer, np.eye(self.k)[lacking].tolist()))
                np.save(scratch / "logprobs.npy", flats[0].of(np.eye(self.k)[index].tolist()))

            folders.append(self.store.make(*unit, build))
        return folders

    def corner_unit(self, index: int) -> tuple[str, str, Mapping[str, Any]]:
        """Kind, name and key of the unit of one expert's log-probabilities."""
        return "logprobs", f"expert-{index}", {**self._key, "expert": index}

    def _insist(self, jobs: Sequence[Job]) -> None:
        """Has jobs done that nothing goes on without."""
        assert self.crew is not None
        for job, error in self.crew.do(jobs):
            if error is not None:
                cause = " ".join(str(error).split()) or type(error).__name__
                raise RunError(f"The study cannot go on without {job.name} ({cause}).") from error

    # --- candidates ----------------------------------------------------------------------------

    def score(self, weights: Weights) -> dict[Kind, Results]:
        """Item results of the merge and of the ensemble at `weights` (`k`), by kind.

        Raises:
            RunError: Some benchmark failed; without a crew, what it failed of.
        """
        row = as_row(self.respond(weights))
        scored = next(self.score_rows([row]))
        lacking = [name for name in self.book.digests if name not in scored.benchmarks]
        if lacking:
            raise RunError(
                f"The merge at weights {[round(w, 3) for w in row]} has no score of "
                f"{', '.join(lacking)}, which is needed here; mend what failed and run again."
            )
        return scored.results

    def score_all(self, rows: Sequence[Weights]) -> Iterator[dict[Kind, Results]]:
        """Item results at each of `rows` (`k` each), in turn; nothing of one that was set aside."""
        for scored in self.score_rows([as_row(self.respond(row)) for row in rows]):
            yield scored.results

    def job(self, rows: Sequence[Row]) -> Job:
        """The job of scoring some rows."""
        told = f"{len(rows)} candidates" if len(rows) > 1 else "a candidate"
        return Job("score", (self.names, list(rows)), told)

    def restrict(self, names: Sequence[str]) -> Scorer:
        """The benchmarks called `names`."""
        return self.scorer.restrict(names)

    def needs_flat(self, row: Row) -> bool:
        """An expert alone is known already."""
        return _corner(row) is None

    def read(self, row: Row, names: Sequence[str], flats: Flats) -> CandidateScores:
        """Scores of the merge and of the ensemble at weights that are really merged."""
        corner = _corner(row)
        scorer = flats.scorer if corner is None else self.scorer
        flat = flats.of(row) if corner is None else self._corners[corner]
        losses = zip((task.metric.name for task in scorer.tasks), scorer.losses(flat), strict=True)
        results: dict[Kind, Results] = {"merged": scorer.read(flat)}
        if any(row):
            results["ensembled"] = self.scorer.read(self.ensemble.mix(row))
        found = CandidateScores(results, {name: float(loss) for name, loss in losses})
        return found.restrict(names)

    def score_base(self) -> Results:
        """Item results of the base itself."""
        return self.score([0.0] * self.k)["merged"]

    def losses(self, weights: Weights) -> Array:
        """Smooth loss of each task (`m`) at weights (`k`)."""
        row = as_row(self.respond(weights))
        scored = next(self.score_rows([row]))
        return np.array([scored.losses[task.metric.name] for task in self.scorer.tasks])

    def slopes(self, weights: Weights) -> Slopes:
        """Losses at `weights` and how they change with each expert's weight.

        Raises:
            ModelError: The models do not fit into memory, or a response map bends the weights.
            RunError: A crew could not measure them.
        """
        if self.response != 1:
            raise ModelError(
                f"Slopes are those of merges at the very weights, and search.response is "
                f"{self.response}; set it to 1, or leave out search.slopes and search.method: gradient."
            )

        def build(scratch: Path) -> None:
            measured = self.engine.slopes(self.scorer, weights)
            np.savez(scratch / "slopes.npz", **asdict(measured))

        unit = self.slopes_unit(weights)
        if self.crew is not None and self.store.find(*unit) is None:
            self._insist([self._slopes_job(weights)])
        folder = self.store.make(*unit, build)
        with np.load(folder / "slopes.npz") as told:
            return Slopes(told["losses"], told["by_weight"], float(told["passes"]))

    def prepare_slopes(self, rows: Sequence[Weights]) -> None:
        """Has slopes at rows (`k` each) measured by the crew, if there is one; failures come later."""
        if self.crew is not None:
            lacking = [
                row for row in rows
                if self.store.find(*self.slopes_unit(row)) is None
            ]  # fmt: skip
            for _ in self.crew.do(self._slopes_job(row) for row in lacking):
                pass

    def slopes_unit(self, weights: Weights) -> tuple[str, str, Mapping[str, Any]]:
        """Kind, name and key of the unit of slopes at weights (`k`)."""
        return "slopes", "candidate", {**self._key, "weights": list(as_row(weights))}

    def _slopes_job(self, weights: Weights) -> Job:
        return Job("measure_slopes", (self.names, as_row(weights)), "the slopes of a candidate")

    def score_ensembles(self, rows: Array) -> list[Results]:
        """Item results of ensembles at `rows` (`n x k`): arithmetic alone, so nothing is kept."""
        return [self.scorer.read(self.ensemble.mix(self.respond(row))) for row in rows.tolist()]

    def respond(self, weights: Weights) -> list[float]:
        """The weights (`k`) that are merged or mixed where `weights` are asked for."""
        return merge_weights(weights, self.response)


def _corner(weights: Weights) -> int | None:
    """The expert that is meant alone, if one is."""
    values = list(map(float, weights))
    return values.index(1.0) if values.count(0.0) == len(values) - 1 and 1.0 in values else None
