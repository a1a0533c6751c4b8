"""What the README shows is run: its Python as it stands, its shell commands down to every option."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import toy

from mixopt import Estimate, Mixture, Proposal
from mixopt.cli import main

README = (Path(__file__).parent.parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run_block(marker, tmp_path, monkeypatch, replace=()):
    code = next(block for block in blocks("python") if marker in block)
    for old, new in replace:
        assert old in code
        code = code.replace(old, new)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    return scope


def test_study_in_python(tmp_path, monkeypatch, capsys):
    path = toy.write_study(tmp_path, search={"rounds": [7]})
    scope = run_block("Study.load", tmp_path, monkeypatch, [('"quickstart"', repr(str(path)))])
    assert sum(scope["proposal"].ratios.values()) == pytest.approx(1)
    assert "natural mixture" in capsys.readouterr().out


def test_tables_in_python(tmp_path, monkeypatch):
    share = [i / 11 for i in range(12)]
    pd.DataFrame({"run": range(12), "code": share, "web": [1 - s for s in share]}).to_csv(
        tmp_path / "ratios.csv", index=False
    )
    pd.DataFrame({"run": range(12), "loss": [(s - 0.7) ** 2 for s in share]}).to_csv(
        tmp_path / "metrics.csv", index=False
    )
    scope = run_block("read_trials", tmp_path, monkeypatch)
    assert 0.3 < scope["proposals"][0].ratios["code"] <= 0.4 + 1e-9


def test_export_in_python(tmp_path, monkeypatch):
    proposal = Proposal(Mixture({"code": 0.4, "web": 0.6}), Estimate(0, 0), {})
    (tmp_path / "p.json").write_text(proposal.to_json())
    run_block(
        "mixopt.export(", tmp_path, monkeypatch,
        [('"mixopt-runs/quickstart/proposal.json"', '"p.json"')],
    )  # fmt: skip
    assert (
        tmp_path / "blend.txt"
    ).read_text() == "0.4 /data/code_text_document 0.6 /data/web_text_document\n"


def test_every_shell_command_and_option_exists():
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    ours = [shlex.split(line, comments=True) for line in lines if line.startswith("mixopt ")]
    assert len(ours) >= 4
    for words in ours:
        command = main.commands[words[1]]
        options = {name for parameter in command.params for name in parameter.opts}
        for word in words[2:]:
            if word.startswith("-"):
                assert word in options, (words[1], word)


def test_links_lead_somewhere():
    root = Path(__file__).parent.parent.parent
    for page in [root / "README.md", *root.glob("docs/*.md"), root / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
