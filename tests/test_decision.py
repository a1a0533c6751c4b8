import json
from dataclasses import asdict, replace

import pytest

from mixopt import Estimate, Mixture
from mixopt.decision import NATIVE, NEAREST_ALLOWED, SPREADS, Decision, EquivalentTokens, MergeCheck
from mixopt.evidence import PairedNoise

NATURAL, CANDIDATE = Mixture({"a": 0.5, "b": 0.5}), Mixture({"a": 0.8, "b": 0.2})


def decision(*, moves: bool, confirmation=None) -> Decision:
    return Decision(
        moves, CANDIDATE, NATURAL, Estimate(0.4, 0.3), 1000, 3, {"code": Estimate(0.4, 0.3)},
        {"loss": Estimate(-0.1, 0.05)}, confirmation,
    )  # fmt: skip


def test_one_trains_on_the_candidate_or_on_natural():
    assert decision(moves=True).ratios == CANDIDATE
    assert decision(moves=False).ratios == NATURAL


def test_verdict_names_chance_gain_tokens_and_interval():
    assert decision(moves=True).verdict == (
        "91% likely to be better than the natural mixture (gain +0.400 sd of a benchmark at 1,000 "
        "tokens, 95% interval [-0.188, +0.988])"
    )
    stays = decision(moves=False).verdict
    assert stays.startswith("stay with the natural mixture: the best other one is 91% likely")
    # likely enough to be recommended: it is the expected gain that is not
    assert "91% likely to be better, by too little to count (gain" in stays
    unlikely = replace(decision(moves=False), gain=Estimate(0.1, 0.3))
    assert "63% likely to be better (gain" in unlikely.verdict


def test_a_table_knows_no_tokens_and_may_have_another_reference():
    table = replace(
        decision(moves=True), tokens=None, reference="best seen", level="1B", proxies="40 1M runs"
    )
    assert table.verdict == (
        "91% likely to be better than the best seen mixture (gain +0.400 sd of a benchmark at 1B, 95% "
        "interval [-0.188, +0.988])"
    )
    assert table.basis == "40 1M runs and 3 1B runs"
    assert replace(table, moves=False).verdict.startswith(
        "stay with the best seen mixture: the best"
    )
    alone = replace(decision(moves=False), candidate=NATURAL)
    assert alone.verdict == "stay with the natural mixture: there is no other candidate"
    worth = EquivalentTokens(1000, 1000.0, 1000.0, 1000.0)
    assert replace(alone, equivalent_tokens=worth).equivalent == ""
    plain = asdict(table) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == table


def test_no_chance_is_said_to_be_certain():
    sure = replace(decision(moves=True), gain=Estimate(0.4, 0.1))
    assert sure.verdict.startswith("> 99% likely to be better")
    hopeless = replace(decision(moves=False), gain=Estimate(-0.4, 0.1))
    assert "is < 1% likely to be better" in hopeless.verdict


def test_it_is_read_back_as_it_was_written():
    confirmed = decision(moves=True, confirmation=Estimate(0.5, 0.2))
    assert (
        Decision.from_dict(
            asdict(confirmed) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
        )
        == confirmed
    )
    with pytest.raises(KeyError, match="gain"):
        Decision.from_dict({"moves": True, "candidate": {"a": 1}, "kept": {"a": 1}})


def test_unused_seeds_that_contradict_what_was_expected_are_told():
    found = replace(
        decision(moves=True, confirmation=Estimate(-0.09, 0.4)),
        expected_before=Estimate(1.18, 0.3), confirmed_tokens=8192,
    )  # fmt: skip
    (unused,) = found.checks
    assert unused.endswith("[-0.874, +0.694]; expected before them: +1.180 [+0.592, +1.768]")
    # z = 1.27 / .5
    assert found.contradiction.startswith(
        "The unused seeds contradict what was expected of them: gain -0.090 at 8,192 tokens, where "
        "+1.180 was expected; the chance of a difference as large is 1%. The chance and"
    )
    plain = asdict(found) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == found
    above = replace(found, confirmation=Estimate(2.45, 0.4))
    assert "gain +2.450" in above.contradiction
    assert "chance of a difference as large is 1%" in above.contradiction
    # the errors of both explain it
    assert replace(found, confirmation=Estimate(0.25, 0.4)).contradiction == ""
    assert replace(found, expected_before=None).contradiction == ""
    assert decision(moves=True).contradiction == ""


