import re
from types import SimpleNamespace

import pytest
import toy
from models_for_tests import save_base

from mixopt.pipeline.training_runs import base_run, read_run


def rows_of(folder, **changes):
    study = toy.load(folder, toy.write_study(folder, **changes))
    return {re.split("[,:]", row.what)[0]: row for row in study.plan()}


def test_the_parts_of_a_budget_sum_to_it(toy_folder):
    rows = rows_of(toy_folder, budget={"tokens": 100_000, "longest": 2})
    parts = ("3 experts", "natural", "candidates", "confirmation")
    assert sum(rows[name].tokens for name in parts) == 100_000
    assert rows["base"].tokens == 8000
    assert rows["natural"].flops == pytest.approx(6 * rows["natural"].tokens
                                                  * rows["base"].flops / (6 * 8000))  # fmt: skip


def test_flops_are_those_that_a_trained_run_records(toy_folder):
    study = toy.load(toy_folder)
    base = study.plan()[0]
    run = base_run(study.context)
    outcome = read_run(study.context, run).outcome
    assert base.flops / base.tokens == outcome.flops / outcome.tokens
    given = {
        "kind": "pretrained",
        "path": str(study.context.store.get(run.artifact)),
        "context": 32,
    }
    (experts,) = toy.load(toy_folder, toy.write_study(toy_folder, base=given)).plan()
    assert experts.flops / experts.tokens == outcome.flops / outcome.tokens


def test_runs_for_which_the_text_is_too_little_are_not_listed(toy_folder):
    budget = {"tokens": 200_000, "longest": 2, "confirmation": 3}
    natural = {"birds": 0.8, "ships": 0.1, "sums": 0.1}
    counts = toy.load(toy_folder).prepare().corpora.counts
    # a run of natural reads 80% of birds
    epochs = 1.2 * 0.8 * 4000 / counts["birds"].tokens
    changes = {"search": {"rounds": [6], "natural": natural}, "budget": budget}
    training = toy.study_plain()["training"] | {"expert_tokens": 1000}
    rows = rows_of(toy_folder, **changes, training=training)
    assert rows["confirmation"].what.endswith("8,000 tokens a run")
    assert " of 8,000 and" in rows["candidates"].what
    rows = rows_of(toy_folder, **changes, training=training | {"max_epochs": epochs})
    assert rows["confirmation"].what.endswith("4,000 tokens a run")
    assert "8,000" not in rows["candidates"].what


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


def test_a_confirmation_that_does_not_fit_says_which_budget_it_needs(toy_folder):
    budget = {"longest": 1, "confirmation": 3}
    study = toy.load(toy_folder, toy.write_study(toy_folder, budget=budget | {"tokens": 59_999}))
    row = study.plan()[-1]
    assert row.what == "confirmation: does not fit; it needs a budget of 60,000 tokens"
    assert (row.tokens, row.flops) == (0, 0)
    rows = rows_of(toy_folder, budget=budget | {"tokens": 60_000})
    assert rows["confirmation"].tokens == 24_000
    assert rows["confirmation"].what == (
        "confirmation: 3 unused seeds each of candidate and natural, 4,000 tokens a run"
    )
    rows = rows_of(toy_folder, budget={"tokens": 50_000, "confirmation": 0})
    assert not any(name.startswith("confirmation") for name in rows)


def test_long_runs_of_one_seed_share_that_of_natural(toy_folder):
    budget = {"tokens": 80_000, "longest": 2, "confirmation": 0}
    rows = rows_of(toy_folder, budget=budget)
    # 60,000 beside natural: natural's long run and six others of 8,000
    assert rows["candidates"].what == (
        "candidates: at most 15 runs of 4,000 tokens, or 6 of 8,000 and one run of natural as long"
    )
    rows = rows_of(toy_folder, budget=budget | {"tokens": 32_000})
    # no other run of 8,000 beside that of natural
    assert rows["candidates"].what == "candidates: at most 3 runs of 4,000 tokens"


@pytest.mark.parametrize(
    ("method", "own", "natural"), [("doremi", 2, 1), ("odm", 1, 2), ("olmix", 9, 1)]
)
def test_a_method_is_listed_with_what_it_can_use(toy_folder, method, own, natural):
    search = {"rounds": [8], "method": method, "method_runs": 9}
    rows = rows_of(toy_folder, search=search, budget={"tokens": 100_000, "longest": 1})
    assert rows[f"method {method}"].tokens == own * 4000
    assert rows["natural"].tokens == natural * 4000
    assert sum(row.tokens for name, row in rows.items() if name != "base") == 100_000
