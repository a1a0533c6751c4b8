import pytest
from pydantic import ValidationError

from mixopt.config.constraints import ProposalConfig, SearchSpaceConfig
from mixopt.errors import MixtureError


def test_limits_become_a_space_with_caps_below_the_upper_bounds():
    limits = SearchSpaceConfig(
        upper={"a": 0.6}, frozen={"c": 0.1}, groups={"g": {"lower": 0.2, "domains": ["a", "b"]}},
        inequalities=[{"coefficients": {"a": 1, "b": -1}, "limit": 0.3}], max_kl=0.5,
    )  # fmt: skip
    space = limits.space(
        ("a", "b", "c"), caps={"a": 0.5, "b": 0.9}, prior={"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    )
    low, high = space.bounds()
    assert high.tolist() == [0.5, 0.9, 0.1]
    assert low.tolist() == [0, 0, 0.1]
    assert len(space.rows) == 5  # three domains, a group, an inequality
    assert space.max_kl == 0.5


def test_unknown_domain_in_a_limit():
    with pytest.raises(MixtureError, match="Did you mean 'a'"):
        SearchSpaceConfig(lower={"aa": 0.1}).space(("a", "b"))


def test_max_kl_without_a_natural_mixture_is_asked_for():
    with pytest.raises(MixtureError, match="max_kl limits the distance from the natural mixture"):
        SearchSpaceConfig(max_kl=0.1).space(("a", "b"))


def test_references_are_names_or_ratios():
    with pytest.raises(ValidationError, match="natural, uniform, best seen"):
        ProposalConfig(reference="naturel")
    with pytest.raises(ValidationError, match="no_worse.than"):
        ProposalConfig(no_worse={"than": "x"})
    assert ProposalConfig(reference={"a": 1.0}).reference == {"a": 1.0}


def test_unknown_fields_are_errors():
    with pytest.raises(ValidationError, match="uper"):
        ProposalConfig(uper={})


def test_fidelities_may_be_numbers():
    assert ProposalConfig(fidelities=[1_000_000, 6e7]).fidelities == ["1000000", "60000000"]


@pytest.mark.parametrize("field", ["natural", "reference", "no_worse.than"])
def test_ratios_of_a_recipe_may_be_percent_and_a_wrong_sum_names_its_field(field):
    def make(ratios):
        return ProposalConfig(
            **{field: ratios} if field != "no_worse.than" else {"no_worse": {"than": ratios}}
        )

    config = make({"a": 40, "b": 60})
    found = config.no_worse.than if config.no_worse else getattr(config, field)
    assert found == pytest.approx({"a": 0.4, "b": 0.6})
    with pytest.raises(
        ValidationError, match=f"{field}: the ratios of a, b sum to 0.5, not to 1; "
    ):
        make({"a": 0.2, "b": 0.3})
    with pytest.raises(ValidationError, match=f"{field}: The ratio of 'a' is -1"):
        make({"a": -1, "b": 2})
