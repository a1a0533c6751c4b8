"""docs/fields.md, docs/commands.md and the options of trainers list all that there is."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import click
import pytest
from pydantic import BaseModel

from mixopt.cli.main import VERBS, main
from mixopt.config.constraints import ProposalConfig
from mixopt.config.study import StudyConfig
from mixopt.exporters.export import FORMATS, find_format

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def reference():
    return SimpleNamespace(**runpy.run_path(str(DOCS / "write_reference.py")))


@pytest.mark.parametrize("name", ["fields", "commands"])
def test_lists_are_as_they_are_written(name, reference):
    written = getattr(reference, f"list_{name}")()
    assert (DOCS / f"{name}.md").read_text() == written, "run python docs/write_reference.py"


def models_in(annotation):
    """The config models that a type names, and those that their fields name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for name, field in annotation.model_fields.items():
            if name != "bucket":  # set by mixopt itself
                yield from models_in(field.annotation)
    for part in get_args(annotation):
        yield from models_in(part)


def test_every_field_of_a_study_and_a_recipe_is_listed_in_a_section(reference):
    listed = {model for _, _, model in reference.SECTIONS}
    page = (DOCS / "fields.md").read_text()
    models = {*models_in(StudyConfig), *models_in(ProposalConfig)}
    assert len(models) > 30
    for model in models:
        left = reference.own_fields(model, listed - {model})
        assert model in listed or not left, f"{model.__name__} has no section"
        for name in model.model_fields.keys() - reference.INTERNAL - {"kind"}:
            assert f"- `{name}`" in page, f"{model.__name__}.{name}"


def test_a_section_of_several_kinds_shows_the_one_that_it_has_by_default():
    page = (DOCS / "fields.md").read_text()
    assert "- `executor` [`local`]: " in page
    assert "- `search`: " in page  # has the defaults of its section
    assert "is empty then, or has the defaults of its section." in " ".join(page.split())


def test_options_of_propose_say_what_they_are_for_a_table():
    page = (DOCS / "commands.md").read_text()
    of_propose = page.split("## `mixopt propose [STUDY]`")[1].split("\n## ")[0]
    assert "mixopt-runs/NAME for a STUDY; a table is only printed]" in of_propose
    assert "that of a table's draws. [table: 0]" in of_propose
    assert "`validate`), and `propose` with STUDY, has:" in page
    assert "(not the study's budget)" in page.split("## `mixopt export")[1].split("\n## ")[0]


def test_a_flag_that_may_have_a_value_shows_its_values():
    assert "- `--explore` [true|false]: Let proposals" in (DOCS / "commands.md").read_text()


def test_every_option_says_what_it_does():
    page = (DOCS / "commands.md").read_text()
    for name in VERBS:
        for option in main.get_command(None, name).params:
            if isinstance(option, click.Option):
                assert option.help, f"mixopt {name} {option.opts[0]}"
                assert f"`{option.opts[-1]}`" in page


def test_every_option_of_a_format_is_on_the_page_of_trainers():
    page = (DOCS / "how-to" / "trainers.md").read_text()
    rows = dict(re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| (`.+) \|$", page, re.M))
    named = {
        name: set(re.findall(r"`(\w+)`", options))
        for names, options in rows.items()
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    options = {name: set(find_format(name).options) for name in FORMATS}
    assert named == {name: known for name, known in options.items() if known}
