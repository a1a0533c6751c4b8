import numpy as np
import pandas as pd
import pytest

from mixopt import Mixture
from mixopt.errors import ArgumentTypeError, InfeasibleError, MixoptError, MixtureError
from mixopt.mixture import Budget, apportion, as_mixture


def test_a_mixture_made_of_a_mixture_is_the_same_to_the_last_digit():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first = Mixture({f"d{i}": value for i, value in enumerate(rng.dirichlet(np.ones(7)))})
        assert dict(Mixture(dict(first))) == dict(first)


def test_mixture_keeps_order_and_ratios():
    mixture = Mixture({"web": 0.75, "code": 0.25})
    assert list(mixture) == ["web", "code"]
    assert mixture.vector(["code", "web", "maths"]).tolist() == [0.25, 0.75, 0.0]


def test_mixture_forgives_rounding_and_removes_it():
    mixture = Mixture({"a": 0.3333333333, "b": 0.6666666})
    assert sum(mixture.values()) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ({}, "at least one domain"),
        ({"a": -0.1, "b": 1.1}, "'a' is -0.1"),
        ({"a": float("nan"), "b": 1.0}, "'a' is nan"),
        ({"a": 0.5, "b": 0.4}, "sum to 0.9"),
    ],
)
def test_mixture_refuses_what_is_none(ratios, words):
    with pytest.raises(MixtureError, match=words):
        Mixture(ratios)


def test_mixture_from_counts():
    assert dict(Mixture.normalised({"a": 3, "b": 1})) == {"a": 0.75, "b": 0.25}
    with pytest.raises(MixtureError, match="positive sum"):
        Mixture.normalised({"a": 0, "b": 0})


def test_mixture_vector_refuses_an_unknown_domain():
    with pytest.raises(MixtureError, match="Did you mean 'code'"):
        Mixture({"cod": 1.0}).vector(["code", "web"])


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


def test_apportion_is_the_largest_remainder():
    assert apportion(np.array([0.5, 0.3, 0.2]) * 7, 7).tolist() == [4, 2, 1]
    assert apportion([5.0, 0.0], 5).tolist() == [5, 0]
    assert apportion([1 - 1e-10, 1e-10], 1, tolerance=1e-9).tolist() == [1, 0]


@pytest.mark.parametrize(
    "given",
    [
        Mixture({"b": 0.25, "a": 0.75}),
        {"b": 0.25, "a": 0.75, "c": 0.0},
        {"a": 0.75, "b": 0.25},
        pd.Series([0.25, 0.75], index=["b", "a"]),
        np.array([0.75, 0.25, 0.0]),
        [0.75, 0.25, 0],
    ],
)
def test_ratios_in_any_form_are_one_mixture_in_the_order_of_the_domains(given):
    mixture = as_mixture(given, ("a", "b", "c"))
    assert list(mixture.items()) == [("a", 0.75), ("b", 0.25), ("c", 0.0)]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([0.5, 0.5], MixtureError, "2 ratios were given for 3 domains"),
        ([[1, 0, 0]], MixtureError, "give one for each"),
        ({"aa": 1.0}, MixtureError, "'aa' is not one of the domains. Did you mean 'a'"),
        ({"a": "much"}, TypeError, "ratio of 'a' is a str, not a number"),
        ({"a": None}, TypeError, "ratio of 'a' is a NoneType"),
        ("a", TypeError, "A str is no mixture here; give a Mixture, or a dict"),
        (None, TypeError, "A NoneType is no mixture"),
        ([None, "x", 1], TypeError, "A list is no mixture"),
        (pd.DataFrame({"a": [1.0, 2.0]}), TypeError, "ratio of 'a' is a Series"),
    ],
)
def test_what_is_no_mixture_raises_one_error_of_ours(given, error, words):
    with pytest.raises(error, match=words) as caught:
        as_mixture(given, ("a", "b", "c"))
    assert isinstance(caught.value, MixoptError)


def test_an_array_without_domains_has_no_order():
    with pytest.raises(ArgumentTypeError, match="A list is no mixture here"):
        as_mixture([0.5, 0.5])
    with pytest.raises(ArgumentTypeError, match="A list is no mixture here"):
        Mixture([0.5, 0.5])
    assert dict(as_mixture({"b": 0.5, "a": 0.5})) == {"b": 0.5, "a": 0.5}


def test_a_budget_counts_ratios_in_any_form():
    budget = Budget(1000, {"a": 100, "b": 500})
    for given in ([0.2, 0.8], {"b": 0.8, "a": 0.2}, pd.Series({"b": 0.8, "a": 0.2})):
        assert budget.count(given) == pytest.approx({"a": 2.0, "b": 1.6})
    assert budget.count(pd.Series({"a": 0.2, "c": 0.8})) == pytest.approx({"a": 2.0})
