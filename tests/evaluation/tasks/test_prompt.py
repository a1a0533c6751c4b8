import pytest
import toy

from mixopt.config.benchmarks import ContinuationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.prompt import PromptBuilder


def prompter(*, separator="", **says):
    recipe = ContinuationConfig(name="c", kind="continuation", items="x.jsonl", **says)
    return PromptBuilder(recipe, lambda row, where: row["target"], separator=separator)


ONE = {"prompt": "2+2=", "target": " 4"}
TWO = {"prompt": "1+1=", "target": " 2"}
ASKED = {"prompt": "3+3=", "target": " 6"}


def test_a_prompt_is_its_field_and_may_be_empty():
    assert prompter().write(ASKED, "here") == "3+3="
    assert prompter().write({"prompt": "", "target": "x"}, "here") == ""


def test_a_template_writes_the_prompt_from_the_items_fields():
    told = prompter(template="Q: {{ prompt | upper }}\nA:")
    assert told.write({"prompt": "a{b}", "target": "x"}, "here") == "Q: A{B}\nA:"


def test_every_example_carries_the_instruction():
    told = prompter(instruction="Add.", examples=[ONE, TWO])
    assert told.write(ASKED, "here") == "Add.\n2+2= 4\n\nAdd.\n1+1= 2\n\nAdd.\n3+3="


@pytest.mark.parametrize(
    ("prompt", "target", "shown"),
    [
        ("Answer:", "18", "Answer: 18"),
        ("Answer:", " 18", "Answer: 18"),
        ("Answer:\n", "18", "Answer:\n18"),
        ("def f():", "\n    pass", "def f():\n    pass"),
        ("", "18", "18"),
    ],
)
def test_a_separator_stands_between_prompt_and_answer_of_an_example_alone(prompt, target, shown):
    example = {"prompt": prompt, "target": target}
    told = prompter(separator=" ", examples=[example])
    assert told.write({"prompt": "Next:", "target": "1"}, "here") == f"{shown}\n\nNext:"
    assert told.write(example, "here") == prompt


def test_an_item_is_no_example_of_itself():
    told = prompter(examples=[ONE, TWO])
    assert told.write(TWO, "here") == "2+2= 4\n\n1+1="


def test_examples_come_from_a_file_as_many_as_are_asked_for(tmp_path):
    path = str(toy.write_jsonl(tmp_path / "e.jsonl", [ONE, TWO, ASKED]))
    told = prompter(examples=path, shots=2)
    assert told.write(ASKED, "here").count("\n\n") == 2
    with pytest.raises(DataError, match="shows 4 examples and has 3"):
        prompter(examples=path, shots=4)


def test_an_example_without_its_prompt_is_named():
    with pytest.raises(DataError, match=r"benchmark 'c', example 1 has no field 'prompt'"):
        prompter(examples=[{"target": "x"}])
