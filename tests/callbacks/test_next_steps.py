from dataclasses import replace
from pathlib import Path

import pytest
import toy

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.next_steps import describe_next_step
from mixopt.config.loader import load_study
from mixopt.decision import NEAREST_ALLOWED, Decision, LearningStep, NextRun

MOVES = Proposal(
    Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {},
    decision=Decision(True, Mixture({"a": 0.9, "b": 0.1}), Mixture.uniform("ab"), Estimate(0.4, 0.1),
                      9000, 2),
)  # fmt: skip
STAYS = replace(MOVES, decision=replace(MOVES.decision, moves=False))

AFTER = LearningStep(20_000, 1, Estimate(0.4, 0.1), False)
NEXT = NextRun(Mixture.uniform("ab"), 4000, 8000, 0.01)
PHASES = {"phases": [{"name": name, "tokens": 10_000} for name in ("first", "last")],
          "exports": [{"format": "yaml", "out": "mixture.yaml"}]}  # fmt: skip


def stays(**changes):
    return replace(STAYS, decision=replace(STAYS.decision, **changes))


ADVISED = replace(MOVES, decision=replace(MOVES.decision, moves=False, advice="train two more"))


def test_a_folder_with_spaces_is_one_word_of_the_command(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    said = describe_next_step(config, [MOVES], ["report.html"], study="", output=Path("my runs"))
    assert said.endswith("mixopt export 'my runs/proposal.json' -f FORMAT -o FILE")


@pytest.mark.parametrize(("proposals", "files", "changes", "step"), [
    ((), (), {}, "mixopt search x.yaml"),
    ((), ("trials.csv",), {}, "mixopt propose x.yaml"),
    ((MOVES,), ("proposal.json",), {}, "mixopt run x.yaml writes the report and the exports"),
    ((MOVES,), ("proposal.json",), {"budget": {"runs": 9}},
     "mixopt run x.yaml trains what is left of its budget, and writes the report and the exports"),
    ((MOVES,), ("report.html", "exports"), {},
     "read the report, then train with what exports/ has"),
    ((MOVES,), ("report.html",), {},
     "read the report, then: mixopt export out/proposal.json -f FORMAT -o FILE"),
    ((STAYS,), ("report.html",), {},
     "train on natural, or: mixopt run x.yaml --budget-tokens N, to know more"),
    ((STAYS,), ("report.html",), {"budget": {"runs": 9}},
     "train on natural; a larger budget makes the answer more certain"),
    ((STAYS,), ("proposal.json", "trials.csv"), {"budget": {"runs": 9}},
     "train on natural, or: mixopt spend x.yaml, to know more"),
    ((STAYS,), ("runs.csv", "proposal.json"), {"budget": {"runs": 9}},
     "train on natural; a larger budget makes the answer more certain"),
    ((stays(learning=(AFTER,), next_runs=(NEXT,)),), ("report.html",), {"budget": {"runs": 9}},
     "train on natural; no further run promises enough for a larger budget to buy it"),
    # the runs of a method are among the 5 that were trained, and 9 are left of 14
    ((stays(learning=(AFTER,), next_runs=(NEXT,)),), ("report.html",),
     {"budget": {"runs": 14}, "search": {"rounds": [8], "method": "olmix", "method_runs": 8}},
     "train on natural; no further run promises enough for a larger budget to buy it"),
    # what was spent leaves no run
    ((stays(learning=(AFTER,), next_runs=(NEXT,)),), ("report.html",), {"budget": {"runs": 7}},
     "train on natural; a larger budget makes the answer more certain"),
    ((stays(reference=NEAREST_ALLOWED),), ("report.html",), {},
     "train on the nearest allowed mixture, or: mixopt run x.yaml --budget-tokens N, to know more"),
    ((stays(reference=NEAREST_ALLOWED),), ("report.html",), {"budget": {"runs": 9}},
     "train on the nearest allowed mixture; a larger budget makes the answer more certain"),
    ((STAYS,), ("schedule.json",), PHASES,
     "read the report, then: mixopt export out/schedule.json -f FORMAT -o FILE"),
    ((STAYS,), ("exports", "schedule.json"), PHASES,
     "read the report, then train with what exports/ has"),
    ((ADVISED,), ("report.html",), {}, "train two more"),
    ((stays(learning=(AFTER,), advice="Nine runs tell."),), ("report.html",), {},
     "train on natural, or: mixopt run x.yaml --budget-tokens N, to know more. Nine runs tell."),
])  # fmt: skip
def test_what_follows(proposals, files, changes, step, tmp_path):
    config = load_study(toy.write_study(tmp_path, **changes))
    found = describe_next_step(config, proposals, files, study="x.yaml", output=Path("out"))
    assert found == step


def test_a_budget_that_an_earlier_command_spent_is_not_spent_again(tmp_path):
    config = load_study(toy.write_study(tmp_path, budget={"runs": 9}))
    (tmp_path / "runs.csv").touch()
    found = describe_next_step(config, (STAYS,), ("proposal.json",), study="x", output=tmp_path)
    assert found == "train on natural; a larger budget makes the answer more certain"
