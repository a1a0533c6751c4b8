import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from mixopt.errors import InfeasibleError, UserError
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


def test_budgets_are_checked_where_they_are_made():
    for arguments, words in (
        ((0,), "The budget's tokens is 0; give a count above zero"),
        (("1e9",), "The budget's tokens is '1e9'; give a number"),
        ((math.nan,), "The budget's tokens is nan"),
        ((math.inf,), "The budget's tokens is inf"),
        ((1e9, {"web": -1}), "available_tokens of web is -1; give a number that is not"),
        ((1e9, {"web": 1}, {"web": "4"}), "max_repetition of web is '4'; give a number"),
        ((1e9, 5), "available_tokens is a int; give a number by domain"),
        ((1e9, {"web": 1}, 4), "max_repetition is a int; give a number by domain"),
    ):
        with pytest.raises(UserError, match=words):
            Budget(*arguments)


def test_a_limit_of_a_misspelled_domain_is_refused():
    with pytest.raises(UserError, match="max_repetition of 'Code' is of no domain .* mean 'code'"):
        Budget(1e12, {"code": 8e10}, {"Code": 4})
    with pytest.raises(UserError, match="mean 'code'"):
        Budget(1e12, {"code": 8e10, "web": 1e12}, {"web": 4, "cdoe": 4})
    # tokens of wiki-de are not known, and wiki-en has its own limit
    assert Budget(100, {"wiki-en": 10}, {"wiki-en": 1, "wiki-de": 1}).caps == {"wiki-en": 0.1}
    assert Budget(100, {"web": 10}, {"law": 1}).caps == {}


def test_a_domain_without_a_token_may_have_no_share():
    budget = Budget(1e9, {"web": 0.0, "code": 1e9}, {"web": 4, "code": 4})
    assert budget.caps == {"web": 0.0, "code": 1.0}
    assert budget.count({"web": 0.5, "code": 0.5}) == {"web": math.inf, "code": 0.5}
    assert budget.count({"web": 0.0, "code": 1.0}) == {"web": 0.0, "code": 1.0}
    with pytest.raises(InfeasibleError, match="'web' inf times"):
        budget.check(budget.count({"web": 0.5, "code": 0.5}))


def test_numbers_of_numpy_and_series_become_plain():
    budget = Budget(np.int64(100), pd.Series({"a": 10}), {"a": np.float32(2)})
    assert json.loads(json.dumps(asdict(budget))) == asdict(Budget(100, {"a": 10}, {"a": 2.0}))


def test_what_is_infinite_does_not_limit_but_no_file_says_so():
    budget = Budget(100, {"a": math.inf, "b": 10}, {"a": 1, "b": math.inf})
    assert budget.caps == {"a": 1.0, "b": 1.0}
    assert budget.count({"a": 0.5, "b": 0.5}) == {"a": 0.0, "b": 5.0}
    with pytest.raises(ValueError, match="the budget's available_tokens of a is above 1e"):
        Budget.from_dict(asdict(budget))
