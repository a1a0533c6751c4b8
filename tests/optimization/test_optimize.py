from functools import cache

import numpy as np
import pytest
from surrogates.test_fit import DOMAINS, smooth_trials

import mixopt
from mixopt import Mixture, SearchSpace
from mixopt.errors import ArgumentTypeError, InfeasibleError, MixtureError


def grid(step=0.02):
    ticks = np.arange(0, 1 + step / 2, step)
    points = [(a, b, 1 - a - b) for a in ticks for b in ticks if a + b <= 1 + 1e-9]
    return np.clip(np.array(points), 0, 1)


def truth(points):
    first = np.sqrt(points[:, 0]) + 0.5 * np.sqrt(points[:, 1])
    second = -((points[:, 2] - 0.3) ** 2)
    sample = smooth_trials(32).values(smooth_trials(32).search_metrics)
    return first / sample[:, 0].std() / 2 + second / sample[:, 1].std() / 2


@cache
def fitted():
    return mixopt.fit(smooth_trials(24))


def test_proposal_is_near_the_true_optimum():
    surrogate = mixopt.fit(smooth_trials(32))
    proposal = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0)[0]
    best = truth(grid()).max()
    regret = best - truth(proposal.ratios.vector(DOMAINS)[None])[0]
    spread = truth(grid()).std()
    assert 0 <= regret + 1e-6 < 0.25 * spread


def test_bounds_hold():
    surrogate = fitted()
    space = SearchSpace(DOMAINS, lower={"b": 0.4}, upper={"a": 0.2})
    for proposal in mixopt.propose(surrogate, space, q=3, seed=0):
        assert space.contains(proposal.ratios.vector(DOMAINS)).all()


def test_several_proposals_differ_and_come_best_first():
    surrogate = fitted()
    for seed in range(5):
        made = mixopt.propose(surrogate, SearchSpace(DOMAINS), q=5, seed=seed)
        means = [proposal.utility.mean for proposal in made]
        assert means == sorted(means, reverse=True)
    proposals = mixopt.propose(surrogate, SearchSpace(DOMAINS), q=3, seed=0)
    utilities = [proposal.utility.mean for proposal in proposals]
    assert len(proposals) == 3
    assert utilities == sorted(utilities, reverse=True)
    assert len({proposal.ratios for proposal in proposals}) == 3


def test_compared_with_natural_uniform_and_best_seen():
    surrogate = fitted()
    space = SearchSpace(DOMAINS, prior={"a": 0.1, "b": 0.1, "c": 0.8})
    proposal = mixopt.propose(surrogate, space, seed=0)[0]
    assert [c.name for c in proposal.comparisons] == ["natural", "uniform", "best seen"]
    natural = proposal.comparisons[0]
    assert natural.ratios["c"] == 0.8
    assert natural.predicted_gain.mean > 0
    assert proposal.interval == proposal.decision.gain.interval


def test_domains_may_stand_in_another_order():
    surrogate = fitted()
    straight = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0)[0]
    turned = mixopt.propose(surrogate, SearchSpace(DOMAINS[::-1]), seed=0)[0]
    for domain in DOMAINS:
        assert straight.ratios[domain] == pytest.approx(turned.ratios[domain], abs=0.1)


def test_other_domains_are_refused():
    surrogate = fitted()
    with pytest.raises(MixtureError, match="'x' is not one of"):
        mixopt.propose(surrogate, SearchSpace(("a", "b", "x")), seed=0)


def test_weights_of_anchored_experts_give_ratios_inside_the_bounds():
    surrogate = fitted()
    rows = {
        name: Mixture({other: 0.5 / 3 + (0.5 if other == name else 0) for other in DOMAINS})
        for name in DOMAINS
    }
    proposal = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0, compositions=rows)[0]
    assert sum(proposal.weights.values()) == pytest.approx(1)
    for domain in DOMAINS:
        assert proposal.ratios[domain] == pytest.approx(0.5 * proposal.weights[domain] + 0.5 / 3)


def test_infeasible_bounds_are_an_error():
    surrogate = fitted()
    rows = {"x": Mixture({"a": 0.5, "b": 0.5}), "y": Mixture({"a": 0.5, "c": 0.5})}
    space = SearchSpace(DOMAINS, lower={"a": 0.9})
    with pytest.raises(InfeasibleError, match="bounds are 0.9 to 1"):
        mixopt.propose(surrogate, space, seed=0, compositions=rows)


