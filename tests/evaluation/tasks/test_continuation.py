import math

import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import ContinuationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import Request, TaskContext
from mixopt.evaluation.tasks.continuation import ContinuationTask, TargetTask
from mixopt.trial import Metric


def build(path, rows, context=32):
    toy.write_jsonl(path / "c.jsonl", rows)
    config = ContinuationConfig(name="c", kind="continuation", items=str(path / "c.jsonl"))
    return ContinuationTask(config, TaskContext(tokenizer(), context))


ROWS = [{"prompt": "the small", "target": " bird"}, {"prompt": "", "target": "two and"}]


def lengths(task):
    return np.array([len(request.target) for request in task.requests], dtype=float)


def test_only_the_target_is_scored(tmp_path):
    task = build(tmp_path, ROWS)
    tokens = tokenizer()
    assert [tokens.decode(r.target) for r in task.requests] == [" bird", "two and"]
    assert tokens.decode(task.requests[0].context[1:]) == "the small"
    assert list(task.requests[1].context) == [tokens.bos_token_id]
    results = task.read(-math.log(2) * lengths(task))
    assert results.sizes.tolist() == [5, 7]
    assert results.values.tolist() == [len(r.target) for r in task.requests]


def test_long_prompt_is_cut_from_the_left_and_counted(tmp_path):
    rows = [{"prompt": "the old owl " * 30 + "sings", "target": " two"}, ROWS[0]]
    task = build(tmp_path, rows, context=12)
    assert task.truncated == 1
    assert tokenizer().decode(task.requests[0].target) == " two"
    assert tokenizer().decode(task.requests[0].context).endswith("owl sings")


def test_border_inside_a_token_loses_nothing_of_the_target(tmp_path):
    """A prompt that ends in a space: the joint tokens do not begin with the prompt's own."""
    rows = [{"prompt": "the cat ", "target": "sings by day"}, ROWS[0]]
    request = build(tmp_path, rows).requests[0]
    assert tokenizer().decode(request.target).strip() == "sings by day"


def test_target_longer_than_the_context_counts_only_what_is_scored(tmp_path):
    long = {"prompt": "the", "target": " small bird sings" * 20}
    task = build(tmp_path, [long, {"prompt": "a", "target": " two"}], context=8)
    assert task.truncated == 1
    scored = tokenizer().decode(task.requests[0].target)
    assert long["target"].startswith(scored)
    sizes = task.read(-lengths(task)).sizes
    assert sizes[0] == len(scored.encode())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a"}, r"line 2 has no field 'target'"),
        ({"prompt": "a", "target": ""}, "must hold text that is not empty"),
        ({"prompt": 3, "target": "x"}, "field 'prompt' must hold text"),
        ({"prompt": "a", "tarjet": "x"}, "no field 'target'. Did you mean 'tarjet'"),
    ],
)
def test_bad_items_are_named_with_their_line(tmp_path, row, words):
    with pytest.raises(DataError, match=words):
        build(tmp_path, [ROWS[0], row])


def test_the_loss_is_the_score(tmp_path):
    task = build(tmp_path, ROWS)
    totals = -np.random.default_rng(0).uniform(1, 9, len(task.requests))
    assert task.loss_weights @ totals == pytest.approx(task.read(totals).score)


def test_bits_of_each_target_and_their_bytes():
    built = [(Request([0], [1]), 2, False), (Request([0], [1, 2]), 6, True)]
    task = TargetTask(Metric("m"), iter(built))
    assert (task.starts, task.truncated, task.layout) == ([0, 1], 1, ([2.0, 6.0],))
    results = task.read(np.array([-2.0, -4.0]))
    assert results.score == pytest.approx(6 / np.log(2) / 8)
    assert task.loss_weights @ np.array([-2.0, -4.0]) == pytest.approx(results.score)
