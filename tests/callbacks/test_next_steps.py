from dataclasses import replace
from pathlib import Path

import pytest
import toy

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.next_steps import describe_next_step
from mixopt.config.loader import load_study
from mixopt.decision import Decision

MOVES = Proposal(
    Mixture({"a": 0.9, "b": 0.1}), Estimate(0, 1), {},
    decision=Decision(True, Mixture({"a": 0.9, "b": 0.1}), Mixture.uniform("ab"), Estimate(0.4, 0.1),
                      9000, 2),
)  # fmt: skip
STAYS = replace(MOVES, decision=replace(MOVES.decision, moves=False))
ADVISED = replace(MOVES, decision=replace(MOVES.decision, moves=False, advice="train two more"))


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
     "train on natural; a larger budget would tell more"),
    ((ADVISED,), ("report.html",), {}, "train two more"),
])  # fmt: skip
def test_what_follows(proposals, files, changes, step, tmp_path):
    config = load_study(toy.write_study(tmp_path, **changes))
    found = describe_next_step(config, proposals, files, study="x.yaml", output=Path("out"))
    assert found == step
