import numpy as np
import pytest
from models_for_tests import tokenizer

from mixopt.config.benchmarks import ContinuationConfig
from mixopt.evaluation.tasks.base import (
    ItemResults,
    TaskContext,
    describe_metric,
    keep_end,
    ratio_std_error,
)
from mixopt.trial import Metric


def test_score_is_a_ratio_of_sums_and_its_error_that_of_a_mean_for_equal_sizes():
    values = np.array([1.0, 0.0, 1.0, 1.0])
    result = ItemResults(values, np.ones(4))
    assert result.score == 0.75
    assert result.std_error == pytest.approx(values.std(ddof=1) / 2)
    assert ItemResults(np.array([2.0, 6.0]), np.array([1.0, 3.0])).std_error == 0


def test_differences_are_paired():
    sizes = np.array([2.0, 4.0, 6.0])
    one, other = (
        ItemResults(np.array([3.0, 5, 9]), sizes),
        ItemResults(np.array([1.0, 1, 3]), sizes),
    )
    difference, error = one.minus(other)
    assert difference == pytest.approx(one.score - other.score)
    assert error == pytest.approx(ratio_std_error(np.array([2.0, 4, 6]), sizes))
    assert error == pytest.approx(0, abs=1e-12)


def test_requests_score_the_target_and_cut_the_prompt_from_the_left():
    context = TaskContext(tokenizer(), 8)
    request, size, cut = context.request("the", " owl")
    assert (tokenizer().decode(request.target), size, cut) == (" owl", 4, False)
    assert request.context[0] == context.separator
    long, size, cut = context.request("the small bird sings in a green tree" * 4, " owl")
    assert (tokenizer().decode(long.target), size, cut) == (" owl", 4, True)
    assert len(long.context) + len(long.target) == 9
    prompt = tokenizer()("the small bird sings in a green tree" * 4)["input_ids"]
    assert long.context == [context.separator, *prompt[1 - len(long.context) :]]


def test_of_a_prompt_without_room_the_separator_is_left():
    context = TaskContext(tokenizer(), 4)
    request, _, cut = context.request("the small bird", " sings in a green tree" * 3)
    assert (request.context, len(request.target), cut) == ([context.separator], 4, True)
    assert keep_end([0, 5, 6, 7], 1) == [0]
    assert keep_end([0, 5, 6, 7], 2) == [0, 7]
    assert keep_end([0, 5, 6, 7], 4) == [0, 5, 6, 7]


def test_a_target_longer_than_the_context_counts_the_bytes_that_are_scored():
    context = TaskContext(tokenizer(), 4)
    target = "the small bird sings in a green tree"
    request, size, cut = context.request("", target)
    assert (len(request.target), cut) == (4, True)
    assert target[:size] == tokenizer().decode(request.target)


@pytest.mark.parametrize("target", ["x" * 100, "ü" * 50])
def test_without_places_of_tokens_the_bytes_that_are_scored_are_those_of_their_text(target):
    from transformers import ByT5Tokenizer

    slow = ByT5Tokenizer(bos_token="<s>")
    assert not slow.is_fast
    context = TaskContext(slow, 16)
    request, size, cut = context.request("the owl", target)
    assert (len(request.target), size, cut) == (16, 16, True)
    request, size, cut = context.request("the owl" * 4, target[:4])  # the prompt alone is truncated
    length = len(target[:4].encode())
    assert (len(request.target), size, cut) == (length, length, True)


def test_metric_of_a_config():
    config = ContinuationConfig(name="c", kind="continuation", items="c.jsonl", capability="prose")
    assert describe_metric(config, "lower") == Metric("c", better="lower", capability="prose")
