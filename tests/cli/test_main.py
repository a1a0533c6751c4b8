import subprocess
import sys
from pathlib import Path

import pytest
import toy
from calling import ENV, call

import mixopt.cli
from mixopt.cli.main import VERBS


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
        (("propose", "quickstart", "-n", "3"), "--proposals goes with tables"),
        (
            ("propose", "3", "-q", "--runs", "none.csv"),
            "-q prints less and takes no number; give -n 3",
        ),
        (("run", "quickstart", "--seed", "-1"), "Invalid value for '--seed'"),
        (("nonsense",), "No such command"),
        (("design", "-n", "3"), "Give two --domains or more"),
        (("design", "--domains", "a,b"), "Give -n"),
        (("design", "--advise"), "needs the runs so far"),
    ],
)
def test_the_user_s_mistakes_end_with_a_sentence_and_code_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    printed = call(*arguments, code=2)
    assert words in printed
    assert "Traceback" not in printed


def test_our_mistakes_end_with_code_1_and_no_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("mixopt.proposal.Proposal.read", lambda path: 1 / 0)
    printed = call("export", tmp_path / "x", "-f", "json", code=1)
    assert "internal error (ZeroDivisionError" in printed
    assert "Traceback" not in printed


def test_a_full_disk_is_told_with_code_1(tables, tmp_path, monkeypatch):
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fdopen", full)
    printed = call(
        "propose", "--ratios", *[tables[0]], "--metrics", tables[1], "-o", tmp_path / "o", code=1
    )
    assert "disk is full" in printed
    assert list((tmp_path / "o").iterdir()) == []


def test_help_names_every_verb():
    printed = call("--help")
    for verb in ("run", "train", "search", "propose", "validate", "export", "init", "design"):
        assert f"\n  {verb} " in printed


def test_bad_study_from_the_shell_as_a_user_sees_it(tmp_path):
    study = toy.write_study(tmp_path, serch={})
    done = subprocess.run(
        [sys.executable, "-m", "mixopt", "run", str(study), "--no-track"],
        capture_output=True, text=True, cwd=tmp_path, env=ENV, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'search'" in done.stderr


def test_help_loads_no_library_of_a_verb():
    heavy = "torch transformers mlflow numpy pandas scipy sklearn pydantic yaml rich"
    code = f"""
import sys
from click.testing import CliRunner
from mixopt.cli.main import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
print([name for name in {heavy.split()} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_of_a_verb_is_in_the_table():
    shared = {
        "__init__",
        "__main__",
        "main",
        "more_runs",
        "options",
        "output",
        "start",
        "table_options",
    }
    modules = {path.stem for path in Path(mixopt.cli.__file__).parent.glob("*.py")}
    verbs = {verb.replace("-", "_") for verb in VERBS} - {"pack", "unpack"} | {"archive"}
    assert verbs == modules - shared


def test_a_missing_package_of_an_extra_is_named_with_the_command(monkeypatch, tmp_path):
    def missing(path):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("mixopt.proposal.Proposal.read", missing)
    printed = call("export", tmp_path / "x", "-f", "json", code=2)
    assert printed == "mixopt: This needs torch; run: pip install 'mixopt[train]'\n"


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_no_password_reaches_the_terminal(monkeypatch, tmp_path, verbose):
    url = "http://me:secret@host/x"

    def fail(path):
        try:
            raise ValueError(f"no answer from {url}")
        except ValueError as error:
            raise RuntimeError(f"{url}?token=abcdef failed") from error

    monkeypatch.setattr("mixopt.schedule.Proposal.read", fail)
    (tmp_path / "x").write_text('{"predicted": {}}')
    printed = call(*verbose, "export", tmp_path / "x", "-f", "json", code=1)
    assert "http://host/x?token=***" in printed
    assert "secret" not in printed
    assert "token=abcdef failed" not in printed.replace("{url}?token=abcdef failed", "")
    printed = call("init", tmp_path / "y", "-d", url, code=2)
    assert "'http://host/x' is not" in printed


def test_a_closed_pipe_is_one_sentence(tmp_path):
    program = (
        "import os, sys\n"
        "from mixopt.cli.main import main\n"
        "import mixopt.proposal, click\n"
        "def talk(path):\n"
        "    sys.stdin.read()\n"
        "    for _ in range(100_000):\n"
        "        click.echo('a line of output')\n"
        "mixopt.proposal.Proposal.read = talk\n"
        "main(['export', sys.argv[1], '-f', 'json'])\n"
    )
    (tmp_path / "x").write_text('{"predicted": {}}')
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "x"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate("go", timeout=300)
    assert process.returncode == 1
    assert errors == (
        "mixopt: its output was closed (`| head`, say), so it stopped; finished work is kept, "
        "run again to continue.\n"
    )


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_too_little_memory_is_one_sentence(monkeypatch, tmp_path, error):
    def fail(path):
        raise error

    monkeypatch.setattr("mixopt.proposal.Proposal.read", fail)
    (tmp_path / "x").write_text('{"predicted": {}}')
    assert "too little memory" in call("export", tmp_path / "x", "-f", "json", code=1)
