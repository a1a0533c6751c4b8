from dataclasses import replace

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.base import DomainCount, RoundResult, TrainedModel
from mixopt.callbacks.console import ConsoleCallback
from mixopt.callbacks.mlflow.names import proposal_metrics
from mixopt.decision import Decision, EquivalentTokens
from mixopt.optimization.validation import Cost, RankFidelity, Validation
from mixopt.proposal import Comparison
from mixopt.token_budget import Budget
from mixopt.trials import Trials


def printed(call):
    lines: list[str] = []
    call(ConsoleCallback(lines.append))
    return "\n".join(lines)


def test_generated_text_is_called_generated():
    counts = [DomainCount("sums", 1_000, 10, 1_000, "x", "generated")]
    assert "(generated)" in printed(lambda c: c.on_domains_counted(counts))


def test_source_of_the_step_is_said_once_for_each_kind():
    params = {
        "learning_rate": "0.1",
        "batch_tokens": 8,
        "step_source": "Step Law (x)",
        "epochs": {},
    }
    models = [
        TrainedModel("expert", n, params, {"tokens": 1.0, "final_loss": 2.0}) for n in ("a", "b")
    ]
    text = printed(lambda c: [c.on_model_trained(model) for model in models])
    assert text.count("Step Law") == 1
    assert "expert b: loss 2.000" in text


def test_repeated_reading_is_said():
    params = {"learning_rate": "0.1", "batch_tokens": 8, "epochs": {"laws": 2.31, "web": 0.2}}
    model = TrainedModel("expert", "laws", params, {"tokens": 1.0, "final_loss": 2.0})
    text = printed(lambda c: c.on_model_trained(model))
    assert "reads laws 2.3 times" in text
    assert "web" not in text


def test_round_says_how_well_unseen_candidates_are_ranked():
    ranks = {"a": 0.5, "b": float("nan")}
    result = RoundResult(1, Trials([], [], []), 16, 1.0, ranks)
    text = printed(lambda c: c.on_round_scored(result))
    assert text == "Round 1: 16 candidates so far; unseen ones are ranked at +0.50 (median metric)"


def test_proposal_with_its_verdict_and_notes():
    natural = Comparison("natural", Mixture.uniform("ab"), Estimate(0.0, 1.0))
    proposal = Proposal(
        Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {}, (natural,), budget=Budget(90, {"a": 27}),
        notes=("mind this",),
    )  # fmt: skip
    text = printed(lambda c: c.on_proposals([proposal]))
    assert "90.00%  (natural 50.00%)  seen 3.00 times" in text
    assert "not distinguishable from the natural mixture" in text
    assert "mind this" in text


def test_a_decision_is_told_in_tokens_of_natural_too():
    mixture, natural = Mixture({"a": 0.9, "b": 0.1}), Mixture.uniform("ab")
    decision = Decision(
        True, mixture, natural, Estimate(0.4, 0.1), 9000, 2,
        equivalent_tokens=EquivalentTokens(4000, 7000.0, 5000.0, 12_000.0),
    )  # fmt: skip
    known = Proposal(mixture, Estimate(0, 1), {}, decision=decision)
    text = printed(lambda c: c.on_proposals([known]))
    assert "4,000 tokens on this mixture are worth 7,000 on the natural mixture" in text
    values = proposal_metrics(known)
    assert values["decision/equivalent_tokens"] == 7000
    assert values["decision/equivalent_tokens_high"] == 12_000
    decision = replace(decision, equivalent_tokens=None, no_equivalent="one length")
    unknown = replace(known, decision=decision)
    assert "natural mixture: one length" in printed(lambda c: c.on_proposals([unknown]))
    assert "decision/equivalent_tokens" not in proposal_metrics(unknown)


def test_what_a_proxy_does_not_score_is_a_dash_and_no_rank():
    nan = float("nan")
    rows = (
        RankFidelity("overall", "merged", 0.8, (0.1, 0.9), nan, nan, 0.5, 6, 6),
        RankFidelity("written", "ensembled", nan, (nan, nan), nan, nan, 1.0, 6, 6),
    )
    validation = Validation(rows, ("a",), (0.0,), 0.0, {}, (), 1, Cost(1, 1.0, 1, 1.0))
    lines = printed(lambda c: c.on_validation(validation)).splitlines()
    assert lines[2].split() == ["overall", "merged", "+0.80", "[+0.10,", "+0.90]", "-", "-", "50%"]
    assert lines[3].split() == ["written", "ensembled", "-", "-", "-", "-", "-"]
