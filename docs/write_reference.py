"""Write docs/fields.md from the config models, and docs/commands.md from the verbs.

python docs/write_reference.py
"""

import json
import textwrap
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mixopt.cli.main import VERBS, main
from mixopt.config import (
    benchmarks,
    buckets,
    constraints,
    executors,
    search,
    study,
    text,
    training,
)

DOCS = Path(__file__).parent
WIDTH = 118
NOTE = "<!-- Written by docs/write_reference.py; change the docstrings, not this page. -->\n"
INTERNAL = {"bucket", "value_field"}
"""Fields that mixopt sets itself."""

Section = tuple[str, str, type[BaseModel]]
SECTIONS: tuple[Section, ...] = (
    ("## A study", "The file that `mixopt run` reads. `experts` and `benchmarks` are files, globs or "
     "mappings in place. `capabilities: {NAME: {text: ...}}` adds a `bits_per_byte` benchmark of text "
     "about a capability.", study.StudyConfig),
    ("## `base`, `kind: build`", "", training.BuiltBaseConfig),
    ("## `base`, `kind: pretrained`", "Also `base` of a phase.", training.PretrainedBaseConfig),
    ("## `training`, and `base.training`", "Of every training.", training.TrainingConfig),
    ("## `training` alone", "Of experts and runs, beside the fields above.",
     training.ExpertTrainingConfig),
    ("### `training.lora`", "", training.LoraConfig),
    ("## A domain", "An entry of `experts`.", training.ExpertConfig),
    ("### `split`", "See [buckets](how-to/buckets.md).", buckets.TextSplitConfig),
    ("## `text`", "Of a domain or a `bits_per_byte` benchmark.", text.SplitTextConfig),
    ("### `kind: files` and `kind: huggingface`", "", text.RecordTextConfig),
    ("### `kind: files`", "", text.FilesTextConfig),
    ("### `kind: huggingface`", "", text.HubTextConfig),
    ("### `kind: tokens`", "", text.TokensTextConfig),
    ("### `kind: machine`", "Text that any machine with Python has, for demonstrations.",
     text.MachineTextConfig),
    ("## Benchmarks", "Of every kind; see [benchmarks](benchmarks.md).",
     benchmarks.CommonBenchmarkConfig),
    ("### `kind: bits_per_byte`", "", benchmarks.BitsPerByteConfig),
    ("### Kinds with items", "All but `bits_per_byte` and `harness`.", benchmarks.ItemsBenchmarkConfig),
    ("### `kind: continuation`", "", benchmarks.ContinuationConfig),
    ("### Kinds with choices", "`multiple_choice`, `choice_loss` and `blank_perplexity`.",
     benchmarks.ChoiceItemsConfig),
    ("### `kind: blank_perplexity`", "", benchmarks.BlankPerplexityConfig),
    ("### `kind: generation`", "", benchmarks.GenerationConfig),
    ("### `kind: harness`", "", benchmarks.HarnessConfig),
    ("## Limits on mixtures", "Of `search`, and of a recipe for a table.",
     constraints.SearchSpaceConfig),
    ("### An entry of `groups`", "", constraints.GroupConfig),
    ("### An entry of `inequalities`", "", constraints.InequalityConfig),
    ("## `search`", "Beside the limits on mixtures.", search.SearchConfig),
    ("## `target`", "", study.TargetConfig),
    ("## `budget`", "See [study files](study-files.md#a-budget).", study.BudgetConfig),
    ("## `validation`", "", study.ValidationConfig),
    ("## An entry of `phases`", "See [phases](how-to/phases.md).", study.PhaseConfig),
    ("## An entry of `exports`", "See [trainers](how-to/trainers.md).", study.ExportConfig),
    ("## `executor`", "A name, or a mapping with `kind` and fields of it. Of every kind:",
     executors.CommonExecutorConfig),
    ("### `kind: processes`", "", executors.ProcessesExecutorConfig),
    ("### `kind: ray`", "", executors.RayExecutorConfig),
    ("### `kind: slurm`", "", executors.SlurmExecutorConfig),
    ("## `tracking`", "", study.TrackingConfig),
    ("## Recipe of a proposal from a table", "The file that `mixopt propose --recipe` reads, beside the "
     "limits on mixtures; see [proposals](proposals.md).", constraints.ProposalConfig),
    ("### `no_worse`", "", constraints.OutcomeConstraintConfig),
    ("### `budget` of a recipe", "", constraints.BudgetConfig),
    ("### An entry of `error_laws`", "", constraints.LossToErrorConfig),
)  # fmt: skip
"""Heading, what it is about, and the model whose fields are listed there."""