def test_extrapolation_is_said():
    """Runs near one corner, a natural mixture at another."""
    near = [t for t in smooth_trials(120) if t.ratios["a"] > 0.6]
    trials = mixopt.Trials(near, smooth_trials(1).metrics, DOMAINS)
    space = SearchSpace(DOMAINS, prior={"a": 0.0, "b": 0.0, "c": 1.0})
    proposal = mixopt.propose(mixopt.fit(trials), space, seed=0)[0]
    assert any(note.startswith("The natural mixture lies further") for note in proposal.notes)


def test_regmix_road_from_csv_to_proposal(shared):
    folder = shared / "tables" / "regmix"
    trials = mixopt.read_trials(
        ratios=folder / "train_mixture_1m.csv", metrics=folder / "train_pile_loss_1m.csv"
    )[:48]
    surrogate = mixopt.fit(trials, target="pile_cc_val_loss")
    proposal = mixopt.propose(surrogate, SearchSpace(trials.domains), seed=0)[0]
    # RegMix's own finding: web text is what helps Pile-CC
    assert proposal.ratios["pile_cc"] > 2 / 17


def test_without_a_natural_mixture_none_is_compared_with():
    surrogate = fitted()
    proposal = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0)[0]
    assert [c.name for c in proposal.comparisons] == ["best seen", "uniform"]
    assert "the best seen mixture" in proposal.verdict
    # the natural mixture changes what is compared, not what is proposed
    named = SearchSpace(DOMAINS, prior=Mixture.uniform(DOMAINS))
    assert mixopt.propose(surrogate, named, seed=0)[0].ratios == proposal.ratios


def test_a_natural_mixture_to_beat_must_be_given():
    surrogate = fitted()
    with pytest.raises(MixtureError, match="The reference to beat is the natural mixture and no"):
        mixopt.propose(surrogate, SearchSpace(DOMAINS), maximise="chance")
    best = mixopt.propose(surrogate, SearchSpace(DOMAINS), maximise="chance", seed=0,
                          reference="best seen")[0]  # fmt: skip
    assert best.comparisons[0].name == "best seen"
    with pytest.raises(MixtureError, match="Did you mean 'natural'"):
        mixopt.propose(surrogate, SearchSpace(DOMAINS), maximise="chance", reference="natual")


def test_a_seed_is_a_number_a_generator_or_none():
    surrogate, space = fitted(), SearchSpace(DOMAINS)
    by_number = mixopt.propose(surrogate, space, seed=5)[0].to_json()
    assert mixopt.propose(surrogate, space, seed=np.random.default_rng(5))[0].to_json() == by_number
    assert space.contains(mixopt.propose(surrogate, space)[0].ratios.vector(DOMAINS)).all()


@pytest.mark.parametrize("given", [[0.2, 0.3, 0.5], {"a": 0.2, "b": 0.3, "c": 0.5}])
def test_a_reference_is_given_in_any_form(given):
    surrogate, space = fitted(), SearchSpace(DOMAINS)
    proposal = mixopt.propose(surrogate, space, seed=0, reference=given)[0]
    assert proposal.comparisons[-1].name == "given"
    assert dict(proposal.comparisons[-1].ratios) == {"a": 0.2, "b": 0.3, "c": 0.5}


def test_arguments_of_another_type_raise_errors_of_ours():
    trials = smooth_trials(24)
    with pytest.raises(ArgumentTypeError, match="surrogate is a Trials, not a Surrogate; fit the"):
        mixopt.propose(trials, SearchSpace(DOMAINS))
    with pytest.raises(ArgumentTypeError, match="space is a tuple, not a SearchSpace"):
        mixopt.propose(mixopt.fit(trials), DOMAINS)
    with pytest.raises(ArgumentTypeError, match="space is a list, not a SearchSpace"):
        mixopt.design_runs(["a", "b"], 3)
    with pytest.raises(ArgumentTypeError, match="trials is a DataFrame, not a Trials"):
        mixopt.advise(trials.to_frame())
    with pytest.raises(ArgumentTypeError, match="trials is a DataFrame, not a Trials"):
        mixopt.fit(trials.to_frame())
