import numpy as np
import pandas as pd
import pytest

from mixopt import Mixture
from mixopt.errors import ArgumentTypeError, MixoptError, MixtureError
from mixopt.mixture import (
    apportion,
    as_mixture,
    group_names,
    hellinger,
    members_of,
    nearest,
)


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
        (pd.Series([0.5, 0.2, 0.5], ["a", "a", "b"]), MixtureError, "'a' has two ratios"),
        ({"1": 0.5, 1: 0.5}, MixtureError, "Domain '1' has two ratios; give each domain once"),
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


def test_the_nearest_is_that_of_all_distances_in_pieces(monkeypatch):
    monkeypatch.setattr("mixopt.mixture.CHUNK", 20)
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet(np.ones(4), 30), rng.dirichlet(np.ones(4), 7)
    places, away = nearest(first, second)
    apart = hellinger(first, second)
    assert (places == apart.argmin(axis=1)).all()
    assert away == pytest.approx(apart.min(axis=1))
    places, away = nearest(first, first, others=True)
    assert (places != np.arange(30)).all()
    assert away == pytest.approx((hellinger(first, first) + 2 * np.eye(30)).min(axis=1), abs=1e-7)


def test_groups_are_told_by_the_names_of_domains():
    domains = ("web:q1", "web:q2", "code", "a:b:c", "books", "books:old")
    assert group_names(domains) == ("web", "a", "a:b")
    assert members_of("web", domains) == ("web:q1", "web:q2")
    assert members_of("a", domains) == ("a:b:c",)
