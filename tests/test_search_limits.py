import pytest

from mixopt.errors import ArgumentTypeError, MixtureError
from mixopt.search_limits import Group, Inequality, Neighborhood


def test_limits_of_another_type_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"domains of a group is 'web'; give \('web',\)"):
        Group(domains="web")
    with pytest.raises(ArgumentTypeError, match="upper of a group is '0.5'; give a number"):
        Group(upper="0.5")
    with pytest.raises(ArgumentTypeError, match="coefficients of an inequality is a list"):
        Inequality([1, 2], 0.5)
    with pytest.raises(ArgumentTypeError, match="has a str instead of a number"):
        Inequality({"web": 1}, "0.5")
    with pytest.raises(MixtureError, match=r"have the shape \(2,\); give n x d ratios"):
        Neighborhood([0.5, 0.5], 0.1)


def test_names_are_text():
    assert Group(domains=[0, 2]).domains == ("0", "2")
    assert str(Inequality({0: 1, 1: 2}, 0.5)) == "1·0 + 2·1 <= 0.5"


def test_a_neighborhood_contains_what_is_near_one_of_its_mixtures():
    near = Neighborhood([[1, 0], [0, 1]], 0.2)
    assert near.contains([[0.99, 0.01], [0.5, 0.5], [0.01, 0.99]]).tolist() == [True, False, True]
