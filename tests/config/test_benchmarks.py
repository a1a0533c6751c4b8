import pytest
from pydantic import TypeAdapter, ValidationError

from mixopt.config.benchmarks import BenchmarkConfig

PARSE = TypeAdapter(BenchmarkConfig).validate_python
ITEMS = {"name": "b", "items": "x.jsonl"}


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        (ITEMS | {"kind": "magic"}, "Input tag 'magic'"),
        (ITEMS | {"kind": "continuation", "items": ""}, "at least 1 character"),
        (ITEMS | {"kind": "continuation", "shots": 0}, "greater than 0"),
        (ITEMS | {"kind": "continuation", "role": "test"}, "'search' or 'holdout'"),
        (ITEMS | {"kind": "generation", "stop": [""]}, "at least 1 character"),
        (ITEMS | {"kind": "generation", "k": 2}, "draw at least k samples"),
        (ITEMS | {"kind": "blank_perplexity", "blank": ""}, "at least 1 character"),
        ({"name": "b", "kind": "harness", "task": ""}, "at least 1 character"),
        ({"name": "b", "kind": "harness"}, "Field required"),
    ],
)
def test_what_may_not_be_is_refused(plain, words):
    with pytest.raises(ValidationError, match=words):
        PARSE(plain)
