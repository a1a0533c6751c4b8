from importlib import import_module
from typing import get_args

import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import BenchmarkConfig, ContinuationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.continuation import ContinuationTask
from mixopt.evaluation.tasks.registry import KINDS, build_task


def test_every_kind_of_a_config_has_a_class():
    configs = get_args(get_args(BenchmarkConfig)[0])
    assert {get_args(c.model_fields["kind"].annotation)[0] for c in configs} == set(KINDS)
    for place in KINDS.values():
        module, name = place.split(":")
        assert isinstance(getattr(import_module(module), name), type)


def test_tasks_are_built_from_configs_and_their_items_read_at_once(tmp_path):
    path = toy.write_jsonl(tmp_path / "c.jsonl", [{"prompt": "the", "target": " owl"}] * 2)
    config = ContinuationConfig(name="c", kind="continuation", items=str(path))
    assert isinstance(build_task(config, TaskContext(tokenizer(), 32)), ContinuationTask)
    missing = config.model_copy(update={"items": str(tmp_path / "none.jsonl")})
    with pytest.raises(DataError, match="does not exist"):
        build_task(missing, TaskContext(tokenizer(), 32))
