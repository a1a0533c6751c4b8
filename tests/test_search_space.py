import numpy as np
import pandas as pd
import pytest

from mixopt import Group, Inequality, SearchSpace, Trials
from mixopt.errors import ArgumentTypeError, InfeasibleError, MixtureError
from mixopt.search_limits import Neighborhood

DOMAINS = ("web:a", "web:b", "code", "math")


def test_space_contains_what_its_bounds_allow():
    space = SearchSpace(("a", "b", "c"), lower={"a": 0.2}, upper={"b": 0.5})
    points = [[0.2, 0.5, 0.3], [0.1, 0.5, 0.4], [0.3, 0.6, 0.1], [0.3, 0.3, 0.3]]
    assert space.contains(points).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ({"lower": {"x": 0.1}}, MixtureError, "names no domain"),
        ({"upper": {"a": 1.2}}, MixtureError, "between 0 and 1"),
        ({"lower": {"a": 0.6}, "upper": {"a": 0.4}}, InfeasibleError, "'a' must have at least 0.6"),
        (
            {"lower": {"a": 0.6, "b": 0.6}},
            InfeasibleError,
            r"lower bounds sum to 1.2.*a 0.6, b 0.6",
        ),
        ({"upper": {"a": 0.3, "b": 0.3}}, InfeasibleError, "upper bounds sum to 0.6"),
    ],
)
def test_space_names_the_bounds_in_conflict(bounds, error, words):
    with pytest.raises(error, match=words):
        SearchSpace(("a", "b"), **bounds)


def test_space_refuses_a_domain_named_twice():
    with pytest.raises(MixtureError, match="repeated: a"):
        SearchSpace(("a", "a"))


def test_uniform_prior_where_none_is_given():
    assert np.allclose(SearchSpace(("a", "b", "c", "d")).prior_vector(), 0.25)


def test_a_group_is_named_by_the_hierarchy_or_lists_its_domains():
    space = SearchSpace(
        DOMAINS, groups={"web": Group(0.3, 0.5), "stem": Group(0.2, 1, ("code", "math"))}
    )
    assert space.members("web") == ("web:a", "web:b")
    assert space.members("stem") == ("code", "math")
    inside = space.contains([[0.2, 0.2, 0.3, 0.3], [0.5, 0.3, 0.1, 0.1], [0.3, 0.2, 0.5, 0]])
    assert inside.tolist() == [True, False, True]


def test_frozen_ratios_do_not_move():
    space = SearchSpace(DOMAINS, frozen={"math": 0.1})
    assert space.contains([[0.3, 0.3, 0.3, 0.1], [0.25] * 4]).tolist() == [True, False]
    low, high = space.bounds()
    assert (low[3], high[3]) == (0.1, 0.1)


def test_inequalities():
    space = SearchSpace(DOMAINS, inequalities=(Inequality({"code": 1, "math": -2}, 0.0),))
    assert space.contains([[0.3, 0.3, 0.2, 0.2], [0.2, 0.2, 0.5, 0.1]]).tolist() == [True, False]


def test_divergence_from_the_prior_by_hand():
    space = SearchSpace(("a", "b"), prior={"a": 0.75, "b": 0.25}, max_kl=0.1)
    by_hand = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert space.divergence([0.5, 0.5])[0] == pytest.approx(by_hand)
    assert space.divergence([1.0, 0.0])[0] == pytest.approx(-np.log(0.75))
    assert space.contains([[0.7, 0.3], [0.5, 0.5]]).tolist() == [True, False]
    closed = SearchSpace(("a", "b"), prior={"a": 1.0, "b": 0.0})
    assert closed.divergence([0.9, 0.1])[0] == np.inf


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"groups": {"web": Group(0.7, 1)}, "upper": {"web:a": 0.2, "web:b": 0.3}},
         r"web:a <= 0.2; web:b <= 0.3; the group web >= 0.7 together: .* by 0.2"),
        ({"inequalities": (Inequality({"code": 1}, 0.1),), "lower": {"code": 0.3}},
         r"1·code <= 0.1.*code >= 0.3.* by 0.2"),
        ({"frozen": {"code": 0.5}, "upper": {"code": 0.4}}, "'code' must have at least 0.5"),
        ({"groups": {"web": Group(0.6, 0.6), "stem": Group(0.5, 1, ("code", "math"))}},
         "group web = 0.6.*group stem >= 0.5.* by 0.1"),
    ],
)  # fmt: skip
def test_conflicts_are_named_with_their_size(limits, words):
    with pytest.raises(InfeasibleError, match=words):
        SearchSpace(DOMAINS, **limits)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"groups": {"wob": Group()}}, "'wob' has no domains.*Did you mean 'web'"),
        ({"groups": {"g": Group(0, 1, ("cod",))}}, "Did you mean 'code'"),
        ({"groups": {"web": Group(0.5, 0.4)}}, "0 <= lower <= upper <= 1"),
        ({"inequalities": (Inequality({"cod": 1}, 1),)}, "Did you mean 'code'"),
        ({"inequalities": (Inequality({"code": np.nan}, 1),)}, "not finite"),
        ({"frozen": {"cod": 0.1}}, "Did you mean 'code'"),
        ({"max_kl": -1.0}, "at least 0"),
        ({"max_kl": 0.1}, "there is no prior; give prior="),
    ],
)
def test_limits_that_mean_nothing(limits, words):
    with pytest.raises(MixtureError, match=words):
        SearchSpace(DOMAINS, **limits)


