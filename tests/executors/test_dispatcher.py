from concurrent.futures import Future
from dataclasses import replace

import pytest
import workers

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import DivergedError, RunError, StorageError
from mixopt.executors import dispatcher as dispatcher_module
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher, LocalDispatcher, ReadOnlyDispatcher
from mixopt.executors.job import Job


def job(name, *artifacts):
    return Job("work", (), name, artifacts)


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


class Delayed:
    """An executor whose jobs end in a given order."""

    slots, prefers_large_jobs, is_remote = 2, True, False

    def __init__(self, order):
        self.order, self.sent, self.n_closed = order, {}, 0

    def submit(self, job):
        future = Future()
        self.sent[job.name] = future
        ready = [name for name in self.order if name in self.sent]
        if len(self.sent) >= self.slots or len(self.order) == 1:
            self.order.remove(ready[0])
            self.sent.pop(ready[0]).set_result(None)
        return future

    def close(self):
        self.n_closed += 1


class Scripted:
    """An executor whose tries end as a list says: with None, an error, or an action."""

    slots, prefers_large_jobs = 1, False

    def __init__(self, *outcomes, is_remote=False):
        self.outcomes, self.is_remote, self.jobs = list(outcomes), is_remote, []

    def submit(self, job):
        self.jobs.append(job)
        outcome, future = self.outcomes.pop(0), Future()
        if isinstance(outcome, WorkerLostError | KeyboardInterrupt):
            future.set_exception(outcome)
        else:
            future.set_result(outcome() if callable(outcome) else outcome)
        return future

    def close(self):
        pass


def test_jobs_are_yielded_in_the_order_in_which_they_end(store):
    delayed = Delayed(["b", "a"])
    ended = Dispatcher(lambda: delayed, store, 0).run([job("a"), job("b")])
    assert next(ended)[0].name == "b"
    delayed.sent.pop("a").set_result(None)
    assert next(ended)[0].name == "a"
    assert next(ended, None) is None


def test_an_executor_is_opened_with_the_first_job_and_again_after_it_was_closed(store):
    opened = []

    def open_executor():
        opened.append(Delayed(["a"]))
        return opened[-1]

    dispatcher = Dispatcher(open_executor, store, 0)
    dispatcher.close()
    assert not opened
    list(dispatcher.run([job("a")]))
    assert (dispatcher.slots, dispatcher.prefers_large_jobs) == (2, True)
    dispatcher.close()
    list(dispatcher.run([job("a")]))
    assert [executor.n_closed for executor in opened] == [1, 0]


def test_a_job_whose_artifacts_exist_needs_no_worker(store):
    artifact = Artifact("experts", "web", {})
    store.get_or_build(artifact, lambda _: None)
    dispatcher = Dispatcher(lambda: pytest.fail("opened"), store, 0)
    done = job("a", artifact)
    assert list(dispatcher.run([done])) == [(done, None)]


def test_workers_get_no_artifacts_and_what_they_built_is_looked_for(store):
    artifact = Artifact("experts", "web", {})
    executor = Scripted(lambda: store.get_or_build(artifact, lambda _: None) and None)
    ((_, error),) = Dispatcher(lambda: executor, store, 0).run([job("a", artifact)])
    assert error is None
    assert executor.jobs == [job("a")]


def test_a_worker_that_built_something_else_is_an_error(store, monkeypatch):
    monkeypatch.setattr(dispatcher_module, "VISIBLE_AFTER_S", 0.2)
    missing = job("a", Artifact("experts", "web", {}))
    for is_remote in (False, True):
        dispatcher = Dispatcher(lambda: Scripted(None, is_remote=is_remote), store, 0)  # noqa: B023
        with pytest.raises(
            RunError, match=r"a is done, but built other artifacts .*; run the same"
        ):
            list(dispatcher.run([missing]))


def test_an_artifact_of_another_machine_may_be_visible_late(store):
    artifact, looks = Artifact("experts", "web", {}), []
    find = store.find

    def find_late(each):
        looks.append(each)
        if len(looks) == 3:
            store.get_or_build(artifact, lambda _: None)
        return find(each)

    store.find = find_late
    ((_, error),) = Dispatcher(lambda: Scripted(None, is_remote=True), store, 0).run(
        [job("a", artifact)]
    )
    assert error is None


def test_a_lost_worker_is_recorded_until_another_succeeds(store):
    artifact = Artifact("experts", "web", {})
    lost = WorkerLostError("The machine went away.")
    ((_, error),) = Dispatcher(lambda: Scripted(lost, lost), store, 1).run([job("a", artifact)])
    assert error is lost
    assert (store.failure(artifact).cause, store.failure(artifact).times) == (str(lost), 2)
    executor = Scripted(lambda: store.get_or_build(artifact, lambda _: None) and None)
    list(Dispatcher(lambda: executor, store, 0).run([job("a", artifact)]))
    assert store.failures() == []


