import json
import re
from pathlib import Path

import pytest
import yaml
from calling import call
from plans import PROPOSAL, SCHEDULE

from mixopt import Mixture
from mixopt.cli.export import NAMES
from mixopt.decision import Decision
from mixopt.estimate import Estimate
from mixopt.exporters.export import FORMATS
from mixopt.proposal import Proposal


def test_export_of_a_proposal(tables, tmp_path):
    call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path)
    text = call("export", tmp_path / "proposal.json", "-f", "megatron", "-p", "/d/{domain}")
    parts = text.split()
    assert parts[1::2] == ["/d/web", "/d/code"]
    assert sum(map(float, parts[::2])) == pytest.approx(1)
    printed = call("export", tmp_path / "proposal.json", "-f", "json", "-o", tmp_path / "x.json",
                "-p", "web=/w", "-p", "code=/c")  # fmt: skip
    assert "x.json" in printed
    assert json.loads((tmp_path / "x.json").read_text())["paths"] == {"web": "/w", "code": "/c"}


def test_empty_paths_are_left_out(tables, proposal):
    """As the entry point of an MLflow project gives them."""
    printed = call("export", proposal, "-f", "yaml", "--path", "")
    assert printed == call("export", proposal, "-f", "yaml")
    assert "paths" not in printed
    project = yaml.safe_load((Path(__file__).parents[2] / "MLproject").read_text())
    assert project["entry_points"]["export"]["parameters"]["path"]["default"] == ""


def test_damaged_proposals_are_told_in_one_sentence(tmp_path):
    path = tmp_path / "p.json"
    for content in ('{"ratios": [1, 2]}', "[]", '"x"', '{"ratios": {"a": 1}, "utility": 3}', "{"):
        path.write_text(content)
        printed = call("export", path, "-f", "json", code=2)
        assert re.search("not a proposal|holds no ratios of domains|cannot be read", printed)
        assert str(path) in printed
        assert printed.count("\n") == 1


@pytest.fixture
def proposal(tmp_path):
    path = tmp_path / "proposal.json"
    path.write_text(PROPOSAL.to_json())
    return path


def test_help_names_every_format():
    assert NAMES.split(", ") == sorted(FORMATS)


def test_a_config_is_checked_after_it_was_mended(proposal, tmp_path):
    out, place = tmp_path / "blend.txt", ("-p", "/d/{domain}")
    printed = call("export", proposal, "-f", "megatron", *place, "-o", out)
    assert "moves no ratio by more than 3.3e-10" in printed
    assert "Seen      web 0.40, code 1.00, law 0.00 times" in printed
    printed = call("export", proposal, "-f", "megatron", *place, "--check", out)
    assert "largest difference from the proposal is 3.3e-10" in printed
    out.write_text("0.05 /d/web 0.95 /d/code")
    printed = call("export", proposal, "-f", "megatron", *place, "--check", out,
                "--budget-tokens", "12e6")  # fmt: skip
    assert "web               5.0000%  proposed  66.6667%  difference -61.6667%" in printed
    assert "note: 'code' is read 5.70 times and at most 4 was allowed" in printed


def test_a_file_for_each_phase(tmp_path):
    path = tmp_path / "schedule.json"
    path.write_text(SCHEDULE.to_json())
    printed = call("export", path, "-f", "olmo-core", "-p", "/d/{domain}.npy",
                "-o", tmp_path / "{phase}.yaml")  # fmt: skip
    assert "stable.yaml" in printed
    assert "anneal.yaml" in printed
    printed = call("export", path, "-f", "json", "-o", tmp_path / "all.json")
    assert "Phase     anneal" in call(
        "export", path, "-f", "json", "--check", tmp_path / "all.json"
    )


def test_documents_of_known_length(proposal, tmp_path):
    plain = json.loads(proposal.read_text()) | {"tokens_per_document": {}}
    proposal.write_text(json.dumps(plain))
    command = ("export", proposal, "-f", "llama-factory")
    assert "--tokens-per-document web=N" in call(*command, code=2)
    lengths = ("--tokens-per-document", "web=100", "--tokens-per-document", "code=200")
    assert "interleave_probs: 0.8,0.2" in call(*command, *lengths)
    assert "above 0" in call(*command, "--tokens-per-document", "web=few", code=2)


def test_what_cannot_be_checked(proposal, tmp_path):
    command = ("export", proposal, "-f", "json", "--check")
    assert "does not exist" in call(*command, tmp_path / "none.json", code=2)
    (tmp_path / "bytes").write_bytes(bytes(range(128, 200)))
    assert "cannot be read as text" in call(*command, tmp_path / "bytes", code=2)
    assert "give one of them" in call(*command, proposal, "-o", tmp_path / "x", code=2)


def test_what_is_no_option_of_a_format_is_not_taken_for_one(proposal, tmp_path):
    for option in ("format=x", "out=zz", "paths=a"):
        printed = call("export", proposal, "-f", "json", "--option", option, code=2)
        assert "is no option of a format" in printed
    assert not (tmp_path / "zz").exists()


def test_a_decision_to_stay_exports_natural_and_the_candidate_on_request(tmp_path):
    ratios, natural = {"web": 0.2, "code": 0.8}, {"web": 0.9, "code": 0.1}
    decision = Decision(False, Mixture(ratios), Mixture(natural), Estimate(0.1, 0.2), 1000, 3)
    path = tmp_path / "proposal.json"
    Proposal(Mixture(natural), Estimate(0, 1), {}, decision=decision).write(path)
    out = tmp_path / "x.json"
    printed = call("export", path, "-f", "json", "-o", out)
    assert "Decision  stay with the natural mixture" in printed
    assert json.loads(out.read_text())["token_ratios"] == natural
    printed = call("export", path, "-f", "json", "-o", out, "--candidate")
    assert "Decision  the candidate, although: stay with" in printed
    written = json.loads(out.read_text())
    assert written["token_ratios"] == ratios
    assert written["verdict"].startswith(
        "this is the best other mixture, not the advised one: stay"
    )
    call("export", path, "-f", "torchtitan", "-o", out, "--candidate", "--path", "/d/{domain}")
    assert "Not advised: this is the best other mixture" in out.read_text()
    call("export", path, "-f", "torchtitan", "-o", out, "--path", "/d/{domain}")
    assert "Not advised" not in out.read_text()


def test_a_plan_without_decision_has_no_candidate(proposal):
    printed = call("export", proposal, "-f", "json", "--candidate", code=2)
    assert "has none, so leave it out" in printed