def test_each_bound_in_conflict_is_named_with_what_it_alone_must_give():
    with pytest.raises(InfeasibleError) as told:
        SearchSpace(
            ("web", "code", "maths"), lower={"web": 0.6},
            inequalities=(Inequality({"web": 1.0, "code": -2.0}, -0.9),),
        )  # fmt: skip
    amounts = {part.split(" by ")[0].split()[-1]: part for part in str(told.value).split(", or ")}
    assert "by 0.7" in str(told.value)
    assert len(amounts) == 2
    # and that is enough
    SearchSpace(("web", "code", "maths"), lower={"web": 0.6},
                inequalities=(Inequality({"web": 1.0, "code": -2.0}, -0.2),))  # fmt: skip


@pytest.mark.parametrize(
    "prior",
    [[0.4, 0.3, 0.2, 0.1], pd.Series([0.1, 0.2, 0.3, 0.4], index=DOMAINS[::-1]),
     dict(zip(DOMAINS, (0.4, 0.3, 0.2, 0.1), strict=True))],
)  # fmt: skip
def test_the_prior_is_given_in_any_form(prior):
    space = SearchSpace(DOMAINS, prior=prior)
    assert space.prior_vector().tolist() == [0.4, 0.3, 0.2, 0.1]
    assert list(space.natural) == list(DOMAINS)


def test_without_a_prior_there_is_no_natural_mixture():
    assert SearchSpace(DOMAINS).natural is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"domains": "web"}, "domains is the string 'web'"),
        ({"domains": DOMAINS, "upper": {"code": "0.4"}}, "upper bound of 'code' is a str"),
        ({"domains": DOMAINS, "prior": "natural"}, "A str is no mixture"),
    ],
)
def test_arguments_of_another_type(arguments, words):
    with pytest.raises(ArgumentTypeError, match=words):
        SearchSpace(**arguments)


def test_reprs_say_domains_prior_and_limits_in_short():
    space = SearchSpace(DOMAINS, prior=[0.4, 0.3, 0.2, 0.1], upper={"code": 0.4}, max_kl=0.5,
                        groups={"web": Group(0.1, 0.9)})  # fmt: skip
    assert repr(space) == (
        "SearchSpace(4 domains: web:a, web:b, code, math; prior Mixture(web:a: 0.4, web:b: 0.3, "
        "code: 0.2, math: 0.1); code <= 0.4; the group web >= 0.1 and the group web <= 0.9; "
        "at most 0.5 nats from the prior)"
    )
    assert "<li>the group web &gt;= 0.1" in space._repr_html_()
    many = SearchSpace(tuple(f"d{i}" for i in range(40)))
    assert repr(many).endswith("d7, ...)")
    assert "<script>" not in SearchSpace(("<script>", "c"))._repr_html_()


