import pytest

from mixopt.config.study import StudyConfig
from mixopt.errors import RunError
from mixopt.executors.base import ENGINES, run_job


def test_every_kind_of_the_config_has_an_engine():
    field = StudyConfig.model_fields["executor"].annotation
    kinds = {each.model_fields["kind"].default for each in field.__args__}
    assert kinds == {"local", *ENGINES}


def test_an_error_that_cannot_be_pickled_keeps_its_words():
    class LocalError(Exception):
        pass

    def worker(_):
        raise LocalError("one\ntwo")

    error = run_job(worker, None)
    assert isinstance(error, RunError)
    assert str(error) == "LocalError: one two"


def test_an_interrupt_is_no_failure_of_a_job():
    def worker(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(worker, None)
