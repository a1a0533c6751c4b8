import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import MultipleChoiceConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.multiple_choice import MultipleChoiceTask


def build(path, rows):
    toy.write_jsonl(path / "m.jsonl", rows)
    recipe = MultipleChoiceConfig(name="m", kind="multiple_choice", items=str(path / "m.jsonl"))
    return MultipleChoiceTask(recipe, TaskContext(tokenizer(), 32))


ROWS = [
    {"prompt": "the", "choices": ["owl", "ship sails"], "answer": 0},
    {"prompt": "", "choices": ["two", "six", "one"], "answer": 2},
]


def read(task, totals):
    return task.read(np.array(totals, dtype=float)).values.tolist()


def test_the_likeliest_choice_per_byte_is_taken(tmp_path):
    task = build(tmp_path, ROWS)
    assert [tokenizer().decode(r.target) for r in task.requests] == [
        " owl", " ship sails", "two", "six", "one"
    ]  # fmt: skip
    # -3 over 3 bytes is -1 a byte; -8 over 10 is likelier per byte though not in all
    assert read(task, [-3, -8, -9, -8, -3]) == [0, 1]
    assert read(task, [-3, -20, -9, -2, -3]) == [1, 0]


def test_a_tie_counts_its_share(tmp_path):
    assert read(build(tmp_path, ROWS), [-3, -10, -1, -1, -1]) == [0.5, pytest.approx(1 / 3)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a", "choices": ["x", "y"], "answer": 2}, "answer is 2, but must be the index"),
        ({"prompt": "a", "choices": ["x", "y"], "answer": True}, "answer is True"),
        ({"prompt": "a", "choices": ["x"], "answer": 0}, "at least two choices"),
        ({"prompt": "a", "choices": ["x", ""], "answer": 0}, "a choice is empty"),
        ({"prompt": "a", "choices": ["x", "y"]}, "no field 'answer'"),
        ({"id": 7, "prompt": "a", "choices": ["x", "y"], "answer": 0}, "id 7 occurs twice"),
    ],
)
def test_bad_items_are_named_with_their_line(tmp_path, row, words):
    with pytest.raises(DataError, match=words) as caught:
        build(tmp_path, [ROWS[0] | {"id": 7}, row])
    assert "m.jsonl, line 2" in str(caught.value)


def test_the_loss_is_that_of_the_right_choices(tmp_path):
    task = build(tmp_path, ROWS)
    # " owl" has 3 bytes beside its gap, "one" 3: (3 + 6) nats over 6 bytes
    totals = np.array([-3.0, -50.0, -50.0, -50.0, -6.0])
    assert task.loss_weights @ totals == pytest.approx(9 / np.log(2) / 6)