def test_a_bound_on_a_group_is_one_on_the_sum_of_its_domains():
    space = SearchSpace(
        ("web:q1", "web:q2", "code", "math"), lower={"web": 0.2, "code": 0.1}, upper={"web": 0.5},
        frozen={}, groups={"text": Group(upper=0.8, domains=("web", "math"))},
        # at least half of web is its first bucket
        inequalities=(Inequality({"web": 0.5, "web:q1": -1}, 0),),
    )  # fmt: skip
    assert space.members("text") == ("web:q1", "web:q2", "math")
    for ratios, allowed in (
        ((0.2, 0.2, 0.3, 0.3), True),
        ((0.1, 0.05, 0.5, 0.35), False),  # web below 0.2
        ((0.4, 0.2, 0.2, 0.2), False),  # web above 0.5
        ((0.1, 0.2, 0.3, 0.4), False),  # q1 is less than half of web
        ((0.3, 0.1, 0.1, 0.5), False),  # text above 0.8
    ):
        assert bool(space.contains(ratios)[0]) is allowed
    frozen = SearchSpace(("web:q1", "web:q2", "code"), frozen={"web": 0.3})
    assert frozen.groups["web"] == Group(0.3, 0.3)
    assert frozen.frozen == {}
    with pytest.raises(MixtureError, match="bounded by 0.4 and 0.3"):
        SearchSpace(("web:q1", "web:q2", "code"), lower={"web": 0.4}, upper={"web": 0.3})
    with pytest.raises(MixtureError, match="names no domain"):
        SearchSpace(("web:q1", "code"), lower={"wob": 0.4})
    # a domain of that name is itself
    assert SearchSpace(("web", "web:q1", "code"), upper={"web": 0.3}).groups == {}


def test_limits_of_many_domains_take_little_memory():
    """A row of an identity matrix would keep d² numbers alive for each domain."""
    names = tuple(f"d{i}" for i in range(200))
    space = SearchSpace(names, upper=dict.fromkeys(names, 0.5))
    assert len(space.rows) == 200
    assert all(row.normal.base is None for row in space.rows)


def test_arguments_of_another_type_are_refused():
    domains = ("web", "code", "math")
    table = Trials.from_arrays([[1, 0, 0]], [[1]], domains=domains, metrics={"loss": "lower"})
    for given, settings, words in (
        (table, {}, "domains is a Trials; give its names, which are its .domains"),
        (domains, {"upper": 0.5}, r"upper is a float; give a mapping, such as \{'web': 0.5\}"),
        (domains, {"lower": [0.1, 0, 0]}, "lower is a list; give a mapping"),
        (domains, {"frozen": "web"}, "frozen is a str; give a mapping"),
        (domains, {"groups": {"g": {"upper": 0.8}}}, "The group 'g' is a dict, not a Group"),
        (
            domains,
            {"groups": Group(upper=0.8)},
            "groups is a Group; give a mapping, .* mixopt.Group",
        ),
        (domains, {"inequalities": [{"limit": 1}]}, "An inequality is a dict, not a Inequality"),
        (domains, {"inequalities": Inequality({"web": 1}, 0.5)}, "inequalities is a single one"),
        (domains, {"max_kl": "0.5"}, "max_kl is a str; give a number"),
        (domains, {"near": [[1, 0, 0]]}, "near is a list, not a Neighborhood"),
    ):
        with pytest.raises(ArgumentTypeError, match=words):
            SearchSpace(given, **settings)


def test_mixtures_to_stay_near_to_have_a_ratio_for_each_domain():
    with pytest.raises(MixtureError, match="have 2 ratios and there are 3 domains"):
        SearchSpace(("a", "b", "c"), near=Neighborhood([[0.5, 0.5]], 0.1))


def test_bounds_may_be_a_series_and_inequalities_a_generator():
    limit = Inequality({"a": 1, "b": 1}, 0.6)
    space = SearchSpace(("a", "b"), upper=pd.Series({"a": 0.5}), inequalities=iter([]))
    assert space.bounds()[1].tolist() == [0.5, 1.0]
    three = SearchSpace(("a", "b", "c"), inequalities=(one for one in [limit]))
    assert three.inequalities == (limit,)


def test_limits_of_numbered_domains():
    limit = Inequality({0: 1, 1: 1}, 0.6)
    space = SearchSpace(
        [0, 1, 2], groups={"two": Group(upper=0.7, domains=(0, 2))}, inequalities=[limit]
    )
    assert space.members("two") == ("0", "2")
    inside = space.contains([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.4, 0.2, 0.4]])
    assert inside.tolist() == [True, False, False]


def test_domains_may_be_numbered():
    space = SearchSpace([0, 1], lower={0: 0.1}, upper={1: 0.8}, prior={0: 0.5, 1: 0.5})
    assert space.domains == ("0", "1")
    assert space.natural is not None
    assert [bound.tolist() for bound in space.bounds()] == [[0.1, 0.0], [1.0, 0.8]]
