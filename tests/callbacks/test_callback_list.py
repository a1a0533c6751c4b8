import pytest
import toy

from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.loader import load_study
from mixopt.errors import MixoptError


class Log(Callback):
    def __init__(self):
        self.events = []

    def on_study_start(self, config, output):
        self.events.append((config.name, output.name))

    def on_message(self, text):
        self.events.append(text)

    def on_study_end(self, failure):
        self.events.append(failure)


@pytest.fixture
def logged(tmp_path):
    log = Log()
    return CallbackList(load_study(toy.write_study(tmp_path)), tmp_path / "out", [log]), log


def test_only_the_outermost_command_starts_and_ends(logged):
    callbacks, log = logged
    with callbacks.running():
        assert callbacks.is_outermost
        with callbacks.running():
            assert not callbacks.is_outermost
            callbacks.message("x")
    assert log.events == [("toy", "out"), "x", None]


def test_a_failure_is_reported_and_raised(logged):
    callbacks, log = logged
    error = MixoptError("no")
    with pytest.raises(MixoptError), callbacks.running():
        raise error
    assert log.events[-1] is error


def test_a_warning_is_sent_once_and_kept(logged):
    callbacks, log = logged
    for text in ("a", "b", "a"):
        callbacks.warning(text)
    assert log.events == callbacks.warnings == ["a", "b"]
