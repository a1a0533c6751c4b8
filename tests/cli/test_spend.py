import toy
from calling import call

from mixopt.proposal import Proposal


def test_spend_trains_runs_and_proposes_with_them(toy_folder):
    path = toy.write_study(
        toy_folder, search={"rounds": [6]}, budget={"runs": 9, "longest": 1, "confirmation": 1}
    )
    out = toy_folder / "out"
    printed = call("spend", path, "-o", out, "--device", "cpu", "--no-track")
    assert "next: train " in printed
    assert f"Results   {out}: proposal.json, runs.csv, trials.csv\n" in printed
    assert (out / "runs.csv").is_file()
    proposal = Proposal.read(out / "proposal.json")
    assert proposal.decision.runs >= 1
    assert proposal.decision.verdict in printed
    # other verbs know these runs too
    before = (out / "proposal.json").read_bytes()
    for verb in ("propose", "report"):
        call(verb, path, "-o", out, "--device", "cpu", "--no-track")
        assert (out / "proposal.json").read_bytes() == before, verb
    assert "done     proposal" in call("status", path, "-o", out, "--device", "cpu")


def test_a_study_without_budget_trains_nothing(tmp_path):
    path = toy.write_study(tmp_path)
    printed = call("spend", path, "-o", tmp_path / "out", "--no-track", code=2)
    assert "has no `budget` section; add one (runs: 16)" in printed
    assert not (tmp_path / "out").exists()
