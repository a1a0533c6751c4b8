import inspect
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mixopt.errors as errors
from mixopt.errors import UserError, require_count, require_number


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
        # its name on PyPI and the one it is imported by
        installed = {"ot" if name == "pot" else name for name in installed}
        assert set(packages) <= installed
        assert installed - set(packages) - {"mixopt", "filelock"} == set()
        # a verb on a study needs torch, whatever else it needs; tables and MLflow need none
        assert ("mixopt[train]" in extras[extra]) == (extra not in ("train", "mlflow"))


@pytest.mark.parametrize(("text", "hidden"), [
    ("https://me:secret@tracking.org/x", "https://tracking.org/x"),
    ("https://token@tracking.org/x", "https://tracking.org/x"),
    ("no answer from http://me:p@ss@host:5000/api, twice", "no answer from http://host:5000/api, twice"),
    ("'http://me:p'w@host/'", "'http://host/'"),
    ("postgresql+psycopg2://me:p/w#x@db:5432/m", "postgresql+psycopg2://db:5432/m"),
    ("http://host/a?token=abc&x=1", "http://host/a?token=***&x=1"),
    ("/api?x=1&access_token=abc (Caused by", "/api?x=1&access_token=*** (Caused by"),
    ("s3://b/k?X-Amz-Signature=ab&X-Amz-Credential=cd", "s3://b/k?X-Amz-Signature=***&X-Amz-Credential=***"),
    ("mssql://h/?odbc_connect=PWD%3Dabc", "mssql://h/?odbc_connect=***"),
    ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': '***'}"),
])  # fmt: skip
def test_credentials_are_hidden(text, hidden):
    assert errors.hide_credentials(text) == hidden
    assert str(errors.RunError(text)) == hidden
    assert errors.one_line(ValueError(text)) == hidden


@pytest.mark.parametrize("text", [
    "sqlite:////a/b@c.db", "http://host:8080/a/b@c", "http://[::1]:8080/a@b", "me@host: 3 = 4",
    "https://github.com/a/b.git@v1", "training.tokens was 4000; the key = 3", "http://host:8080",
])  # fmt: skip
def test_what_holds_no_credentials_stays(text):
    assert errors.hide_credentials(text) == text


def test_a_message_is_cut_after_its_credentials_are_hidden():
    """Cut before, the password would lose the @ by which it is known."""
    message = errors.one_line(ValueError(f"https://me:{'secret' * 20}@host/{'x' * 500}"), 40)
    assert message.startswith("https://host/xxx")


def test_long_texts_are_searched_in_little_time():
    for part in ("://a:b", "?key", "://" + "@" * 9):
        errors.hide_credentials(part * 20_000)


def test_counts_are_whole_numbers_of_at_least_something():
    assert [require_count("q", value, 1) for value in (1, np.int64(3))] == [1, 3]
    assert type(require_count("q", np.int64(3), 1)) is int
    for value, words in ((0, "q is 0; give a whole number of at least 1"),
                         (2.0, "q is 2.0; give a whole"), ("2", "q is '2'; give a whole"),
                         ([2], "q is a list; give a whole")):  # fmt: skip
        with pytest.raises(UserError, match=words) as raised:
            require_count("q", value, 1)
        assert isinstance(raised.value, TypeError) == (value != 0)


def test_numbers_are_finite_and_no_text():
    assert [require_number("x", value) for value in (1, 0.5, np.float32(2))] == [1, 0.5, 2]
    for value, words in ((float("nan"), "x is nan; give a finite"), (10**400, "x is inf; give a finite"),
                         ("2", "x is '2'; give a number"), (None, "x is a NoneType; give a number"),
                         ([1], "x is a list")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            require_number("x", value)
