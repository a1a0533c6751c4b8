from dataclasses import replace

from pages import NATURAL, RATIOS, report

from mixopt import Mixture


def test_the_first_proposal_is_the_best():
    data = report()
    assert data.best is data.proposals[0]


def test_an_earlier_proposal_was_validated_if_the_first_one_has_other_ratios():
    data = report()
    assert not data.validated_an_earlier_proposal  # not known: the runs are the proposal's
    assert not replace(data, validated=Mixture(dict(RATIOS))).validated_an_earlier_proposal
    assert replace(data, validated=NATURAL).validated_an_earlier_proposal