def test_a_lost_worker_leaves_no_failure_of_what_it_had_finished(store):
    run, scores = Artifact("runs", "web", {}), Artifact("scores", "web", {})
    store.get_or_build(run, lambda _: None)
    lost = WorkerLostError("The machine went away.")
    list(Dispatcher(lambda: Scripted(lost), store, 0).run([job("a", run, scores)]))
    assert [failure.kind for failure in store.failures()] == ["scores"]
    # a failure of an attempt beside it is over too
    store.record_failure(run, lost)
    assert [failure.kind for failure in store.failures()] == ["scores"]


def test_a_full_disk_stops_the_dispatcher(store):
    full = StorageError("The disk is full.")
    with pytest.raises(StorageError, match="full"):
        list(Dispatcher(lambda: Scripted(full), store, 9).run([job("a")]))


def test_a_fatal_error_of_a_remote_machine_is_tried_again(store):
    """A node whose disk is full costs a try; if all tries fail, the error is raised."""
    full = StorageError("The disk is full.")
    executor = Scripted(full, None, is_remote=True)
    assert list(Dispatcher(lambda: executor, store, 1).run([job("a")])) == [(job("a"), None)]
    executor = Scripted(full, full, is_remote=True)
    with pytest.raises(StorageError):
        list(Dispatcher(lambda: executor, store, 1).run([job("a")]))


def test_a_diverged_training_is_not_tried_again(store):
    diverged = DivergedError("The loss is not finite.")
    dispatcher = Dispatcher(lambda: Scripted(diverged), store, 9)
    assert list(dispatcher.run([job("a")])) == [(job("a"), diverged)]


def test_an_interrupt_is_raised(store):
    with pytest.raises(KeyboardInterrupt):
        list(Dispatcher(lambda: Scripted(KeyboardInterrupt()), store, 9).run([job("a")]))


def test_a_job_is_done_when_it_is_yielded_and_its_error_keeps_the_traceback(store, tmp_path):
    jobs = [
        workers.job(tmp_path, "a"),
        workers.job(tmp_path, "b", "fails"),
        workers.job(tmp_path, "c"),
    ]
    ended = LocalDispatcher(workers.MarkingWorker, store, 1).run(jobs)
    assert next(ended) == (jobs[0], None)
    assert [len(workers.processes_of(tmp_path, name)) for name in "abc"] == [1, 0, 0]
    _, error = next(ended)
    assert error.__traceback__ is not None
    assert [len(workers.processes_of(tmp_path, name)) for name in "abc"] == [1, 2, 0]


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


def test_this_process_that_built_something_else_is_an_error(store):
    dispatcher = LocalDispatcher(lambda: lambda _: None, store, 0)
    with pytest.raises(RunError, match="built other artifacts than were asked for"):
        list(dispatcher.run([Job("train", (), "web", (Artifact("experts", "web", {}),))]))


def test_an_interrupt_is_no_failure_of_a_job(store, tmp_path):
    def worker(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(LocalDispatcher(lambda: worker, store, 9).run([workers.job(tmp_path, "a")]))


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


def test_a_run_that_failed_is_found_although_its_scores_were_never_tried(store):
    run, scores = Artifact("runs", "web", {}), Artifact("scores", "web", {})
    store.record_failure(run, DivergedError("The loss is infinite."))
    for artifacts in ((run, scores), (scores, run)):
        ((_, error),) = ReadOnlyDispatcher(store).run([job("a", *artifacts)])
        assert str(error) == "The loss is infinite."


def test_an_error_that_a_worker_recorded_elsewhere_is_recorded_here_once(store):
    run, scores = Artifact("runs", "web", {}), Artifact("scores", "web", {})
    diverged = DivergedError("The loss is infinite.")
    list(Dispatcher(lambda: Scripted(diverged), store, 0).run([job("a", run, scores)]))
    assert [failure.cause for failure in store.failures()] == ["The loss is infinite."]
    list(Dispatcher(lambda: Scripted(diverged), store, 0).run([job("a", run, scores)]))
    assert store.failure(run).times == 1  # a worker that shares the folder counts
    assert store.failure(scores) is None


def test_a_training_that_diverged_in_an_earlier_process_is_not_trained_again(store):
    run, scores = Artifact("runs", "mix", {}), Artifact("logprobs", "mix", {})
    store.record_failure(run, DivergedError("The loss of 'mix' stopped being finite at step 3."))
    again = replace(job("a", run, scores), once=True)
    for dispatcher in (Dispatcher(lambda: pytest.fail("opened"), store, 1),
                       LocalDispatcher(lambda: pytest.fail("made"), store, 1)):  # fmt: skip
        ((found, error),) = dispatcher.run([again])
        assert found is again
        assert isinstance(error, DivergedError)
        assert str(error) == "The loss of 'mix' stopped being finite at step 3."
    executor = Scripted(DivergedError("again"))
    ((_, error),) = Dispatcher(lambda: executor, store, 0).run([replace(again, once=False)])
    assert str(error) == "again"
    # another failure may be over
    store.forget_failure(run)
    store.record_failure(run, RunError("no route to host"))
    executor = Scripted(RunError("no route to host"))
    ((_, error),) = Dispatcher(lambda: executor, store, 0).run([again])
    assert len(executor.jobs) == 1
    assert not isinstance(error, DivergedError)
