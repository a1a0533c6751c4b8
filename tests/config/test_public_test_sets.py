import pytest

from mixopt.config.benchmarks import BitsPerByteConfig, ContinuationConfig, HarnessConfig
from mixopt.config.public_test_sets import find_public_set, warn_of_public_set
from mixopt.config.text import MachineTextConfig


def items(name, path="x.jsonl", role="search"):
    return ContinuationConfig(name=name, kind="continuation", items=path, role=role)


@pytest.mark.parametrize(
    ("recipe", "found"),
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
def test_public_sets_are_known_by_whole_words(recipe, found):
    assert find_public_set(recipe) == found


def test_only_a_search_by_one_is_warned_of():
    assert "no longer a test" in warn_of_public_set(items("gsm8k"))
    assert warn_of_public_set(items("gsm8k", role="holdout")) is None
    assert warn_of_public_set(items("mine")) is None
