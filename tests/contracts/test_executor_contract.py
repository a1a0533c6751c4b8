"""What every executor promises."""

import pytest
from workers import (
    MarkingWorker,
    MarkingWorkerFactory,
    importable_in_workers,
    job,
    processes_of,
    ray_cluster,
)

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.executors import (
    ProcessesExecutorConfig,
    RayExecutorConfig,
    SlurmExecutorConfig,
)
from mixopt.errors import ConfigError, DivergedError, RunError
from mixopt.executors.base import ENGINES, WorkerLostError, open_executor
from mixopt.executors.dispatcher import Dispatcher, LocalDispatcher

CONFIGS = {
    "processes": ProcessesExecutorConfig(workers=2),
    "ray": RayExecutorConfig(workers=2),
    "slurm": SlurmExecutorConfig(cluster="local", workers=2, minutes=2),
}
PARALLEL = ["processes", "ray", "slurm"]


def test_every_engine_is_tested():
    assert CONFIGS.keys() == ENGINES.keys() == set(PARALLEL)


@pytest.fixture(scope="module")
def ray_here():
    with ray_cluster(2):
        yield


@pytest.fixture(scope="module")
def executor(request, tmp_path_factory):
    """The kind of an executor and an executor, whose workers are started once for all tests."""
    kind = request.param
    if kind == "local":
        yield kind, None
        return
    if kind == "ray":
        request.getfixturevalue("ray_here")
    if kind == "slurm":
        pytest.importorskip("submitit")
    with importable_in_workers():
        opened = open_executor(
            CONFIGS[kind], MarkingWorkerFactory(), tmp_path_factory.mktemp("executor")
        )
        yield kind, opened
        opened.close()


def dispatch(executor, folder, retries):
    """A dispatcher on an executor, which stays open."""
    kind, opened = executor
    store = ArtifactStore(folder / "store")
    if kind == "local":
        return LocalDispatcher(MarkingWorker, store, retries)
    return Dispatcher(lambda: opened, store, retries)


def executors(*kinds):
    return pytest.mark.parametrize("executor", kinds, indirect=True, scope="module")


@pytest.mark.slow
# submitit's local jobs are processes that it never waits for
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestExecutorContract:
    @executors("local", *PARALLEL)
    def test_every_job_is_done_once_and_failures_are_told_apart(self, executor, tmp_path, caplog):
        kind, _ = executor
        dispatcher = dispatch(executor, tmp_path, 1)
        hows = {
            "one": "works", "two": "works", "once": "fails once", "never": "fails",
            "wild": "diverges", "mute": "cannot be sent",
        }  # fmt: skip
        jobs = [job(tmp_path, name, how, trains=name == "two") for name, how in hows.items()]
        errors = {each.name: error for each, error in dispatcher.run(jobs)}
        assert errors.keys() == hows.keys()
        assert [errors[name] for name in ("one", "two", "once")] == [None] * 3
        assert isinstance(errors["never"], OSError)
        assert "bad card" in str(errors["never"])
        assert isinstance(errors["wild"], DivergedError)
        assert isinstance(errors["mute"], RunError if kind != "local" else Exception)
        counts = {name: len(processes_of(tmp_path, name)) for name in hows}
        assert counts == {"one": 1, "two": 1, "once": 2, "never": 2, "wild": 1, "mute": 2}
        assert sum("is tried again" in record.message for record in caplog.records) == 3

    @executors("local", *PARALLEL)
    def test_wrong_input_stops_the_dispatcher(self, executor, tmp_path):
        _, opened = executor
        dispatcher = dispatch(executor, tmp_path, 1)
        jobs = [job(tmp_path, "bad", "is wrong")]
        # a remote machine may be at fault, so that the job is tried again there
        with pytest.raises(ConfigError, match="not what it should be"):
            list(dispatcher.run(jobs))
        assert len(processes_of(tmp_path, "bad")) == (2 if opened and opened.is_remote else 1)

    @executors(*PARALLEL)
    def test_a_worker_that_dies_costs_its_job_one_try(self, executor, tmp_path):
        kind, _ = executor
        dispatcher = dispatch(executor, tmp_path, 1)
        hows = {"a": "works", "victim": "dies once", "b": "works", "c": "works"}
        if kind != "slurm":  # submitit needs 15 s to notice a death
            hows["deadly"] = "dies"
        jobs = [job(tmp_path, name, how) for name, how in hows.items()]
        errors = {each.name: error for each, error in dispatcher.run(jobs)}
        if kind != "slurm":
            assert isinstance(errors.pop("deadly"), WorkerLostError)
            assert len(processes_of(tmp_path, "deadly")) == 2
        assert errors == dict.fromkeys(["a", "victim", "b", "c"])
        assert len(processes_of(tmp_path, "victim")) == 2

    @executors(*PARALLEL)
    def test_two_jobs_run_at_the_same_time(self, executor, tmp_path):
        """Each job ends only after the other has begun."""
        dispatcher = dispatch(executor, tmp_path, 0)
        names = ["meeting 1", "meeting 2"]
        jobs = [job(tmp_path, name, "meets") for name in names]
        assert [error for _, error in dispatcher.run(jobs)] == [None, None]
        assert len({pid for name in names for pid in processes_of(tmp_path, name)}) == 2

    @executors("local", *PARALLEL)
    def test_jobs_are_drawn_as_workers_become_free(self, executor, tmp_path):
        dispatcher = dispatch(executor, tmp_path, 0)
        drawn = []

        def jobs():
            for index in range(6):
                drawn.append(index)
                yield job(tmp_path, f"lazy {index}")

        _, error = next(dispatcher.run(jobs()))
        assert error is None
        assert len(drawn) <= dispatcher.slots + 1
