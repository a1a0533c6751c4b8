import pytest
from pydantic import TypeAdapter, ValidationError

from mixopt.config.benchmarks import (
    BenchmarkConfig,
    BitsPerByteConfig,
    ContinuationConfig,
    HarnessConfig,
    _find_public_test_set,
    native_unit,
    public_test_set_warning,
)
from mixopt.config.text import MachineTextConfig

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


def items(name, path="x.jsonl", role="search"):
    return ContinuationConfig(name=name, kind="continuation", items=path, role=role)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (items("gsm8k"), "gsm8k"),
        (items("maths", "/data/GSM8K_test.jsonl"), "gsm8k"),
        (items("maths", "/data/mmlu-pro.parquet"), "mmlu"),
        (items("human-eval"), "humaneval"),
        (HarnessConfig(name="reasoning", kind="harness", task="arc_challenge"), "arc"),
        (items("archive"), None),
        (items("march_report"), None),
        (items("mine", "machine:arithmetic"), None),
        (BitsPerByteConfig(name="own", kind="bits_per_byte",
                     text=MachineTextConfig(kind="machine", name="python_source")), None),
    ],
)  # fmt: skip
def test_public_sets_are_known_by_whole_words(config, found):
    assert _find_public_test_set(config) == found


def test_only_a_search_by_one_is_warned_of():
    assert "no longer a test" in public_test_set_warning(items("gsm8k"))
    assert public_test_set_warning(items("gsm8k", role="holdout")) is None
    assert public_test_set_warning(items("mine")) is None


def test_scores_of_one_unit_can_be_compared():
    kinds = {
        "continuation": "bits per byte", "choice_loss": "bits per byte",
        "multiple_choice": "share of items", "blank_perplexity": "share of items",
        "generation": "share of items",
    }  # fmt: skip
    for kind, unit in kinds.items():
        config = PARSE(ITEMS | {"kind": kind})
        assert native_unit(config) == unit
    harness = {"name": "x", "kind": "harness", "task": "wikitext"}
    for metric, unit in {
        "bits_per_byte": "bits per byte",
        "word_perplexity": None,
        None: None,
    }.items():
        config = PARSE(harness | {"metric": metric})
        assert native_unit(config) == (unit or f"{metric or 'wikitext'} of the harness")
