import re
from dataclasses import replace

import toy

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.base import (
    BestSoFar,
    DomainCount,
    RoundResult,
    StudyWarning,
    TrainedModel,
)
from mixopt.callbacks.console import ConsoleCallback
from mixopt.callbacks.mlflow.names import proposal_metrics
from mixopt.comparison import Comparison
from mixopt.config.loader import load_study
from mixopt.decision import Decision, EquivalentTokens
from mixopt.optimization.validation import Cost, RankFidelity, Validation
from mixopt.token_budget import Budget
from mixopt.trials import Trials


def printed(call, verbosity=1):
    """What is printed, without the times."""
    lines: list[str] = []
    call(ConsoleCallback(lines.append, verbosity=verbosity))
    return "\n".join(re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines)


def ended(proposals, tmp_path, verbosity=0, files=()):
    """What a study prints that ends with proposals."""
    config = load_study(toy.write_study(tmp_path / "s"))

    def call(console):
        console.on_study_start(config, tmp_path)
        for name in files:
            console.on_file_written(tmp_path / name)
        console.on_proposals(proposals)
        console.on_study_end(None)

    return printed(call, verbosity)


def test_generated_text_is_called_generated():
    counts = [DomainCount("sums", 1_000, 10, 1_000, "x", "generated")]
    text = printed(lambda c: c.on_domains_counted(counts), verbosity=0)
    assert text == "text: 1 domains, 1,000 tokens (sums generated)"
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
    assert "Step Law" not in printed(lambda c: c.on_model_trained(models[0]), verbosity=0)


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
    said = "round 1: 16 candidates so far; unseen ones are ranked at +0.50 (median metric)"
    assert text == said
    best = BestSoFar(Mixture.uniform("ab"), Estimate(0.5, 0.1), "merges")
    text = printed(lambda c: [c.on_best(best), c.on_round_scored(result)])
    assert text == f"{said}; best so far +0.50 [+0.30, +0.70] over natural"


def test_proposal_with_its_verdict_and_notes(tmp_path):
    natural = Comparison("natural", Mixture.uniform("ab"), Estimate(0.0, 1.0))
    proposal = Proposal(
        Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {}, (natural,), budget=Budget(90, {"a": 27}),
        notes=("mind this",),
    )  # fmt: skip
    text = ended([proposal], tmp_path, verbosity=1)
    assert "90.00%  (natural 50.00%)  seen 3.00 times" in text
    assert "not distinguishable from the natural mixture" in text
    assert text.count("mind this") == 1
    text = ended([proposal], tmp_path)
    assert "seen 3.00 times" not in text
    assert "note: mind this" in text
    assert text.count("not distinguishable from the natural mixture") == 1


def test_a_decision_is_told_in_tokens_of_natural_too(tmp_path):
    mixture, natural = Mixture({"a": 0.9, "b": 0.1}), Mixture.uniform("ab")
    decision = Decision(
        True, mixture, natural, Estimate(0.4, 0.1), 9000, 2,
        equivalent_tokens=EquivalentTokens(4000, 7000.0, 5000.0, 12_000.0),
    )  # fmt: skip
    known = Proposal(mixture, Estimate(0, 1), {}, decision=decision)
    text = ended([known], tmp_path, verbosity=1)
    assert "4,000 tokens on this mixture are worth 7,000 on the natural mixture" in text
    text = ended([known], tmp_path)
    assert "4,000 tokens on this mixture are worth 7,000 of natural, 95% interval [5,000," in text
    values = proposal_metrics(known)
    assert values["decision/equivalent_tokens"] == 7000
    assert values["decision/equivalent_tokens_high"] == 12_000
    decision = replace(decision, equivalent_tokens=None, no_equivalent="one length")
    unknown = replace(known, decision=decision)
    assert "natural mixture: one length" in ended([unknown], tmp_path, verbosity=1)
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


PROPOSAL = Proposal(
    Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {},
    decision=Decision(True, Mixture({"a": 0.9, "b": 0.1}), Mixture.uniform("ab"), Estimate(0.4, 0.1),
                      9000, 2),
)  # fmt: skip