def list_fields() -> str:
    """Return the page of all fields."""
    lines = [NOTE, "# Every field\n", *_wrap(
        "Fields of study files and of recipes, with their meaning. In brackets is the value where a "
        "field is left out, then others that it may have; a field without brackets may be left out and "
        "is empty then, or has the defaults of its section. [Study files](study-files.md) explains how "
        "they go together.", ""), ""
    ]  # fmt: skip
    listed = {model for _, _, model in SECTIONS}
    for heading, about, model in SECTIONS:
        lines += [heading, ""]
        if about:
            lines += [*_wrap(about, ""), ""]
        for name, field in own_fields(model, listed).items():
            lines += _wrap(f"- `{name}`{_default(field)}: {_plain(field.description)}", "  ")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def own_fields(model: type[BaseModel], listed: set[type[BaseModel]]) -> dict[str, FieldInfo]:
    """Return the fields of a model that no listed model that it extends has with the same meaning.

    Args:
        model: A config.
        listed: The models that have a section.
    """
    parents = [base for base in model.__mro__[1:] if base in listed]
    return {
        name: field
        for name, field in model.model_fields.items()
        if name not in INTERNAL
        and name != "kind"
        and not any(_is_same(field, parent.model_fields.get(name)) for parent in parents)
    }


def list_commands() -> str:
    """Return the page of all verbs with their options."""
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in VERBS}
    studies = [
        name
        for name in VERBS
        if any(p.name == "study" and p.required for p in commands[name].params)
    ]
    shown = {name: _options(command) for name, command in commands.items()}
    of_all = [line for line in shown["run"] if all(line in each for each in shown.values())]
    of_studies = [line for line in shown["run"] if all(line in shown[name] for name in studies)]
    of_studies = [line for line in of_studies if line not in of_all]
    lines = [NOTE, "# Every command\n", *_wrap(
        "Verbs of `mixopt` and their options; `mixopt VERB --help` prints them too. "
        "Every verb has:", ""), "", *of_all, ""]  # fmt: skip
    names = ", ".join(f"`{name}`" for name in studies)
    lines += [
        *_wrap(
            f"Beside these, every verb on a study ({names}), and `propose` with STUDY, has:", ""
        ),
        "",
    ]
    lines += [*of_studies, ""]
    for name, command in commands.items():
        arguments = " ".join(_argument(p) for p in command.params if isinstance(p, click.Argument))
        lines += [f"## `mixopt {name}{f' {arguments}' if arguments else ''}`", ""]
        for paragraph in (command.help or "").split("\n\n"):
            lines += [*_wrap(_plain(paragraph), ""), ""]
        skipped = {*of_all, *(of_studies if name in (*studies, "propose") else ())}
        own = [line for line in shown[name] if line not in skipped]
        lines += [*own, ""] if own else []
    return "\n".join(lines).rstrip() + "\n"


def _options(command: click.Command) -> list[str]:
    return [_option(param) for param in command.params if isinstance(param, click.Option)]


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    plain = "N" if isinstance(option.type, click.IntRange | click.FloatRange) else option.type.name
    value = "" if option.is_flag else f" {option.metavar or plain.upper()}"
    if option.metavar == "":  # a flag that may have a value
        value = " [true|false]"
    if isinstance(option.type, click.Choice):
        value = f" {'|'.join(option.type.choices)}"
    default = f" [default: {option.default}]" if option.show_default and not option.is_flag else ""
    required = " [required]" if option.required else ""
    help_text = _plain(option.help)
    return "\n".join(_wrap(f"- {names}{value}: {help_text}{default}{required}", "  "))


def _argument(argument: click.Argument) -> str:
    name = f"{argument.name or ''}{'...' if argument.nargs == -1 else ''}".upper()
    return name if argument.required else f"[{name}]"


def _is_same(field: FieldInfo, other: FieldInfo | None) -> bool:
    return other is not None and (field.default, field.description) == (
        other.default,
        other.description,
    )


def _default(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    others = [f"`{choice}`" for choice in choices if choice != field.default]
    if field.is_required():
        return f" [required{f': {_join(others)}' if others else ''}]"
    default = field.default
    if default is None:
        return f" [none; or {_join(others)}]" if others else ""
    if isinstance(default, BaseModel):  # of several kinds it is one, else a section with defaults
        return f" [`{default.kind}`]" if "kind" in type(default).model_fields else ""
    if default in ({}, []):
        return ""
    is_word = isinstance(default, str) and default and default.strip() == default
    shown = default if is_word else json.dumps(default)
    return f" [`{shown}`{f'; or {_join(others)}' if others else ''}]"


def _choices(annotation: Any) -> list[str]:
    found = []
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is not None and str(get_origin(part)) == "typing.Literal":
            for choice in get_args(part):
                found += get_args(choice) or [choice]
    return list(dict.fromkeys(found))


def _join(names: list[str]) -> str:
    return ", ".join(names)


def _plain(text: str | None) -> str:
    return " ".join((text or "").replace("\b", "").split())


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    (DOCS / "fields.md").write_text(list_fields(), encoding="utf-8")
    (DOCS / "commands.md").write_text(list_commands(), encoding="utf-8")
