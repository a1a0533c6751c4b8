import pytest

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import RunError
from mixopt.executors.job import Job
from mixopt.executors.read_only import ReadOnlyDispatcher


def test_jobs_are_yielded_as_earlier_runs_left_them(tmp_path):
    store = ArtifactStore(tmp_path)
    done, failed, missing = (Artifact("experts", name, {}) for name in ("web", "law", "code"))
    store.get_or_build(done, lambda _: None)
    store.record_failure(failed, RunError("killed"))
    jobs = [Job("train", (), each.name, (each,)) for each in (done, failed, missing)]
    ended = ReadOnlyDispatcher(store).run(jobs)
    assert next(ended) == (jobs[0], None)
    _, error = next(ended)
    assert isinstance(error, RunError)
    assert str(error) == "killed"
    with pytest.raises(MissingArtifactError, match=r"experts/code-.* has not been built"):
        next(ended)
