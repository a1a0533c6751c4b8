from dataclasses import replace

import numpy as np
import pytest
import toy

import mixopt
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.pipeline.verify import Verifier


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verifying")
    study = mixopt.Study.load(
        toy.write_study(folder), folder / "out", cache=folder / "cache", device="cpu"
    )
    trials = study.search()
    return study, trials, study.propose(trials)[0]


def verifier(study, failures=None):
    return Verifier(
        study.recipe, study.laboratory, study.foundation.searcher, study.learner, failures or {}
    )


def test_a_mixture_compared_with_itself_gains_exactly_nothing(searched):
    study, trials, proposal = searched
    same = replace(proposal.comparisons[0], name="itself", ratios=proposal.ratios)
    found = verifier(study).verify(replace(proposal, comparisons=(same,), notes=()), trials)
    (comparison,) = found.comparisons
    assert comparison.measured_gain.mean == pytest.approx(0, abs=1e-9)
    assert set(comparison.aggregates) == {"mean", "weighted", "worst"}


def test_gains_turn_round_when_the_sides_do(searched):
    study, trials, proposal = searched
    other = proposal.comparisons[0]
    there = verifier(study).verify(proposal, trials).comparisons[0]
    weights, _ = study.foundation.weight_space.weights_for(
        other.ratios.vector(study.recipe.domains)
    )
    turned = replace(
        proposal,
        ratios=other.ratios,
        weights=dict(zip(proposal.weights, map(float, weights), strict=True)),
        comparisons=(replace(other, ratios=proposal.ratios),),
    )
    back = verifier(study).verify(turned, trials).comparisons[0]
    for metric, found in there.differences.items():
        assert back.differences[metric].mean == pytest.approx(-found.mean, abs=1e-6)
        assert back.differences[metric].std_error == pytest.approx(found.std_error, abs=1e-6)
    for name, gain in there.capabilities.items():
        assert back.capabilities[name].mean == pytest.approx(-gain.mean, abs=1e-6)
    assert set(there.capabilities) == {"birds", "ships", "sums"}
    gains = [side.aggregates["mean"].mean for side in (there, back)]
    assert gains[0] == pytest.approx(-gains[1], abs=1e-6)


def test_what_a_reader_should_know_is_noted(searched):
    study, trials, proposal = searched
    found = verifier(study, {"ships": "its loss was not finite"}).verify(proposal, trials)
    assert found.notes[-1] == "Expert 'ships' was set aside: its loss was not finite"
    runs = trials.where(kind="merged")[:4]
    learner = SurrogatePolicy(study.recipe, study.learner.reliabilities, runs=runs)
    heard = replace(verifier(study), learner=learner)
    assert any("corrected by 4 mixtures" in note for note in heard.verify(proposal, trials).notes)
    assert np.isclose(sum(found.repetition.values()), sum(
        study.recipe.target.tokens * share / study.laboratory.available_tokens[name]
        for name, share in proposal.ratios.items()))  # fmt: skip
