import numpy as np
import pytest
from models_for_tests import tokenizer

from mixopt.evaluation.tasks.base import Request, TaskContext
from mixopt.evaluation.tasks.choice import ChoiceTask, request_choice
from mixopt.trial import Metric


def test_items_of_different_sizes_are_read_apart():
    request = Request([0], [1])
    items = [([(request, 2, False), (request, 4, True)], 1), ([(request, 1, False)] * 3, 0)]
    choices = ChoiceTask(Metric("m"), items)
    assert (choices.starts, choices.truncated) == ([0, 2], 1)
    # -1 a byte against -.75 a byte; then a tie of all three
    assert choices.read(np.array([-2.0, -3.0, -1, -1, -1])).values.tolist() == [1, 1 / 3]
    assert choices.loss_weights @ np.array([0, -3.0, -1, 0, 0]) == pytest.approx(4 / np.log(2) / 5)


def test_only_a_prompts_choice_has_a_gap():
    context = TaskContext(tokenizer(), 32)
    request, size, _ = request_choice(context, "the", " ", "owl")
    assert (tokenizer().decode(request.target), size) == (" owl", 3)
    request, size, _ = request_choice(context, "", " ", "owl")
    assert (tokenizer().decode(request.target), size) == ("owl", 3)
