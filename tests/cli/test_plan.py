import re
from dataclasses import replace

import toy
from calling import call

from mixopt.pipeline.plan import PlannedTraining
from mixopt.study import Study


def test_a_plan_lists_trainings_and_trains_nothing(toy_folder):
    path = toy.write_study(toy_folder, budget={"runs": 14, "longest": 2})
    output = toy_folder / "planned"
    printed = call("plan", path, "-o", output, "--device", "cpu")
    assert "3 experts" in printed
    assert "12,000 tokens" in printed
    assert "natural, 2 seeds" in printed
    assert "search.method: mergemix\n" in printed
    assert "3 unused seeds each of" not in printed  # more than half of what is left
    assert "confirmation: does not fit; it needs a budget of 60,000 tokens " in printed
    assert "The time is known after a first training of this study.\n" in printed
    assert not (output / "artifacts" / "base").exists()
    more = call("plan", path, "-o", output, "--device", "cpu", "--budget-tokens", 100_000)
    assert "confirmation: 3 unused seeds each of candidate and natural, " in more


def test_too_small_a_budget(toy_folder):
    path = toy.write_study(toy_folder)
    printed = call("plan", path, "--budget-tokens", 9, code=2)
    assert "raise it to that or more" in printed
    assert printed.count("\n") == 1


def test_the_minutes_of_all_trainings_are_added_up(tmp_path, monkeypatch):
    rows = [
        PlannedTraining("base", 1000, 6e3, 60.0),
        PlannedTraining("2 experts", 2000, 12e3, 120.0),
    ]
    monkeypatch.setattr(Study, "plan", lambda _: rows)
    printed = call("plan", toy.write_study(tmp_path), "--device", "cpu")
    assert re.search(r"in all +3,000 tokens  1.8e\+04 FLOPs +3.0 min\n", printed)
    monkeypatch.setattr(Study, "plan", lambda _: [rows[0], replace(rows[1], seconds=None)])
    printed = call("plan", toy.write_study(tmp_path), "--device", "cpu")
    assert re.search(r"in all +3,000 tokens  1.8e\+04 FLOPs\n", printed)
