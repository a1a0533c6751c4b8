import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import toy
from click.testing import CliRunner

from mixopt.cli import main
from mixopt.loading import load_study
from mixopt.proposal import Proposal

ENV = {**os.environ, "PYTHONWARNINGS": "default"}


def call(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


@pytest.fixture
def tables(tmp_path):
    rows = [
        (0.9, 0.1),
        (0.8, 0.2),
        (0.7, 0.3),
        (0.5, 0.5),
        (0.4, 0.6),
        (0.3, 0.7),
        (0.1, 0.9),
        (0.6, 0.4),
    ]
    ratios = pd.DataFrame(rows, columns=["web", "code"])
    ratios.insert(0, "run", range(8))
    metrics = pd.DataFrame({"run": range(8), "val_loss": [(a - 0.6) ** 2 + 1 for a, _ in rows]})
    ratios.to_csv(tmp_path / "a.csv", index=False)
    metrics.to_csv(tmp_path / "b.csv", index=False)
    return tmp_path / "a.csv", tmp_path / "b.csv"


def test_propose_from_tables(tables, tmp_path):
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "out",
                "--upper", "web=0.55")  # fmt: skip
    assert "mean of the runs stands for the natural mixture" in told
    proposal = Proposal.read(tmp_path / "out" / "proposal.json")
    assert 0.4 < proposal.ratios["web"] <= 0.55 + 1e-9
    assert "natural mixture" in told


def test_export_of_a_proposal(tables, tmp_path):
    call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path)
    text = call("export", tmp_path / "proposal.json", "-f", "megatron", "-p", "/d/{domain}")
    parts = text.split()
    assert parts[1::2] == ["/d/web", "/d/code"]
    assert sum(map(float, parts[::2])) == pytest.approx(1)
    told = call("export", tmp_path / "proposal.json", "-f", "json", "-o", tmp_path / "x.json",
                "-p", "web=/w", "-p", "code=/c")  # fmt: skip
    assert "x.json" in told
    assert json.loads((tmp_path / "x.json").read_text())["paths"] == {"web": "/w", "code": "/c"}


def test_init_writes_a_study_that_runs_up_to_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])
    told = call(
        "init", tmp_path / "s", "-d", f"a={tmp_path}/t.jsonl", "-d", f"b={tmp_path}/t.jsonl"
    )
    assert "mixopt run" in told
    assert load_study(tmp_path / "s" / "study.yaml").domains == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "Study none.yaml does not exist"),
        (("propose",), "Give either STUDY, or a table"),
        (("propose", "--ratios", "none.csv", "--metrics", "none.csv"), "none.csv does not exist"),
        (("export", "none.json", "-f", "json"), "none.json does not exist"),
        (("init", "x", "-d", "only=one"), "two domains or more"),
        (("init", "x", "-d", "nonsense"), "NAME=GLOB"),
        (("init", "x", "-d", "../../up=a", "-d", "b=c"), "a name is letters"),
        (("init", "x", "-d", "a=1", "-d", "a=2"), "names 'a' twice"),
        (("propose", "quickstart", "--lower", "a=1"), "--lower goes with tables"),
        (("propose", "quickstart", "-q", "3"), "--proposals goes with tables"),
        (("run", "quickstart", "--seed", "-1"), "Invalid value for '--seed'"),
        (("nonsense",), "No such command"),
    ],
)
def test_the_user_s_mistakes_end_with_a_sentence_and_code_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = call(*arguments, code=2)
    assert words in told
    assert "Traceback" not in told


def test_our_mistakes_end_with_code_1_and_no_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("mixopt.proposal.Proposal.read", lambda path: 1 / 0)
    told = call("export", tmp_path / "x", "-f", "json", code=1)
    assert "internal error (ZeroDivisionError" in told
    assert "Traceback" not in told


def test_a_full_disk_is_told_with_code_1(tables, tmp_path, monkeypatch):
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fdopen", full)
    told = call(
        "propose", "--ratios", *[tables[0]], "--metrics", tables[1], "-o", tmp_path / "o", code=1
    )
    assert "disk is full" in told
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("web: abc\n", "the ratio of 'web' is 'abc', not a number"),
        ("web: [1\n", "not valid YAML"),
        ("web: 0.2\ncode: 0.2\n", "sum to 0.4"),
        ("wob: 1.0\n", "'wob' is not one of"),
    ],
)
def test_natural_file_that_cannot_be_used(tables, tmp_path, content, words):
    (tmp_path / "n.yaml").write_text(content)
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--natural", tmp_path / "n.yaml", code=2)  # fmt: skip
    assert words in told
    assert told.count("\n") == 1


def test_output_that_is_a_file(tables, tmp_path):
    (tmp_path / "file").write_text("x")
    told = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "file", code=2
    )
    assert "cannot be written" in told
    assert (tmp_path / "file").read_text() == "x"


def test_damaged_proposals_are_told_in_one_sentence(tmp_path):
    path = tmp_path / "p.json"
    for content in ('{"ratios": [1, 2]}', "[]", '"x"', '{"ratios": {"a": 1}, "utility": 3}', "{"):
        path.write_text(content)
        told = call("export", path, "-f", "json", code=2)
        assert "not a proposal" in told
        assert told.count("\n") == 1


def test_direction_by_metric_from_the_shell(tables, tmp_path):
    metrics = pd.read_csv(tables[1]).rename(columns={"val_loss": "mystery"})
    metrics["mystery"] /= 100
    metrics.to_csv(tables[1], index=False)
    call("propose", "--ratios", tables[0], "--metrics", tables[1], code=2)
    told = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "--better", "mystery=lower"
    )
    assert "Proposal" in told


def test_help_names_every_verb():
    told = call("--help")
    for verb in ("run", "train", "search", "propose", "validate", "export", "init"):
        assert f"\n  {verb} " in told


def test_bad_study_from_the_shell_as_a_user_sees_it(tmp_path):
    study = toy.write_study(tmp_path, serch={})
    done = subprocess.run(
        [sys.executable, "-m", "mixopt.cli", "run", str(study), "--no-track"],
        capture_output=True, text=True, cwd=tmp_path, env=ENV, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'search'" in done.stderr
