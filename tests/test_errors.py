import inspect
import re
import tomllib
from pathlib import Path

import pytest

import mixopt.errors as errors


def test_every_error_is_in_the_drawn_tree_with_its_exit_code():
    tree = errors.__doc__
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if error.__module__ != errors.__name__:
            continue
        assert name in tree
        assert error.exit_code == (2 if issubclass(error, errors.UserError) else 1)


def test_did_you_mean():
    assert errors.did_you_mean("cod", ["code", "web"]) == "Did you mean 'code'?"
    assert errors.did_you_mean("zzz", ["code", "web"]) == "Known: code, web."


def test_an_extra_that_is_missing_is_named_with_its_command(monkeypatch):
    errors.require_extra("ray", "json")
    monkeypatch.setitem(errors.EXTRAS, "ray", ("json", "no_such_package"))
    with pytest.raises(errors.MissingExtraError) as caught:
        errors.require_extra("ray")
    assert str(caught.value) == "This needs no_such_package; run: pip install 'mixopt[ray]'"


def test_a_failed_import_is_explained_where_an_extra_has_the_package():
    missing = ModuleNotFoundError("No module named 'peft.tuners'", name="peft.tuners")
    assert "mixopt[train]" in str(errors.explain_missing_extra(missing))
    for other in (
        ModuleNotFoundError("x", name="xyz"),
        ModuleNotFoundError("x"),
        KeyError("torch"),
    ):
        assert errors.explain_missing_extra(other) is other


def test_extras_are_those_of_the_package():
    pyproject = Path(errors.__file__).parent.parent / "pyproject.toml"
    extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    assert set(extras) == set(errors.EXTRAS) | {"all", "dev"}
    for extra, packages in errors.EXTRAS.items():
        installed = {re.split(r"[<>=\\[]", named)[0].replace("-", "_") for named in extras[extra]}
        assert set(packages) <= installed
        assert installed - set(packages) - {"mixopt", "filelock"} == set()
