"""What every executor promises."""

import os
import time
from pathlib import Path

import pytest
from workers import HireMarker, job, tries

from mixopt.config.executors import ProcessesExecutorConfig, RayExecutorConfig, SlurmExecutorConfig
from mixopt.errors import ConfigError, DivergedError, RunError
from mixopt.executors.base import WorkerLostError, open_executor
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.local import LocalExecutor

ELSEWHERE = {
    "processes": ProcessesExecutorConfig(workers=2),
    "ray": RayExecutorConfig(workers=2),
    "slurm": SlurmExecutorConfig(cluster="local", workers=2, minutes=2),
}


@pytest.fixture(scope="module")
def ray_here(_tests_can_be_imported):
    """A cluster of this machine, begun once for all tests of the module."""
    ray = pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_TMPDIR", "/tmp/mixopt-ray")  # a socket's path may not be long
    os.makedirs("/tmp/mixopt-ray", exist_ok=True)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
             object_store_memory=100_000_000)  # fmt: skip
    yield
    ray.shutdown()
    patch.undo()


@pytest.fixture(scope="module", autouse=True)
def _tests_can_be_imported():
    """Workers of other processes find what they are to do."""
    patch = pytest.MonkeyPatch()
    helpers = str(Path(__file__).parent.parent / "helpers")
    patch.setenv("PYTHONPATH", os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")]))
    yield
    patch.undo()


@pytest.fixture(params=["local", *ELSEWHERE])
def executor(request, tmp_path):
    kind = request.param
    marks = tmp_path / "marks"
    marks.mkdir()
    if kind == "local":
        yield kind, LocalExecutor(HireMarker(marks)()), marks
        return
    if kind == "ray":
        request.getfixturevalue("ray_here")
    if kind == "slurm":
        pytest.importorskip("submitit")
    opened = open_executor(ELSEWHERE[kind], HireMarker(marks), tmp_path / "own")
    yield kind, opened, marks
    opened.close()


@pytest.mark.slow
# submitit's local jobs are processes that it never waits for
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestExecutorContract:
    def test_every_job_is_done_once_and_failures_are_told_apart(self, executor, caplog):
        kind, opened, marks = executor
        told = []
        crew = Dispatcher(lambda: opened, 1, lambda *ended: told.append(ended))
        jobs = [
            job("one"), job("two", trains=True), job("once", "fails once"), job("never", "fails"),
            job("wild", "diverges"), job("mute", "cannot be sent"),
        ]  # fmt: skip
        ended = {asked.name: error for asked, error in crew.do(jobs)}
        assert ended.keys() == {asked.name for asked in jobs}
        assert [ended[name] for name in ("one", "two", "once")] == [None] * 3
        assert isinstance(ended["never"], OSError)
        assert "bad card" in str(ended["never"])
        assert isinstance(ended["wild"], DivergedError)  # trying again would not help
        assert isinstance(ended["mute"], RunError if kind != "local" else Exception)
        counts = {asked.name: tries(marks, asked.name) for asked in jobs}
        assert counts == {"one": 1, "two": 1, "once": 2, "never": 2, "wild": 1, "mute": 2}
        assert sum(error is not None for _, error in told) == 1 + 2 + 1 + 2
        assert sum("is tried again" in record.message for record in caplog.records) == 3

    def test_wrong_input_ends_it_all(self, executor):
        _, opened, _ = executor
        crew = Dispatcher(lambda: opened, 5)
        with pytest.raises(ConfigError, match="not what it should be"):
            list(crew.do([job("bad", "is wrong")]))

    def test_a_worker_that_dies_costs_its_job_one_try(self, executor):
        kind, opened, marks = executor
        if kind == "local":
            pytest.skip("the only worker is the process that would tell")
        crew = Dispatcher(lambda: opened, 1)
        jobs = [job("a"), job("victim", "dies once"), job("b"), job("c")]
        if kind != "slurm":  # where it takes submitit a quarter of a minute to see a death
            jobs.insert(1, job("deadly", "dies"))
        ended = {asked.name: error for asked, error in crew.do(jobs)}
        if kind != "slurm":
            assert isinstance(ended.pop("deadly"), WorkerLostError)
            assert tries(marks, "deadly") == 2
        assert set(ended.values()) == {None}
        assert tries(marks, "victim") == 2

    def test_workers_work_at_the_same_time(self, executor):
        kind, opened, marks = executor
        if kind == "local":
            pytest.skip("one after another is what it is for")
        crew = Dispatcher(lambda: opened, 0)
        list(crew.do([job("warm"), job("up")]))
        jobs = [job(f"slow {index}", seconds=1.5) for index in range(2)]
        start = time.monotonic()
        assert all(error is None for _, error in crew.do(jobs))
        if kind != "slurm":  # whose jobs load everything anew
            assert len({p for m in marks.glob("slow*") for p in m.read_text().split()}) == 2
        assert time.monotonic() - start < 60  # it ends

    def test_jobs_are_taken_as_workers_become_free(self, executor):
        _, opened, _ = executor
        crew = Dispatcher(lambda: opened, 0)
        taken = []

        def jobs():
            for index in range(6):
                taken.append(index)
                yield job(f"lazy {index}")

        first = next(iter(crew.do(jobs())))
        assert first[1] is None
        assert len(taken) <= opened.slots + 1
