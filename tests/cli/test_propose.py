import json
from pathlib import Path

import pytest
from calling import call
from click.testing import CliRunner

from mixopt.cli.main import main
from mixopt.proposal import Proposal


def test_propose_from_tables(tables, tmp_path):
    printed = call("propose", "-v", "--ratios", tables[0], "--metrics", tables[1],
                   "-o", tmp_path / "out", "--upper", "web=0.55")  # fmt: skip
    assert "the decision is about the best run" in printed  # on stderr
    assert any(
        line.startswith("> 99% likely to be better than the best seen mixture")
        for line in printed.splitlines()
    )
    proposal = Proposal.read(tmp_path / "out" / "proposal.json")
    assert 0.4 < proposal.ratios["web"] <= 0.55 + 1e-9
    assert "the best seen mixture" in printed
    assert "(best seen " in printed
    assert "the natural mixture" not in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Data mixture for a" in page  # the table's name
    assert "0.55" in page  # the bound


def test_a_table_inside_an_mlflow_run_has_files_to_log(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.chdir(tmp_path)
    logged = []
    monkeypatch.setattr(
        "mixopt.callbacks.mlflow.runs.log_proposals", lambda _, files: logged.extend(files)
    )
    call("propose", "--ratios", tables[0], "--metrics", tables[1], "--output", "")
    place = Path("mixopt-runs/table")
    assert logged == [place / "proposal.json", place / "report.html"]
    assert all(file.is_file() for file in logged)


def test_output_that_is_a_file(tables, tmp_path):
    (tmp_path / "file").write_text("x")
    printed = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "file", code=2
    )
    assert "cannot be written" in printed
    assert (tmp_path / "file").read_text() == "x"


RECIPE = """
natural: {web: 0.5, code: 0.5}
target: val_loss
upper: {web: 0.58}
no_worse: {than: natural, tolerance: 0.01, probability: 0.8}
budget:
  tokens: 1.0e12
  available_tokens: {web: 1.0e11}
  max_repetition: 6
error_laws:
  val_loss: {epsilon: 0.85, k: 2.1, gamma: 0.75}
"""


def test_a_config_sets_limits_budget_and_constraint(tables, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path, "-v")  # fmt: skip
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert proposal.ratios["web"] <= 0.58 + 1e-9
    assert set(proposal.errors) == {"val_loss"}
    assert "error of val_loss" in printed
    assert proposal.ties is not None
    assert proposal.support.nearest in {str(i) for i in range(8)}


def test_nearest_to_the_natural_mixture_is_the_natural_mixture(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("natural: {web: 0.5, code: 0.5}\nmax_kl: 0\n")
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-v")  # fmt: skip
    assert "the same as the natural mixture\n" in printed


def test_a_reference_given_by_its_ratios_is_compared_with(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("reference: {web: 0.9, code: 0.1}\nmaximise: chance\n")
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path, "--verbose")  # fmt: skip
    assert "the given mixture" in printed
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert [c.name for c in proposal.comparisons][-1] == "given"
    assert proposal.ratios["web"] < 0.8  # not the tiniest step away


def test_the_first_line_is_the_decision_and_files_carry_it(tables, tmp_path):
    """Natural is the best mixture of the table, so it stays; what is exported is natural."""
    (tmp_path / "natural.yaml").write_text("web: 0.6\ncode: 0.4\n")
    given = ("--ratios", tables[0], "--metrics", tables[1], "--natural", tmp_path / "natural.yaml")
    printed = CliRunner().invoke(main, ["propose", *map(str, given), "-o", str(tmp_path)])
    first = printed.stdout.splitlines()[0]
    assert first.startswith("stay with the natural mixture: the best other one is ")
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert first == proposal.verdict == proposal.decision.verdict
    assert dict(proposal.ratios) == {"web": 0.6, "code": 0.4}
    assert "Stay with the natural mixture" in (tmp_path / "report.html").read_text()
    out = call("export", tmp_path / "proposal.json", "-f", "json", "-o", tmp_path / "mix.json")
    assert "stay with the natural mixture" in out
    assert json.loads((tmp_path / "mix.json").read_text())["token_ratios"]["web"] == pytest.approx(
        0.6
    )
    call(
        "export", tmp_path / "proposal.json", "-f", "json", "--candidate", "-o", tmp_path / "c.json"
    )
    written = json.loads((tmp_path / "c.json").read_text())["token_ratios"]["web"]
    assert written == pytest.approx(proposal.decision.candidate["web"], abs=1e-8)


def test_limits_outside_of_the_runs_hold_and_explore_lifts_what_the_runs_cover(tables):
    given = ("propose", "--ratios", tables[0], "--metrics", tables[1], "--lower", "web=0.99")
    printed = call(*given)
    assert "The limits put web at 99.00%, and runs had 10.00% to 90.00%" in printed
    assert "The limits put" not in call(*given, "--explore")
    assert "The limits put" not in call(*given, "--explore", "true")
    assert "The limits put web" in call(*given, "--explore", "false")


def test_runs_that_were_proposals_correct_the_gains(tables):
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1], "--proposed", "6, 7")
    assert "2 runs of earlier proposals came out" in printed
    unknown = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "--proposed", "x", code=2
    )
    assert "No trained run has the id 'x'" in unknown
