import sys
from pathlib import Path

import click
import pytest
import toy
from calling import call
from click.testing import CliRunner

from mixopt.cli.options import TokenCount, _parse_folders, _repeat, parse_pairs, study_options


def test_pairs_name_each_thing_once():
    assert parse_pairs(["a=1", "b=x=y"], "--o", "NAME=VALUE") == {"a": "1", "b": "x=y"}
    for pairs, words in (
        (["a"], "as NAME=VALUE"),
        (["=1"], "as NAME=VALUE"),
        (["a=1", "a=2"], "twice"),
    ):
        with pytest.raises(click.UsageError, match=words):
            parse_pairs(pairs, "--o", "NAME=VALUE")


def test_a_folder_s_name_is_its_domain_unless_one_is_given(tmp_path):
    odd = tmp_path / "a=b"
    odd.mkdir()
    given = _parse_folders([f"{tmp_path}/web", "code=/x/y", str(odd)])
    assert given == {"web": tmp_path / "web", "code": Path("/x/y"), "a=b": odd}
    with pytest.raises(click.UsageError, match="'web' twice"):
        _parse_folders(["x/web", "web=y"])


@pytest.mark.parametrize(("given", "words"), [
    ((), "a.yaml"),
    (("-o", "my runs", "--seed", "3"), "a.yaml -o 'my runs' --seed 3"),
    (("--output", "", "--device", "auto"), "a.yaml"),  # as entry points of MLflow give them
    (("--no-track", "--run-code", "--experts", "a=x", "--experts", "b=y"),
     "a.yaml --no-track --experts a=x --experts b=y --run-code"),
    (("--budget-tokens", "500"), "a.yaml --budget-tokens 500"),
])  # fmt: skip
def test_the_next_command_repeats_what_the_study_needs(given, words):
    @click.command()
    @study_options
    def verb(study, **_):
        click.echo(_repeat(study))

    assert CliRunner().invoke(verb, ["a.yaml", *given]).output == f"{words}\n"


@pytest.mark.parametrize("verb", ["plan", "preview", "status", "buckets"])
def test_verbs_that_only_look_at_a_study_have_no_option_to_log(verb):
    for option in ("--track", "--no-track"):
        assert "No such option" in call(verb, "a.yaml", option, code=2)
    assert "track" not in call(verb, "--help")


def test_the_help_of_run_code_names_all_code_that_it_lets_run():
    printed = " ".join(call("run", "--help").split())
    for words in ("code that models write", "code that the study names (formats, harness tasks)"):
        assert words in printed


def test_options_of_a_study_are_refused_with_a_table(tables):
    for option in (("--experts", "web=x"), ("--run-code",), ("--budget-tokens", "5")):
        printed = call("propose", "--ratios", tables[0], "--metrics", tables[1], *option, code=2)
        assert f"so {option[0]} would do nothing; leave it out" in printed


@pytest.fixture
def without_mlflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)


@pytest.mark.usefixtures("without_mlflow")
def test_tracking_that_is_asked_for_needs_mlflow(tables, tmp_path):
    study = toy.write_study(tmp_path)
    table = ("propose", "--ratios", tables[0], "--metrics", tables[1])
    for command in (("train", study), table):
        printed = call(*command, "--track", code=2)
        assert printed == "mixopt: This needs mlflow; run: pip install 'mixopt[mlflow]'\n"
    assert "mixopt[mlflow]" in call("propose", "--mlflow", "swarm", code=2)


@pytest.mark.usefixtures("without_mlflow")
def test_by_default_a_study_is_not_tracked_without_mlflow(tmp_path, caplog):
    (tmp_path / "x.yaml").write_text("name: x\n")
    assert "is missing" in call("train", tmp_path / "x.yaml", code=2)
    assert caplog.text.count("nothing is tracked") == 1


@pytest.mark.usefixtures("without_mlflow")
def test_a_table_inside_an_mlflow_run_is_proposed_from_without_mlflow(tables, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert "likely to be better" in call("propose", "--ratios", tables[0], "--metrics", tables[1])
    assert caplog.text.count("nothing is tracked") == 1


def test_tokens_from_the_shell():
    tokens = TokenCount(min=1)
    assert tokens.convert("1e9", None, None) == tokens.convert(10**9, None, None) == 10**9
    with pytest.raises(click.BadParameter, match="'10B': write 10_000_000_000 or 1e10"):
        tokens.convert("10B", None, None)
    with pytest.raises(click.BadParameter, match="not a valid integer"):
        tokens.convert("many", None, None)