def test_equivalent_tokens_are_said_of_the_candidate_and_read_back():
    known = replace(
        decision(moves=True), equivalent_tokens=EquivalentTokens(1000, 1934.4, 1299.6, 2871.2)
    )
    assert known.equivalent == (
        "1,000 tokens on this mixture are worth 1,930 on the natural mixture, 95% interval "
        "[1,300, 2,870]"
    )
    assert "on the best other mixture" in replace(known, moves=False).equivalent
    plain = asdict(known) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == known
    unknown = replace(decision(moves=True), no_equivalent="natural was not trained")
    assert unknown.equivalent.endswith("tokens of the natural mixture: natural was not trained")
    plain = asdict(unknown) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == unknown
    assert decision(moves=True).equivalent == ""


def test_unused_seeds_and_merges_are_checks():
    alone = decision(moves=True)
    assert (alone.basis, alone.checks) == ("ensembles of the experts and 3 trained runs", ())
    merges = MergeCheck(Estimate(0.2, 0.1), better=1, neighbours=4)
    known = replace(alone, confirmation=Estimate(0.5, 0.2), merges=merges, runs=0)
    assert known.basis == "ensembles of the experts and no trained run"
    unused, merged = known.checks
    # the candidate is chosen again given these runs, so it is not the printed choice that is unaware
    assert unused.startswith(
        "unused seeds of this mixture, which was the best before these runs: gain +0.500, 95%"
    )
    assert merged == (
        "merges of the experts: gain +0.200 at the experts' length, 95% interval of the items "
        "[+0.004, +0.396]; 1 of the 4 next best mixtures have a better merge"
    )
    assert replace(alone, runs=1).basis == "ensembles of the experts and 1 trained run"
    plain = asdict(known) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == known
    # where natural is kept, they are checks of another mixture than the advised one
    unused, merged = replace(known, moves=False).checks
    assert unused.startswith("unused seeds of the best other mixture, which was the best before")
    assert merged.startswith("merges of the experts for the best other mixture: gain +0.200")
    long = replace(known, confirmed_tokens=8192)
    assert "these runs: gain +0.500 at 8,192 tokens, 95%" in long.checks[0]
    assert Decision.from_dict(plain | {"confirmed_tokens": 8192}) == long


def test_a_gain_in_the_metrics_own_units_is_no_number_of_standard_deviations():
    raw = replace(decision(moves=True), unit=NATIVE)
    assert "(gain +0.400 of utility at 1,000 tokens, " in raw.verdict
    plain = asdict(raw) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)}
    assert Decision.from_dict(plain) == raw
    del plain["unit"]  # of an earlier version, which does not say
    assert Decision.from_dict(plain).unit == NATIVE
    # the same unit under the name that earlier versions wrote
    assert Decision.from_dict(plain | {"unit": "sd of utility"}).unit == SPREADS


def test_a_target_beyond_what_the_runs_can_tell_is_said_and_read_back():
    known = decision(moves=True)
    assert known.horizon == ""
    far = replace(known, tokens=8000, target_tokens=100_000)
    assert far.horizon == (
        "the gain at the target's 100,000 tokens cannot be said: that is more than 8 times the longest "
        "run of this study"
    )
    assert replace(far, target_tokens=8000).horizon == ""
    assert Decision.from_dict(asdict(far)).horizon == far.horizon


def test_noise_of_training_and_resampled_items_are_evidence():
    known = replace(
        decision(moves=True),
        noise=PairedNoise(0.12, 3),
        resampled={"a": (0.5, 0.72), "b": (0.29, 0.5)},
    )
    assert known.checks == (
        "the difference of two mixtures trained with one seed has a noise of 0.120 sd of a benchmark "
        "(measured by 3 repeated runs with other seeds)",
        "over resampled items the best ensemble has a between 50% and 72%, b between 29% and 50% (10% "
        "to 90%)",
    )
    plain = json.loads(
        json.dumps(asdict(known) | {"candidate": dict(CANDIDATE), "kept": dict(NATURAL)})
    )
    assert Decision.from_dict(plain) == known
    del plain["noise"], plain["resampled"]  # of an earlier version
    assert Decision.from_dict(plain).checks == ()
    near = replace(known, reference=NEAREST_ALLOWED)
    assert near.checks == known.checks
