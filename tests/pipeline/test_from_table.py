import numpy as np
import pytest
from example_trials import DOMAINS, make_trials

from mixopt.config.constraints import ProposalConfig
from mixopt.errors import MixtureError
from mixopt.pipeline.from_table import natural_of, propose_from_table, space_of


def test_caps_follow_from_tokens_repetition_and_budget():
    recipe = ProposalConfig(
        budget={"tokens": 1e12, "available_tokens": {"a": 1e10, "b": 1e11},
                "max_repetition": {"a": 2.0, "b": 4.0}},
    )  # fmt: skip
    low, high = space_of(make_trials(8), recipe).bounds()
    assert high.tolist() == [0.02, 0.4, 1.0, 1.0]
    assert low.tolist() == [0, 0, 0, 0]


def test_budgets_may_be_counted_in_any_unit():
    recipe = ProposalConfig(
        budget={"tokens": 6.5, "available_tokens": {"a": 0.9}, "max_repetition": 0.5},
    )  # fmt: skip
    _, high = space_of(make_trials(8), recipe).bounds()
    assert high.tolist() == pytest.approx([0.9 * 0.5 / 6.5, 1.0, 1.0, 1.0])


def test_natural_is_the_recipe_s_or_the_mean_of_the_runs():
    trials = make_trials(8)
    assert natural_of(trials, ProposalConfig()).vector(DOMAINS) == pytest.approx(
        trials.ratios().mean(0)
    )
    given = ProposalConfig(natural={"b": 0.5, "a": 0.5})
    assert dict(natural_of(trials, given)) == {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}


def test_a_whole_recipe():
    recipe = ProposalConfig(
        target="worst", capabilities={}, frozen={"d": 0.1}, maximise="chance", reference="uniform",
        groups={"ab": {"upper": 0.7, "domains": ["a", "b"]}},
        budget={"tokens": 1e11, "available_tokens": {"a": 1e10}, "max_repetition": 8},
        no_worse={"than": "uniform", "tolerance": 1.0, "probability": 0.6},
    )  # fmt: skip
    surrogate, proposals = propose_from_table(make_trials(32), recipe, q=2)
    ratios = proposals[0].ratios
    assert ratios["d"] == pytest.approx(0.1)
    assert ratios["a"] + ratios["b"] <= 0.7 + 1e-9
    assert surrogate.repetition is None  # the surrogate given back is that of the runs
    assert len(proposals) == 2
    again = propose_from_table(make_trials(32), recipe, q=2)[1]
    assert [dict(p.ratios) for p in again] == [dict(p.ratios) for p in proposals]


@pytest.mark.parametrize(
    "recipe",
    [
        {"budget": {"tokens": 1e12, "available_tokens": {"aa": 1e10}}},
        {"natural": {"aa": 1.0}},
        {"lower": {"aa": 0.1}},
        {"budget": {"tokens": 1e12, "max_repetition": {"aa": 2.0}}},
    ],
)
def test_unknown_domains_are_named(recipe):
    with pytest.raises(MixtureError, match="'aa'"):
        propose_from_table(make_trials(8), ProposalConfig(**recipe))


def test_weights_of_metrics_choose():
    trials = make_trials(40)
    for name, domain in (("loss_a", "a"), ("loss_b", "b")):
        _, proposals = propose_from_table(trials, ProposalConfig(target={name: 1.0}))
        assert max(proposals[0].ratios, key=proposals[0].ratios.get) == domain
    assert np.isfinite(proposals[0].utility.mean)
