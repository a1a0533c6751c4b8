from dataclasses import replace

from pages import NATURAL, RATIOS, report

from mixopt import Estimate, Mixture, Proposal
from mixopt.decision import Decision, EquivalentTokens
from mixopt.report.sentences import describe_equivalent, format_ratios, summarize


def with_gain(mean, std, **changes):
    data = report(**changes)
    first = replace(data.best.comparisons[0], measured_gain=Estimate(mean, std))
    return replace(data, proposals=(replace(data.best, comparisons=(first,)),))


def test_summary_names_changes_gain_and_validation():
    assert summarize(with_gain(0.5, 0.1)) == (
        "More birds, less sums and ships: better than the natural mixture (measured by the merged "
        "proxy: +0.50 sd of a benchmark, 95% interval +0.30 to +0.70). In real training runs it gained "
        "+0.10, -0.10 (one number per seed)."
    )
    assert "No real training run" in summarize(with_gain(0.5, 0.1, validation=None))
    assert "worse than the natural" in summarize(with_gain(-0.5, 0.1))


def test_without_gains_by_seed_the_summary_names_no_validation():
    validation = replace(report().validation, gain=())
    assert summarize(with_gain(0.5, 0.1, validation=validation)).endswith("+0.70).")


def test_summary_says_which_proposal_was_trained():
    assert "runs it gained" in summarize(with_gain(0.5, 0.1, validated=RATIOS))
    summary = summarize(with_gain(0.5, 0.1, validated=NATURAL))
    assert "the earlier proposal, from before they corrected the surrogate, gained" in summary


def test_an_interval_around_zero_is_not_distinguishable():
    assert "is not distinguishable from the natural mixture" in summarize(with_gain(0.1, 0.1))


def test_a_proposal_equal_to_the_natural_mixture_keeps_it():
    assert summarize(with_gain(0.0, 0.0)).startswith("Keep the natural mixture")


def test_a_proposal_without_comparison():
    alone = Proposal(NATURAL, Estimate(0, 1), {})
    assert summarize(report(proposals=(alone,))) == (
        "Train on 50.0% sums, 30.0% ships and 20.0% birds. It was not compared with another mixture."
    )


def test_domains_without_a_share_are_not_named():
    assert format_ratios(Mixture({"a": 1.0, "b": 0.0})) == "100.0% a"


def test_of_many_domains_the_largest_are_named_and_the_others_counted():
    mixture = Mixture({f"d{i}": 0.1 for i in range(10)})
    assert format_ratios(mixture, 2) == "10.0% d0, 10.0% d1 and 80.0% in 8 other domains"
    assert format_ratios(mixture, 10).count("10.0%") == 10


def test_every_domain_with_a_share_is_counted_and_its_share_with_it():
    small = {f"d{i}": 0.4999 / 1250 for i in range(1250)}
    half = Mixture({"web": 0.5001, **small})
    assert format_ratios(half) == "50.0% web and 50.0% in 1,250 other domains"
    ramp = Mixture.normalised({f"d{i:03d}": 0.9**i + 1e-3 for i in range(300)})
    rest = 100 * sum(sorted(ramp.values())[:288])
    assert format_ratios(ramp, 12).endswith(f"and {rest:.1f}% in 288 other domains")
    assert format_ratios(Mixture({"a": 0.5, "b": 0.3, "c": 0.2}), 2).endswith("1 other domain")
    # less than the sentence shows of any domain
    assert format_ratios(Mixture({"a": 1 - 1e-6, "b": 1e-6})) == "100.0% a"


def test_domains_that_are_all_small_are_counted():
    equal = Mixture.uniform([f"d{i}" for i in range(2500)])
    assert format_ratios(equal) == "2,500 domains of less than 0.1% each"
    assert format_ratios(equal, 3) == "2,500 domains of less than 0.1% each"


def compared(ratios, natural):
    """What the summary says of a proposal that was compared with the natural mixture."""
    best = report().best
    first = replace(best.comparisons[0], ratios=natural, measured_gain=Estimate(0.5, 0.1))
    best = replace(best, ratios=ratios, comparisons=(first,))
    return summarize(report(proposals=(best,)))


def test_many_small_changes_are_not_nearly_the_natural_mixture():
    names = [f"d{i:03d}" for i in range(300)]
    natural = Mixture.uniform(names)
    other = Mixture({name: (i % 2) / 150 for i, name in enumerate(names)})
    said = compared(other, natural)
    assert said.startswith("50% of the tokens move, a little in each of 300 domains: better")
    near = Mixture({name: (1 + 0.02 * (-1) ** i) / 300 for i, name in enumerate(names)})
    assert compared(near, natural).startswith("Nearly the natural mixture: better")


def decision(**changes):
    return Decision(True, RATIOS, NATURAL, Estimate(0.4, 0.1), 9000, 4, **changes)


def test_changes_are_those_from_the_decision_s_reference_even_if_limits_forbid_it():
    allowed = Mixture({"birds": 0.5, "ships": 0.3, "sums": 0.2})
    best = replace(report().best, decision=replace(decision(), kept=allowed))
    assert summarize(report(proposals=(best,))).startswith("More birds, less sums and ships:")


def test_equivalent_tokens_are_a_sentence_of_their_own():
    tokens = EquivalentTokens(9000, 12_000.0, 9500.0, 16_000.0)
    best = replace(report().best, decision=decision(equivalent_tokens=tokens))
    assert describe_equivalent(report(proposals=(best,))).startswith("9,000 tokens on this mixture")
    assert describe_equivalent(report()) == ""
    best = replace(report().best, decision=decision(target_tokens=10**6))
    said = describe_equivalent(report(proposals=(best,)))
    assert said.startswith("The gain at the target's 1,000,000 tokens cannot be said: ")


def test_the_unit_of_the_gain_is_the_decision_s():
    best = replace(report().best, decision=decision(unit="of utility"))
    assert "(expected gain +0.40 of utility after 9,000" in summarize(report(proposals=(best,)))
    best = replace(report().best, decision=decision())
    assert "(expected gain +0.40 sd of a benchmark after" in summarize(report(proposals=(best,)))
