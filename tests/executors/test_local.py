import pytest
from workers import MarkingWorker, job, processes_of

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import RunError
from mixopt.executors.job import Job
from mixopt.executors.local import LocalDispatcher


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def test_a_job_is_done_when_it_is_yielded_and_its_error_keeps_the_traceback(store, tmp_path):
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", "fails"), job(tmp_path, "c")]
    ended = LocalDispatcher(MarkingWorker, store, 1).run(jobs)
    assert next(ended) == (jobs[0], None)
    assert [len(processes_of(tmp_path, name)) for name in "abc"] == [1, 0, 0]
    _, error = next(ended)
    assert error.__traceback__ is not None
    assert [len(processes_of(tmp_path, name)) for name in "abc"] == [1, 2, 0]


def test_a_worker_is_made_with_the_first_job_that_has_to_be_done(store):
    artifact = Artifact("experts", "web", {})
    made = []

    def make_worker():
        made.append(1)
        return lambda _: store.get_or_build(artifact, lambda _: None)

    dispatcher = LocalDispatcher(make_worker, store, 0)
    done = Job("train", (), "web", (artifact,))
    for _ in range(2):
        assert list(dispatcher.run([done])) == [(done, None)]
        assert made == [1]
    assert list(LocalDispatcher(make_worker, store, 0).run([done])) == [(done, None)]
    assert made == [1]


def test_a_worker_that_built_something_else_is_an_error(store):
    dispatcher = LocalDispatcher(lambda: lambda _: None, store, 0)
    with pytest.raises(RunError, match="built other artifacts than were asked for"):
        list(dispatcher.run([Job("train", (), "web", (Artifact("experts", "web", {}),))]))


def test_an_interrupt_is_no_failure_of_a_job(store, tmp_path):
    def worker(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(LocalDispatcher(lambda: worker, store, 9).run([job(tmp_path, "a")]))
