from dataclasses import replace

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.base import DomainCount, TrainedModel
from mixopt.callbacks.details import (
    describe_domains,
    describe_proposals,
    describe_training,
    describe_validation,
)
from mixopt.comparison import Comparison, Support, Ties
from mixopt.decision import Decision
from mixopt.optimization.validation import Cost, RankFidelity, Validation

NATURAL = Mixture.uniform("ab")
BETTER = Mixture({"a": 0.9, "b": 0.1})


def test_domains_stand_in_columns():
    counts = [
        DomainCount("a", 1_000, 10, 1_000, "x"), DomainCount("long", 2, 1, 2, "x", "generated")
    ]  # fmt: skip
    first, second = describe_domains(counts)
    assert first == "  a             1,000 tokens         10 documents"
    assert second == "  long              2 tokens          1 documents  (generated)"


def test_how_models_are_trained():
    params = {"learning_rate": "0.1", "batch_tokens": 4096, "step_source": "Step Law"}
    text = describe_training(TrainedModel("expert", "a", params, {"tokens": 5e6}))
    assert text == (
        "Training of each expert: 5,000,000 tokens, learning rate 0.1, batch 4,096 tokens (Step Law)"
    )


def test_merges_are_evidence_beside_a_decision_and_a_verdict_without_one():
    compared = (Comparison("natural", NATURAL, Estimate(0.5, 0.1), worse={"loss": 0.9}),)
    plain = Proposal(BETTER, Estimate(0, 1), {}, compared)
    text = "\n".join(describe_proposals([plain]))
    assert "  better than the natural mixture (predicted utility difference +0.500" in text
    assert "> 99% likely to be better" in text
    assert "probably worse than the natural mixture: loss (90%)" in text
    decision = Decision(False, BETTER, NATURAL, Estimate(0.1, 0.3), 9000, 2, advice="train more")
    decided = Proposal(NATURAL, Estimate(0, 1), {}, compared, measured={}, decision=decision)
    text = "\n".join(describe_proposals([decided, plain]))
    assert "  the best other mixture: a 90.0%, b 10.0%" in text
    assert "  train more" in text
    assert "  merges, against natural: predicted utility difference +0.500" in text
    assert "merges probably score worse than the natural mixture: loss (90%)" in text
    assert "\nProposal 2\n" in text


def test_ties_support_and_errors():
    proposal = Proposal(
        BETTER, Estimate(0, 1), {}, ties=Ties(0.25, {"a": (0.5, 0.9), "b": (0.1, 0.5)}),
        support=Support("r7", 0.125, 0.5), errors={"mmlu": Estimate(0.5, 0.1)},
    )  # fmt: skip
    text = "\n".join(describe_proposals([proposal]))
    assert (
        "25% of the feasible mixtures cannot be told from it; among them are a 50% to 90%" in text
    )
    assert "nearest run r7 (Hellinger 0.12; runs are usually within 0.50 of another)" in text
    assert "error of mmlu: 0.500 [0.304, 0.696]" in text
    # beside a decision it is said who cannot tell them: the surrogate, which may have seen no merge
    decision = Decision(True, BETTER, NATURAL, Estimate(0.1, 0.3), 9000, 2)
    decided = replace(proposal, measured={}, decision=decision)
    text = "\n".join(describe_proposals([decided]))
    assert "cannot be told from it by the surrogate; among them are" in text
    # nothing was trained that could be the nearest run
    assert "nearest candidate r7 (Hellinger 0.12; candidates are usually within 0.50" in text


def test_a_validation_has_a_row_for_each_metric_and_what_it_cost():
    nan = float("nan")
    rows = (RankFidelity("overall", "merged", 0.8, (0.1, 0.9), nan, nan, 0.5, 6, 6),)
    validation = Validation(
        rows, ("a",), (0.0,), 0.25, {}, (0.5, -0.25), 2, Cost(1000, 1.0, 1, 1.0)
    )
    lines = list(describe_validation(validation))
    assert lines[0].split() == ["metric", "proxy", "rank", "95%", "interval", "ceiling", "log-ratio",
                                "quarter"]  # fmt: skip
    assert "regret of the proposal 0.25 sd" in lines[2]
    assert lines[2].endswith("by seed: +0.50, -0.25")
    assert lines[-1].startswith("  search 1,000 tokens, 1.00e+00 FLOPs")
