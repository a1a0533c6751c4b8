import pytest
from workers import Marker, job, tries

from mixopt.executors.local import LocalExecutor


def test_a_job_is_done_before_submit_returns_and_keeps_its_traceback(tmp_path):
    opened = LocalExecutor(Marker(tmp_path))
    assert opened.submit(job("a")).result() is None
    assert tries(tmp_path, "a") == 1
    error = opened.submit(job("b", "fails")).result()
    assert error.__traceback__ is not None


def test_a_stop_by_the_user_is_no_failure(tmp_path):
    def stopped(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(stopped).submit(job("a"))
