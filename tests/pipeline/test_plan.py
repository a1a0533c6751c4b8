from types import SimpleNamespace

import pytest
import toy
from models_for_tests import save_base


def rows_of(folder, **changes):
    study = toy.load(folder, toy.write_study(folder, **changes))
    return {row.what.split(",")[0]: row for row in study.plan()}


def test_the_parts_of_a_budget_sum_to_it(toy_folder):
    rows = rows_of(toy_folder, budget={"tokens": 100_000, "longest": 2})
    parts = ("3 experts", "natural", "candidates", "confirmation")
    assert sum(rows[name].tokens for name in parts) == 100_000
    assert rows["base"].tokens == 8000
    assert rows["natural"].flops == pytest.approx(6 * rows["natural"].tokens
                                                  * rows["base"].flops / (6 * 8000))  # fmt: skip


def test_time_is_estimated_from_the_trained_base(toy_folder):
    study = toy.load(toy_folder)
    rows = study.plan()
    assert all(row.seconds is not None for row in rows)
    base, experts = rows[0], rows[1]
    assert experts.seconds == pytest.approx(base.seconds * experts.tokens / base.tokens)


def test_a_validation_is_listed(toy_folder):
    rows = rows_of(toy_folder, validation={"mixtures": 5, "seeds": 2})
    assert rows["validation"].tokens == 40_000


def test_with_a_given_base_time_is_estimated_from_its_experts(tmp_path):
    base = {"kind": "pretrained", "path": str(save_base(tmp_path / "base")), "context": 32}
    study = toy.load(tmp_path, toy.write_study(tmp_path, base=base))
    assert all(row.seconds is None for row in study.plan())
    study.train()
    assert all(row.seconds is not None for row in study.plan())


def test_time_is_that_of_the_tokens_that_an_expert_read(tmp_path, monkeypatch):
    base = {"kind": "pretrained", "path": str(save_base(tmp_path / "base")), "context": 32}
    training = toy.study_plain()["training"] | {"expert_tokens": 1024}
    study = toy.load(tmp_path, toy.write_study(tmp_path, base=base, training=training))
    study.prepare()
    took = SimpleNamespace(seconds=10.0)
    monkeypatch.setattr(study.context.store, "record", lambda artifact: took)
    (experts,) = study.plan()
    assert experts.tokens == 3 * 1024
    assert experts.seconds == pytest.approx(3 * 10.0)


def test_the_natural_run_of_regmix_is_listed_once(toy_folder):
    rows = rows_of(toy_folder, search={"rounds": [8, 7], "method": "regmix"})
    assert rows["natural and 15 candidates of the search"].tokens == 16 * 4000
    budget = {"tokens": 200_000, "longest": 1}
    search = {"rounds": [8, 7], "method": "regmix"}
    rows = rows_of(toy_folder, search=search, budget=budget)
    assert rows["natural"].tokens == 4000
    parts = [row.tokens for name, row in rows.items() if name != "base"]
    assert sum(parts) == 200_000
