import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import BlankPerplexityConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.blank_perplexity import BlankPerplexityTask


def build(path, rows, **says):
    toy.write_jsonl(path / "m.jsonl", rows)
    recipe = BlankPerplexityConfig(
        name="m", kind="blank_perplexity", items=str(path / "m.jsonl"), **says
    )
    return BlankPerplexityTask(recipe, TaskContext(tokenizer(), 64))


ROWS = [
    {"statement": "the old ____ sings", "choices": ["owl", "long ship"], "answer": 0},
    {"statement": "____ and two", "choices": ["one", "sea"], "answer": 1},
]


def texts(task):
    return [tokenizer().decode(request.target) for request in task.requests]


def test_the_whole_statement_is_scored_with_each_choice_in_its_blank(tmp_path):
    task = build(tmp_path, ROWS)
    assert texts(task) == [
        "the old owl sings", "the old long ship sings", "one and two", "sea and two"
    ]  # fmt: skip
    # 17 bytes at -1 against 23 bytes at -.9: the second is likelier per byte
    assert task.read(np.array([-17, -20.7, -11, -10])).values.tolist() == [0, 1]


def test_a_template_makes_the_statement_from_a_question(tmp_path):
    rows = [{"question": "who sings?", "choices": ["owl", "ship"], "answer": 0}] * 2
    task = build(tmp_path, rows, template="{{ question }} It is ____.")
    assert texts(task)[0] == "who sings? It is owl."


def test_a_passage_and_solved_examples_stand_in_front_and_are_only_read(tmp_path):
    rows = [row | {"passage": f"birds and ships {i}"} for i, row in enumerate(ROWS)]
    example = rows[0] | {"passage": "an example"}
    task = build(tmp_path, rows, prompt_field="passage", examples=[example, rows[0]])
    first, second = (tokenizer().decode(task.requests[place].context) for place in (0, 2))
    assert texts(task)[0] == " the old owl sings"
    assert first.endswith("birds and ships 0")
    assert "an example the old owl sings" in first
    assert "ships 0" not in first[: first.rindex("birds")]  # no item is its own example
    assert "birds and ships 0 the old owl sings" in second


def test_nothing_stands_before_a_statement_that_begins_a_text_or_a_line(tmp_path):
    rows = [row | {"passage": passage} for row, passage in zip(ROWS, ("", "a line\n"), strict=True)]
    task = build(tmp_path, rows, prompt_field="passage", instruction="Read.")
    assert texts(task) == [
        "the old owl sings", "the old long ship sings", "one and two", "sea and two"
    ]  # fmt: skip
    assert tokenizer().decode(task.requests[0].context).endswith("Read.\n")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"statement": "no blank", "choices": ["a", "b"], "answer": 0}, "has 0 blanks"),
        ({"statement": "____ ____", "choices": ["a", "b"], "answer": 0}, "has 2 blanks"),
        ({"statement": "____", "choices": ["a", " "], "answer": 0}, "a choice is empty"),
        ({"statement": "____", "choices": ["a", "b"], "answer": -1}, "the answer is -1"),
        ({"choices": ["a", "b"], "answer": 0}, "no field 'statement'"),
    ],
)
def test_bad_items_are_named_with_their_line(tmp_path, row, words):
    with pytest.raises(DataError, match=words) as caught:
        build(tmp_path, [ROWS[0], row])
    assert "m.jsonl, line 2" in str(caught.value)
