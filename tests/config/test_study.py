from typing import get_args

import pytest
import toy
from pydantic import ValidationError

from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import ProposalConfig
from mixopt.config.loader import load_study
from mixopt.config.search import SearchConfig
from mixopt.config.study import ExportConfig, ValidationConfig
from mixopt.config.text import FilesTextConfig, SplitTextConfig
from mixopt.config.training import BuiltBaseConfig, ExpertConfig


def test_models_are_closed_and_frozen():
    with pytest.raises(ValidationError, match="extra_forbidden"):
        FilesTextConfig(paths=["x"], feild="text")
    text = FilesTextConfig(paths=["x"])
    with pytest.raises(ValidationError, match="frozen"):
        text.field = "other"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ValidationConfig(mixtures=3), "greater than or equal to 4"),
        (lambda: ExportConfig(format="json", out="a/b"), "should match pattern"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()


def test_every_field_says_what_it_is():
    roots = [SplitTextConfig, BuiltBaseConfig, ExpertConfig, SearchConfig, ProposalConfig]
    for model in [*roots, *get_args(get_args(BenchmarkConfig)[0])]:
        for name, field in model.model_fields.items():
            assert name in ("kind", "text", "part") or field.description, f"{model.__name__}.{name}"


def test_text_is_read_as_far_as_the_longest_training_can_use_it(tmp_path):
    plain = toy.study_plain()

    def tokens(**changes):
        return load_study(toy.write_study(tmp_path, **changes)).text_tokens

    assert tokens() == 1 << 22  # the least
    long = {"training": plain["training"] | {"tokens": 2_000_000}, "target": {"tokens": 10**9}}
    assert tokens(**long) == 1 << 24
    # a budget of the usual length reads the same text
    assert tokens(**long, budget={"runs": 9}) == 1 << 24
    assert tokens(**long, budget={"runs": 9, "longest": 10}) == 1 << 26
    # no run is longer than the target
    short = {"training": long["training"], "target": {"tokens": 2_100_000}}
    assert tokens(**short, budget={"runs": 9, "longest": 10}) == 1 << 23
    base = {"base": plain["base"] | {"training": {"tokens": 20_000_000}}}
    assert tokens(**long, **base) == 1 << 26


def test_phases_read_the_same_text(tmp_path):
    phases = [
        {"name": "a", "tokens": 15_000},
        {"name": "b", "tokens": 5000, "base_tokens": 9_000_000},
    ]
    config = load_study(toy.write_study(tmp_path, phases=phases))
    own = [config.for_phase(phase, config.base, {}) for phase in config.phases]
    read = {expert.text.tokens for study in own for expert in study.experts}
    assert read == {config.text_tokens} == {1 << 25}
