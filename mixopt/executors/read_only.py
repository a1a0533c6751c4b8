"""A dispatcher that runs no job: it reports what earlier runs left in a store."""

from collections.abc import Iterable, Iterator

from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import RunError
from mixopt.executors.job import Job


class ReadOnlyDispatcher:
    """Yields finished jobs, and failed ones with the recorded error.

    Args:
        store: Where jobs' artifacts and failures are looked for.
    """

    slots = 1
    prefers_large_jobs = False

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Yield each job as an earlier run left it.

        Raises:
            MissingArtifactError: A job has neither succeeded nor failed.
        """
        for job in jobs:
            error: Exception | None = None
            for artifact in job.artifacts:
                if self._store.find(artifact) is not None:
                    continue
                failure = self._store.failure(artifact)
                if failure is None:
                    raise MissingArtifactError(artifact)
                error = RunError(failure.cause)
            yield job, error

    def close(self) -> None:
        """Do nothing: there is no worker."""
