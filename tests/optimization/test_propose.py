import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials
from known_tables import rare

import mixopt
from mixopt import SearchSpace
from mixopt.optimization.support import MARGIN, RunCover


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
