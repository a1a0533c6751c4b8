import pytest
from workers import MarkingWorkerFactory

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
