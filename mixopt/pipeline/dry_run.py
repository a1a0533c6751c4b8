"""Rehearsing: what a study stands on, with journals that make nothing and a crew that does not work.

Who walks the road on it finds what a run would find, and learns of the first thing that it would make.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.artifacts.store import ArtifactStore, Failure, hash_key, whole_key
from mixopt.errors import RunError
from mixopt.executors.job import Job
from mixopt.mixture import Mixture
from mixopt.pipeline.context import StudyContext

if TYPE_CHECKING:
    from mixopt.evaluation.score_cache import Row, ScoreCache
    from mixopt.pipeline.laboratory import Laboratory


class NotMadeError(Exception):
    """A unit that would be made now."""

    def __init__(self, kind: str, folder: Path, key: Mapping[str, Any]) -> None:
        super().__init__(folder.name)
        self.kind, self.folder, self.key = kind, folder, key


class DryStore(ArtifactStore):
    """Finds units and makes none."""

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        """The unit, if it is there.

        Raises:
            NotMadeError: It is not.
        """
        found = self.find(kind, name, key)
        if found is None:
            raise NotMadeError(kind, self.place(kind, name, key), whole_key(kind, key))
        return found


class DryCrew:
    """Does no job; one that failed before is taken to fail again."""

    slots, coarse, remote = 1, False, False

    def __init__(self, journal: ArtifactStore, laboratory: "Laboratory") -> None:
        self._failures = {(f.kind, f.folder): f for f in journal.failures()}
        self._journal, self._laboratory = journal, laboratory
        self.book: ScoreCache | None = None
        """That of the candidates which are looked at now."""

    def do(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Each job with what it failed of.

        Raises:
            NotMadeError: It would be done now.
        """
        for job in jobs:
            missing = self._unit_of(job)
            failure = self.failure_of(missing) or self._failures.get((
                "jobs", hash_key({"verb": job.verb, "arguments": job.arguments}),
            ))  # fmt: skip
            if failure is None:
                raise missing
            yield job, RunError(failure.cause)

    def failure_of(self, missing: NotMadeError) -> Failure | None:
        """What its making failed of, if it was tried."""
        return self._failures.get((missing.kind, missing.folder.name))

    def unit_of_row(self, row: "Row") -> NotMadeError:
        """The unit of a candidate's scores."""
        assert self.book is not None
        return self._unit(*self.book.unit(row))

    def _unit(self, kind: str, name: str, key: Mapping[str, Any]) -> NotMadeError:
        return NotMadeError(kind, self._journal.place(kind, name, key), whole_key(kind, key))

    def _unit_of(self, job: Job) -> NotMadeError:
        """What the job would make, or what would have to be made before."""
        try:
            return self._unit(*self._look(job))
        except NotMadeError as missing:
            return missing

    def _look(self, job: Job) -> tuple[str, str, Mapping[str, Any]]:
        lab, arguments = self._laboratory, job.arguments
        if job.verb in ("score", "estimate"):
            assert self.book is not None
            return self.book.unit(tuple(arguments[-1][0]))
        if job.verb == "train_base":
            _ = lab.base
        elif job.verb == "train_expert":
            lab.train_expert(*arguments)
        elif job.verb == "train_proxy_run":
            name, ratios, seed = arguments
            lab.train_proxy_run(name, Mixture(ratios), seed)
        names = arguments[0]
        swarm = lab.open_swarm([lab.train_expert(name).folder for name in names], names)
        if job.verb == "describe":
            return swarm.facts_unit
        if job.verb == "score_corner":
            return swarm.corner_unit(arguments[1])
        return swarm.slopes_unit(arguments[1])

    def close(self) -> None:
        """Nobody to let go."""


class DryFoundation(StudyContext):
    """What a study stands on, as far as it is there."""

    @cached_property
    def laboratory(self) -> "Laboratory":
        """The laboratory over journals that make nothing."""
        journals = DryStore(self.site.journal), DryStore(self.site.cache)
        return self.site.open_laboratory(self.recipe, journals=journals)

    @cached_property
    def hands(self) -> DryCrew:
        """Nobody."""
        return DryCrew(ArtifactStore(self.site.journal), self.laboratory)
