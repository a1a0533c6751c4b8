import pytest

from mixopt.config.study import StudyConfig
from mixopt.errors import RunError
from mixopt.executors.base import ENGINES, attempt


def test_every_executor_of_a_recipe_has_an_engine():
    field = StudyConfig.model_fields["executor"].annotation
    kinds = {each.model_fields["kind"].default for each in field.__args__}
    assert kinds == {"local", *ENGINES}


def test_an_error_loses_what_could_not_be_sent_and_keeps_its_words():
    class LocalError(Exception):
        pass

    def worker(_):
        raise LocalError("one\ntwo")

    error = attempt(worker, None)
    assert isinstance(error, RunError)
    assert str(error) == "LocalError: one two"


def test_what_stops_a_process_is_no_failure_of_a_job():
    def worker(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(worker, None)
