import pytest
from workers import MarkingWorker, job, processes_of

from mixopt.executors.local import LocalExecutor


def test_a_job_is_done_before_submit_returns_and_its_error_keeps_the_traceback(tmp_path):
    executor = LocalExecutor(MarkingWorker())
    assert executor.submit(job(tmp_path, "a")).result() is None
    assert len(processes_of(tmp_path, "a")) == 1
    error = executor.submit(job(tmp_path, "b", "fails")).result()
    assert error.__traceback__ is not None


def test_an_interrupt_is_no_failure_of_a_job(tmp_path):
    def worker(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(worker).submit(job(tmp_path, "a"))
