import pytest
import toy

from mixopt.config.loader import load_study
from mixopt.errors import ConfigError


def test_regmix_trains_every_candidate_and_needs_no_validation(tmp_path):
    search = {"rounds": [7], "method": "regmix"}
    with pytest.raises(ConfigError, match="trains every candidate; leave one of them out"):
        load_study(toy.write_study(tmp_path, search=search, validation={"mixtures": 4}))


def test_a_text_prior_needs_text_of_a_benchmark_that_counts(tmp_path):
    weights = {"birds": 0, "ships": 0, "sums": 0, "code": 1}
    search = {"text_prior": True, "capability_weights": weights}
    benchmark = {
        "name": "wrote", "kind": "generation", "items": "data/continue.jsonl", "capability": "code",
    }  # fmt: skip
    path = toy.write_study(tmp_path, search={"rounds": [7]} | search)
    toy.write_jsonl(tmp_path / "benchmarks" / "wrote.yaml", [benchmark])  # JSON is YAML
    with pytest.raises(ConfigError, match="text_prior: no benchmark that chooses has text"):
        load_study(path)


@pytest.mark.parametrize(
    ("search", "training", "words"),
    [
        ({"method": "olmix", "aggregate": "worst"}, {}, "olmix minimizes a mean"),
        (
            {"method": "projektor"},
            {"schedule": "linear"},
            "half-way checkpoint is not a finished run",
        ),
        ({"method": "regmix"}, {}, "trains every candidate"),
    ],
)
def test_a_search_of_a_phase_is_checked_like_that_of_a_study(tmp_path, search, training, words):
    phases = [
        {"name": "a", "tokens": 12_000},
        {"name": "b", "tokens": 8_000, "search": {"rounds": [7]} | search},
    ]
    training = toy.study_plain()["training"] | training
    path = toy.write_study(tmp_path, phases=phases, training=training, validation={"mixtures": 4})
    with pytest.raises(ConfigError, match=f"phase 'b': .*{words}"):
        load_study(path)
