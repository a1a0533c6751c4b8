from functools import partial
from types import SimpleNamespace

from mixopt.evaluation.tasks.lm_eval_layout import describe_config


def double(number, by=2):
    return number * by


class Filter:
    def __call__(self, responses):
        return responses


class Plain:
    pass


def describe(**fields):
    config = SimpleNamespace(to_dict=lambda keep_callable: dict(fields) if keep_callable else {})
    return describe_config(SimpleNamespace(config=config))


def test_functions_anywhere_are_their_source():
    text = describe(
        metric_list=[{"metric": double}], fewshot={"samples": (double,)}, kind=Filter, filter=Filter(),
        part=partial(double, 3, by=5), plain=Plain(), built=len, number=1.5, text="x", none=None,
    )  # fmt: skip
    assert " at 0x" not in text
    assert text.count("def double(number, by=2):") == 3
    assert text.count("class Filter:") == 2
    assert "[3], {'by': 5}" in text
    assert "builtins.len" in text
    assert "'number': 1.5, 'text': 'x', 'none': None" in text


def test_other_arguments_of_a_function_are_another_text():
    assert describe(part=partial(double, 3)) != describe(part=partial(double, 4))
    assert describe(part=partial(double, 3)) == describe(part=partial(double, 3))
