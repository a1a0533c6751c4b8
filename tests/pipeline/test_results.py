import json

import numpy as np
import toy

import mixopt
from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.loader import load_study
from mixopt.pipeline.results import to_json, to_yaml, write_result


class Log(Callback):
    def __init__(self):
        self.events = []

    def on_study_start(self, config, output):
        self.events.append("started")

    def on_file_written(self, path):
        self.events.append(path.name)

    def on_study_end(self, failure):
        self.events.append("ended")


def test_resolved_config_is_written_once_and_loads_again(tmp_path):
    log = Log()
    study = mixopt.Study.load(toy.write_study(tmp_path), tmp_path / "out", callbacks=[log])
    with study.running(), study.running():
        write_result(study.callbacks, "x.txt", "x")
    assert log.events == ["started", "recipe.yaml", "x.txt", "ended"]
    assert (tmp_path / "out" / "x.txt").read_text() == "x"
    assert load_study(tmp_path / "out" / "recipe.yaml") == load_study(tmp_path / "toy.yaml")


def test_yaml_of_a_config_loads_again(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load_study(tmp_path / "again.yaml") == config


def test_nothing_is_written_without_an_output_folder(tmp_path):
    log = Log()
    callbacks = CallbackList(load_study(toy.write_study(tmp_path / "s")), None, [log])
    before = sorted(tmp_path.rglob("*"))
    write_result(callbacks, "x.txt", "x")
    assert sorted(tmp_path.rglob("*")) == before
    assert log.events == []


def test_numpy_numbers_become_plain():
    assert json.loads(to_json({"x": np.float64(0.5)})) == {"x": 0.5}
