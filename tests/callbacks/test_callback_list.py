import json

import pytest
import toy

from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList, to_json, to_yaml
from mixopt.config.loader import load_study
from mixopt.errors import MixoptError


class Log(Callback):
    def __init__(self):
        self.events = []

    def study_started(self, recipe, output):
        self.events.append("started")

    def written(self, path):
        self.events.append(path.name)

    def study_ended(self, failure):
        self.events.append(failure)


@pytest.fixture
def told(tmp_path):
    log = Log()
    return CallbackList(load_study(toy.write_study(tmp_path)), tmp_path / "out", [log]), log


def test_only_the_outermost_verb_begins_and_ends(told):
    teller, log = told
    with teller.watched(), teller.watched():
        teller.write("x.txt", "x")
    assert log.events == ["started", "recipe.yaml", "x.txt", None]


def test_a_failure_is_told_and_goes_on_up(told):
    teller, log = told
    error = MixoptError("no")
    with pytest.raises(MixoptError), teller.watched():
        raise error
    assert log.events[-1] is error


def test_resolved_recipe_loads_again(told, tmp_path):
    recipe = load_study(toy.write_study(tmp_path))
    (tmp_path / "again.yaml").write_text(to_yaml(recipe))
    assert load_study(tmp_path / "again.yaml") == recipe


def test_numpy_numbers_become_plain():
    import numpy as np

    assert json.loads(to_json({"x": np.float64(0.5)})) == {"x": 0.5}
