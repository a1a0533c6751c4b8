import os
import time
from concurrent.futures import wait

import pytest
from workers import MarkingWorkerFactory, importable_in_workers, job

from mixopt.config.executors import SlurmExecutorConfig
from mixopt.errors import UserError

submitit = pytest.importorskip("submitit")

from mixopt.executors.slurm import open_executor  # noqa: E402


def test_a_machine_without_slurm_says_so(tmp_path):
    with pytest.raises(UserError, match="has no SLURM .*; submit from a login node"):
        open_executor(SlurmExecutorConfig(), MarkingWorkerFactory(), tmp_path, [])


def test_a_job_asks_for_what_the_config_says(tmp_path, monkeypatch):
    monkeypatch.setattr("submitit.slurm.slurm.SlurmExecutor.affinity", classmethod(lambda _: 2))
    config = SlurmExecutorConfig(
        minutes=90, gpus=2, cpus=8, memory_gb=64, partition="long", account="lab", qos="low",
        constraint="h100", workers=3,
    )  # fmt: skip
    executor = open_executor(config, MarkingWorkerFactory(), tmp_path, [])
    queue = executor._queue._executor
    script = queue._make_submission_file_text("run", "id")
    for line in ("--time=90", "--cpus-per-task=8", "--gpus-per-node=2", "--mem=64GB",
                 "--partition=long", "--account=lab", "--qos=low", "--constraint=h100"):  # fmt: skip
        assert f"#SBATCH {line}\n" in script, script
    assert executor.slots == 3


@pytest.fixture
def local_queue(tmp_path):
    """An executor of submitit's local jobs, in a folder that another program made for everybody."""
    folder = tmp_path / "executor"
    folder.mkdir(mode=0o755)
    with importable_in_workers():
        config = SlurmExecutorConfig(cluster="local", workers=2, minutes=2)
        executor = open_executor(config, MarkingWorkerFactory(), folder, [])
        yield folder, executor
        executor.close()


# submitit's local jobs are processes that it never waits for
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestCredentials:
    def test_a_job_that_ended_leaves_its_logs_and_no_pickle(self, local_queue, tmp_path):
        """submitit pickles the study's config and the URL of its storage."""
        folder, executor = local_queue
        outcome = executor.submit(job(tmp_path, "one"))
        wait([outcome], timeout=60)
        assert outcome.result() is None
        assert list(folder.rglob("*.pkl")) == []
        assert list(folder.rglob("*_log.err")) != []

    def test_close_removes_the_pickles_of_running_and_refused_jobs(self, local_queue, tmp_path):
        folder, executor = local_queue
        (folder / "0123abcd.pkl").write_bytes(b"of a job that SLURM did not take")
        executor.submit(job(tmp_path, "one", "sleeps"))
        while not (tmp_path / "one").exists():
            time.sleep(0.05)
        assert list(folder.rglob("*_submitted.pkl")) != []
        executor.close()
        assert list(folder.rglob("*.pkl")) == []

    def test_only_its_owner_opens_the_folder(self, local_queue):
        folder, _ = local_queue
        assert os.stat(folder).st_mode & 0o777 == 0o700
