import pandas as pd
import pytest

from mixopt.errors import InfeasibleError
from mixopt.token_budget import Budget


def test_caps_and_repetition_are_each_other_s_inverse():
    budget = Budget(10_000, {"a": 1000, "b": 50_000}, {"a": 2.0, "b": 2.0})
    assert budget.caps == {"a": 0.2, "b": 1.0}
    assert budget.count({"a": 0.2, "b": 0.8}) == {"a": pytest.approx(2.0), "b": pytest.approx(0.16)}


def test_a_domain_without_a_count_does_not_run_out():
    budget = Budget(100, {"a": 10}, {"a": 3, "b": 1})
    assert budget.caps == pytest.approx({"a": 0.3})
    assert budget.count({"a": 0.3, "b": 0.7}) == pytest.approx({"a": 3.0})


def test_a_token_read_too_often_is_told_with_what_to_do():
    budget = Budget(1_000, {"a": 100}, {"a": 4})
    budget.check({"a": 4 * (1 + 1e-9)})
    with pytest.raises(
        InfeasibleError, match=r"1,000 tokens would read 'a' 5\.00 times and at most 4"
    ):
        budget.check({"a": 5.0})


def test_budgets_of_nonsense_are_refused():
    for plain in ({"tokens": 0}, {"tokens": 1, "available_tokens": {"a": -1}},
                  {"tokens": 1, "max_repetition": {"a": "x"}}):  # fmt: skip
        with pytest.raises(ValueError, match="budget"):
            Budget.from_dict(plain)


def test_a_budget_counts_ratios_in_any_form():
    budget = Budget(1000, {"a": 100, "b": 500})
    for given in ([0.2, 0.8], {"b": 0.8, "a": 0.2}, pd.Series({"b": 0.8, "a": 0.2})):
        assert budget.count(given) == pytest.approx({"a": 2.0, "b": 1.6})
    assert budget.count(pd.Series({"a": 0.2, "c": 0.8})) == pytest.approx({"a": 2.0})
