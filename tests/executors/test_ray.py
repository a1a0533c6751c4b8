import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from waiting import wait_until
from workers import MarkingWorkerFactory, job, processes_of, ray_cluster

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.executors import RayExecutorConfig
from mixopt.errors import UserError
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher

ray = pytest.importorskip("ray")

from mixopt.executors import ray as ray_executor  # noqa: E402

NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}},
    {"Alive": True, "Resources": {"CPU": 3.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(("needs", "places"), [
    ({"num_cpus": 1.0, "num_gpus": 0.0}, 11),
    ({"num_cpus": 2.0, "num_gpus": 1.0}, 4),
    ({"num_cpus": 1.0, "num_gpus": 0.5}, 8),
    ({"num_cpus": 4.0, "num_gpus": 2.0}, 2),
    ({"num_cpus": 16.0, "num_gpus": 0.0}, 0),
])  # fmt: skip
def test_places_are_counted_node_by_node(monkeypatch, needs, places):
    monkeypatch.setattr(ray_executor.ray, "nodes", lambda: NODES)
    assert ray_executor._count_places(needs) == places


def test_a_cluster_without_room_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray_executor.ray, "nodes", lambda: NODES)
    with pytest.raises(UserError, match="No node of the Ray cluster has 100 cores and 0 GPUs free"):
        ray_executor.open_executor(
            RayExecutorConfig(cpus=100), MarkingWorkerFactory(), tmp_path, []
        )


def test_an_address_that_does_not_answer_is_an_error(tmp_path, monkeypatch):
    def refuse(**_):
        raise ConnectionError("could not connect")

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(ray_executor.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_executor.ray, "init", refuse)
    with pytest.raises(
        UserError, match="No Ray cluster answers at 127.0.0.1:1 .*; fix RAY_ADDRESS"
    ):
        ray_executor.open_executor(RayExecutorConfig(), MarkingWorkerFactory(), tmp_path, [])


class FakeRay:
    """Ray's one thread: it calls back, and does what `kill` waits for."""

    def __init__(self):
        self.placements, self.stuck, self.cancelled = [], False, []

    def put(self, value):
        return value

    def remote(self, _):
        return self

    def options(self, **_):
        return FakeRemote(self)

    def cancel(self, reference, *, force):
        assert force  # a training does not look for an interrupt
        self.cancelled.append(reference)

    def kill(self, _):
        """The place of what is killed goes to the next that waits, before the killing is done."""
        if self.placements:
            thread = threading.Thread(target=self.placements.pop().set_result, args=(None,))
            thread.start()
            thread.join(10)
            self.stuck |= thread.is_alive()


class FakeRemote:
    """A task, an actor class and its actors: nothing is placed until somebody is killed."""

    def __init__(self, ray):
        self.ray, self.wait_until_placed = ray, self

    def remote(self, *_):
        return FakeReference(self.ray)


class FakeReference(FakeRemote):
    def future(self):
        future = Future()
        self.ray.placements.append(future)
        return future


def test_a_callback_of_ray_never_waits_for_who_waits_for_ray(monkeypatch, tmp_path):
    fake = FakeRay()
    monkeypatch.setattr(ray_executor, "ray", fake)
    needs = {"num_cpus": 1.0, "num_gpus": 0.0}
    executor = ray_executor.RayExecutor(MarkingWorkerFactory(), 3, needs, owns_cluster=False)
    for number in range(3):
        executor.submit(job(tmp_path, f"score {number}"))
    executor.submit(job(tmp_path, "train", trains=True))  # ends the actors, whose placement is told
    executor.close()
    assert not fake.stuck


def test_trainings_end_with_the_executor_and_finished_ones_are_forgotten(monkeypatch, tmp_path):
    """They went on to their end in a cluster that others had started, for a study that had ended."""
    fake = FakeRay()
    monkeypatch.setattr(ray_executor, "ray", fake)
    needs = {"num_cpus": 1.0, "num_gpus": 0.0}
    executor = ray_executor.RayExecutor(MarkingWorkerFactory(), 2, needs, owns_cluster=False)
    done = executor.submit(job(tmp_path, "train one", trains=True))
    executor.submit(job(tmp_path, "train two", trains=True))
    first, second = executor._trainings
    fake.placements[0].set_result(None)
    assert done.result(60) is None
    executor.close()
    assert first is not second
    assert fake.cancelled == [second]


@pytest.mark.slow
def test_a_training_in_a_cluster_that_goes_on_ends_with_the_executor(tmp_path):
    needs = {"num_cpus": 1.0, "num_gpus": 0.0}
    with ray_cluster(1):
        executor = ray_executor.RayExecutor(MarkingWorkerFactory(), 1, needs, owns_cluster=False)
        executor.submit(job(tmp_path, "train", "sleeps", trains=True))
        wait_until(lambda: processes_of(tmp_path, "train"))
        (process,) = processes_of(tmp_path, "train")
        executor.close()
        wait_until(lambda: not Path(f"/proc/{process}").exists())


class Broken:
    """A worker that cannot begin, as on a node that lacks what it needs."""

    def __reduce__(self):
        return _missing, ()


def _missing():
    raise ImportError("No module named 'mixopt'")


@pytest.mark.slow
def test_more_workers_than_places_neither_block_each_other_nor_restart_for_ever(tmp_path):
    needs = {"num_cpus": 1.0, "num_gpus": 0.0}

    def executor(make_worker, n_workers):
        return ray_executor.RayExecutor(make_worker, n_workers, needs, owns_cluster=False)

    store = ArtifactStore(tmp_path / "store")
    with ray_cluster(1):
        dispatcher = Dispatcher(lambda: executor(MarkingWorkerFactory(), 3), store, 1)
        for turn in range(2):  # actors that wait for a place must not take the training's
            jobs = [job(tmp_path, f"score {turn} {i}") for i in range(4)]
            assert all(error is None for _, error in dispatcher.run(jobs))
            ((_, error),) = dispatcher.run([job(tmp_path, f"train {turn}", trains=True)])
            assert error is None
        dispatcher.close()
        dispatcher = Dispatcher(lambda: executor(Broken(), 1), store, 1)
        ((_, error),) = dispatcher.run([job(tmp_path, "never")])
        assert isinstance(error, WorkerLostError)
        dispatcher.close()
