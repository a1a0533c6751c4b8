import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import ChoiceLossConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.choice_loss import ChoiceLossTask


def build(path, rows):
    toy.write_jsonl(path / "m.jsonl", rows)
    recipe = ChoiceLossConfig(name="m", kind="choice_loss", items=str(path / "m.jsonl"))
    return ChoiceLossTask(recipe, TaskContext(tokenizer(), 32))


ROWS = [
    {"prompt": "the", "choices": ["ship sails", "owl"], "answer": 1},
    {"prompt": "", "choices": ["two", "six"], "answer": 0},
]


def test_only_the_right_choices_are_scored(tmp_path):
    task = build(tmp_path, ROWS)
    assert [tokenizer().decode(r.target) for r in task.requests] == [" owl", "two"]
    results = task.read(np.array([-3.0, -6.0]))
    assert results.score == pytest.approx(9 / np.log(2) / 6)  # bytes of the gap do not count
    assert task.metric.better == "lower"


def test_bad_answers_are_named(tmp_path):
    with pytest.raises(DataError, match=r"line 1: the answer is 2"):
        build(tmp_path, [ROWS[0] | {"answer": 2}, ROWS[1]])
