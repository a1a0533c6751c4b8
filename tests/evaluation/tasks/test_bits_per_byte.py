import math

import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import BitsPerByteConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.bits_per_byte import BitsPerByteTask


def build(path, texts, context=16, **more):
    toy.write_jsonl(path / "t.jsonl", [{"text": text} for text in texts])
    text = {"kind": "files", "paths": [str(path / "t.jsonl")]}
    recipe = BitsPerByteConfig(name="t", kind="bits_per_byte", text=text, **more)
    return BitsPerByteTask(recipe, TaskContext(tokenizer(), context))


def lengths(task):
    return np.array([len(request.target) for request in task.requests], dtype=float)


def test_every_token_of_every_document_is_scored_once(tmp_path):
    texts = ["the small bird sings " * 20, "six", "a grey ship"]
    task = build(tmp_path, texts)
    encode = TaskContext(tokenizer(), 16).encode
    scored = [token for request in task.requests for token in request.target]
    assert scored == [token for text in texts for token in encode(text)]
    results = task.read(-math.log(2) * lengths(task))
    assert results.values.tolist() == [len(encode(text)) for text in texts]  # one bit each
    assert results.sizes.tolist() == [len(text) for text in texts]


def test_bytes_are_counted_in_utf8(tmp_path):
    task = build(tmp_path, ["ééééé", "ab"])
    results = task.read(-lengths(task))
    assert results.sizes.tolist() == [10, 2]


def test_item_bytes_cut_documents_at_whole_characters(tmp_path):
    task = build(tmp_path, ["ééééé", "abcdef"], item_bytes=5)
    results = task.read(-lengths(task))
    assert results.sizes.tolist() == [4, 5]


def test_one_document_is_too_few(tmp_path):
    with pytest.raises(DataError, match="at least 2 are needed"):
        build(tmp_path, ["alone"])


def test_the_loss_is_the_score(tmp_path):
    task = build(tmp_path, ["the small bird sings " * 20, "six"])
    totals = -np.random.default_rng(0).uniform(1, 9, len(task.requests))
    assert task.loss_weights @ totals == pytest.approx(task.read(totals).score)