def test_the_end_is_the_verdict_the_ratios_where_things_are_and_what_to_do_next(tmp_path):
    text = ended(
        [PROPOSAL], tmp_path, files=("trials.csv", "proposal.json", "report.html", "exports")
    )
    _, end = text.split("\n\n")
    verdict, first, second, results, following = end.splitlines()
    assert verdict == PROPOSAL.verdict
    assert first.split()[:4] == ["a", "50.0%", "->", "90.0%"]
    assert second.split()[:4] == ["b", "50.0%", "->", "10.0%"]
    assert results == f"Results   {tmp_path}: report.html, proposal.json, exports, trials.csv"
    assert following == "Next      read the report, then train with what exports/ has"


def test_quiet_prints_the_end_alone(tmp_path):
    loud, quiet = (ended([PROPOSAL], tmp_path, verbosity=v) for v in (0, -1))
    assert loud.split("\n\n")[1] == quiet


def test_a_proposal_that_runs_may_change_is_a_milestone_and_the_last_one_is_not(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    later = replace(PROPOSAL, decision=replace(PROPOSAL.decision, gain=Estimate(0.5, 0.1)))

    def call(console):
        console.on_study_start(config, tmp_path)
        console.on_proposals([PROPOSAL])
        console.on_stage_start("validation")
        console.on_proposals([later])
        console.on_stage_start("report")
        console.on_study_end(None)

    text = printed(call, verbosity=0)
    assert text.count(PROPOSAL.verdict) == text.count(later.verdict) == 1
    assert f"proposal: {PROPOSAL.verdict}" in text.splitlines()


def test_warnings_are_lines_and_the_file_has_them_in_full(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    long = "A sentence of many words, " * 9 + "and its remedy."

    def call(console):
        console.on_study_start(config, tmp_path)
        console.on_warning(StudyWarning("Short.", "nothing"))
        assert not (tmp_path / "warnings.txt").exists()
        console.on_warning(StudyWarning(long, "ratios"))
        console.on_proposals([replace(PROPOSAL, notes=("Short.", "A note."))])
        console.on_study_end(None)

    lines = printed(call, verbosity=0).splitlines()
    assert lines.count("warning: Short.") == 1
    (cut,) = [line for line in lines if line.startswith("warning: A sentence")]
    assert len(cut) <= 110
    assert cut.endswith("...")
    assert "note: A note." in lines
    assert f"Warnings  3, 1 may change the ratios: {tmp_path / 'warnings.txt'}" in lines
    written = (tmp_path / "warnings.txt").read_text()
    assert f"These may change the ratios.\n\n- {long}\n" in written
    assert "- A note." in written


def test_phases_end_with_a_verdict_each(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))

    def call(console):
        console.on_study_start(config, tmp_path)
        for name in ("stable", "anneal"):
            console.on_study_start(
                config.model_copy(update={"name": f"toy-{name}"}), tmp_path / name
            )
            console.on_plan([])
            parts.append(console.view.clock.planned_part)
            console.on_proposals([PROPOSAL])
            console.on_study_end(None)
        console.on_study_end(None)

    parts = []
    end = printed(call, verbosity=-1).splitlines()
    assert parts == ["phase", "phase"]  # of what is left, too: the others have plans of their own
    assert end[:2] == [f"stable: {PROPOSAL.verdict}", f"anneal: {PROPOSAL.verdict}"]


def test_a_study_that_fails_has_no_end(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))

    def call(console):
        console.on_study_start(config, tmp_path)
        console.on_proposals([PROPOSAL])
        console.on_study_end(RuntimeError("no"))

    assert PROPOSAL.verdict not in printed(call, verbosity=0)


def test_the_first_line_of_several_proposals_is_the_verdict_of_the_best():
    other = Proposal(Mixture({"b": 0.7, "a": 0.3}), Estimate(0, 1), {}, notes=("Mind this.",))
    remarks = []
    text = printed(lambda c: c.print_answer([PROPOSAL, other], ["Results   x"], remarks.append), 0)
    lines = text.splitlines()
    assert lines[0] == PROPOSAL.verdict
    assert lines[-2:] == ["Results   x", "proposal 2: b 70.0%, a 30.0%"]
    assert remarks == ["note: Mind this."]
