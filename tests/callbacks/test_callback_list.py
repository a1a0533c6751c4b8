from pathlib import Path

import pytest
import toy

from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.loader import load_study
from mixopt.errors import MixoptError
from mixopt.training.outcome import TrainingOutcome
from mixopt.training.step_law import OptimizerHyperparameters
from mixopt.training.training_run import TrainingResult


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


def test_a_start_that_fails_ends_what_was_started_and_the_next_command_starts_anew(tmp_path):
    class Refuses(Callback):
        def on_study_start(self, config, output):
            raise MixoptError("no")

        def on_study_end(self, failure):
            raise AssertionError("it was not started")

    first, last = Log(), Log()
    config = load_study(toy.write_study(tmp_path))
    callbacks = CallbackList(config, tmp_path / "out", [first, Refuses(), last])
    for _ in range(2):
        with pytest.raises(MixoptError) as caught, callbacks.running():
            pytest.fail("the command must not run")
    assert [type(event) for event in first.events] == [tuple, MixoptError] * 2
    assert first.events[-1] is caught.value
    assert last.events == []


def test_the_batch_of_a_model_is_the_one_it_was_trained_with(logged, monkeypatch):
    """15 sequences a step were asked for, which four devices cannot divide."""
    callbacks, log = logged
    models = []
    monkeypatch.setattr(log, "on_model_trained", models.append, raising=False)
    outcome = TrainingOutcome("x", tokens=10 * 16 * 256, steps=10, losses=((10, 2.0),), flops=1.0)
    step = OptimizerHyperparameters(0.1, 15 * 256, "the config")
    result = TrainingResult(Path("x"), outcome, step, {"web": 1.0})
    callbacks.on_model_trained("expert", "x", result, {"web": 1.0}, role="expert", seed=0)
    assert models[0].params["batch_tokens"] == 16 * 256


def test_a_warning_is_sent_once_and_kept(logged):
    callbacks, log = logged
    for text in ("a", "b", "a"):
        callbacks.warning(text)
    assert log.events == callbacks.warnings == ["a", "b"]
