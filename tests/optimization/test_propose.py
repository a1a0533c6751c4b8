from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials
from known_tables import rare

import mixopt
from mixopt import SearchSpace
from mixopt.optimization.support import MARGIN, RunCover
from mixopt.search_limits import Neighborhood


@pytest.fixture(scope="module")
def surrogate():
    return mixopt.fit(rare(24, 0.3, 1).trials)


def test_proposals_stay_inside_what_the_runs_cover_unless_told_otherwise(surrogate):
    table = rare(24, 0.3, 1)
    for given in (table.space, SearchSpace(table.domains)):
        inside = mixopt.propose(surrogate, given, seed=0, q=3)
        for proposal in inside:
            assert not proposal.support.extrapolates
            assert proposal.ratios["d3"] <= 0.0012 * (1 + MARGIN)
        outside = mixopt.propose(surrogate, given, seed=0, q=3, explore=True)
        assert any(p.support.extrapolates and p.ratios["d3"] > 0.01 for p in outside)


def test_further_proposals_have_no_decision_and_are_other_mixtures():
    surrogate = mixopt.fit(make_trials(24), surrogates="ridge_root")
    first, second = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0, q=2)
    assert first.decision is not None
    assert second.decision is None
    assert first.ratios != second.ratios


@pytest.mark.parametrize("name", ["runs", "seed0"])
@pytest.mark.parametrize(
    "natural", [None, {"chat": 0.5, "code": 0.3, "math": 0.1, "identity": 0.1}]
)
def test_rare_domain_of_an_instruction_mixture_is_not_proposed(shared, name, natural):
    """Its share is at most 0.12% in all runs; the shared folder has the table."""
    frame = pd.read_csv(shared / "cases" / "rare-domain" / f"{name}.csv")
    trials = mixopt.read_trials(runs=frame, better="higher")
    surrogate = mixopt.fit(trials)
    seen = RunCover.of(surrogate)
    place = trials.domains.index("identity")
    most = seen.high[place] + MARGIN * (seen.high[place] - seen.low[place])
    space = SearchSpace(trials.domains, prior=natural)
    for number, proposal in enumerate(mixopt.propose(surrogate, space, seed=0, q=2)):
        if proposal.decision is not None:
            assert proposal.decision.candidate["identity"] <= most
        if number or natural is None:
            assert proposal.ratios["identity"] <= most


@pytest.fixture(scope="module")
def ridge():
    return mixopt.fit(make_trials(24), surrogates="ridge_root")


def test_unknown_settings_are_refused(ridge):
    space = SearchSpace(DOMAINS)
    for settings, words in (
        ({"reference": "best_seen"}, "'best_seen' is no mixture. Did you mean 'best seen'"),
        ({"reference": "Natural"}, "The reference 'Natural' is no mixture"),
        ({"maximise": "Chance"}, "maximise='Chance' is nothing to maximise. Did you mean 'chance'"),
        ({"maximise": "probability"}, "Known: chance, utility"),
        ({"q": 0}, "q is 0; give a whole number of at least 1"),
        ({"q": 2.0}, "q is 2.0; give a whole number"),
        ({"seed": -1}, "The seed is -1; give a whole number"),
        ({"outcome_constraint": {"reference": "natural"}}, "outcome_constraint is a dict, not"),
        ({"repetition": {"a": 2}}, "repetition is a dict, not a Repetition"),
        ({"repetition": mixopt.Repetition.of(("a", "b"), {"a": 1e9}, budget_tokens=1e9)},
         "The repetition has no domain 'c'"),
    ):  # fmt: skip
        with pytest.raises(mixopt.MixoptError, match=words):
            mixopt.propose(ridge, space, **{"seed": 0} | settings)


def test_the_natural_mixture_without_a_prior_is_still_the_best_run(ridge):
    (proposal,) = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=0)
    (named,) = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=0, reference="best seen")
    assert proposal.decision.reference == named.decision.reference == "best seen"


def test_a_budget_caps_ratios_and_goes_with_every_proposal(ridge, tmp_path):
    free = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=0)[0]
    largest = max(free.ratios, key=free.ratios.get)
    cap = free.ratios[largest] / 2
    budget = mixopt.Budget(1e12, {largest: cap * 1e12 / 2}, {largest: 2})
    space = SearchSpace(DOMAINS, upper={"a": 0.6})
    for proposal in mixopt.propose(ridge, space, seed=0, q=2, budget=budget):
        assert proposal.budget == budget
        assert proposal.ratios[largest] <= cap * (1 + 1e-6)
        assert proposal.ratios["a"] <= 0.6
    # exports check it: of this mixture at twice the tokens
    beyond = replace(proposal, ratios=free.ratios)
    with pytest.raises(mixopt.MixoptError, match="would read"):
        mixopt.export(beyond, "yaml", out=tmp_path / "mixture.yaml")
    with pytest.raises(mixopt.MixoptError, match="budget is a dict, not a Budget"):
        mixopt.propose(ridge, space, seed=0, budget={"tokens": 1e12})
    with pytest.raises(mixopt.MixoptError, match="upper bound of 'x' names no domain"):
        mixopt.propose(ridge, space, seed=0, budget=mixopt.Budget(1e12, {"x": 1e9}, {"x": 1}))


def test_an_integer_of_numpy_is_the_same_seed_and_number(ridge):
    plain = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=3, q=2)
    numpy = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=np.int64(3), q=np.int64(2))
    assert [one.to_dict() for one in numpy] == [one.to_dict() for one in plain]


def test_mixtures_to_stay_near_to_hold_inside_of_what_runs_cover(ridge):
    near = Neighborhood(np.array([[0.4, 0.3, 0.2, 0.1]]), 0.05)
    space = SearchSpace(DOMAINS, near=near)
    for explore in (False, True):
        (proposal,) = mixopt.propose(ridge, space, seed=0, explore=explore)
        assert space.contains(proposal.ratios.vector(DOMAINS))
    (other,) = mixopt.propose(ridge, SearchSpace(DOMAINS), seed=0)
    assert not space.contains(other.ratios.vector(DOMAINS))
