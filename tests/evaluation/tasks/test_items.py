import json

import pandas as pd
import pytest
import toy
from machine import few_modules

from mixopt.config.benchmarks import (
    BitsPerByteConfig,
    BlankPerplexityConfig,
    ContinuationConfig,
    GenerationConfig,
    HarnessConfig,
    MultipleChoiceConfig,
)
from mixopt.config.text import FilesTextConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.items import list_fields, read_item_texts, read_items


def recipe(path, **more):
    return ContinuationConfig(name="c", kind="continuation", items=str(path), **more)


def choices(path, **more):
    return MultipleChoiceConfig(name="m", kind="multiple_choice", items=str(path), **more)


def test_parquet_gives_the_same_items(tmp_path):
    rows = [{"prompt": "a", "target": "b"}, {"prompt": "c", "target": "d"}]
    pd.DataFrame(rows).to_parquet(tmp_path / "c.parquet")
    items = read_items(recipe(tmp_path / "c.parquet"))
    assert [row for _, row in items] == rows


def test_max_items_takes_the_first(tmp_path):
    path = toy.write_jsonl(tmp_path / "c.jsonl", [{"target": str(i)} for i in range(9)])
    items = read_items(recipe(path, max_items=3, template="x"))
    assert [row["target"] for _, row in items] == ["0", "1", "2"]


def test_machine_items_are_there_and_unknown_ones_named():
    with few_modules():
        items = read_items(choices("machine:docstring_choice"))
    assert len(items) > 50
    with pytest.raises(DataError, match="Did you mean 'docstring_choice'"):
        read_items(choices("machine:docstring_choise"))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_items(recipe(tmp_path / "none.jsonl"))


def test_items_are_read_whole(tmp_path):
    rows = [{"prompt": "ask this", "choices": ["yes", "no"], "answer": 0}] * 3
    path = str(toy.write_jsonl(tmp_path / "m.jsonl", rows))
    config = MultipleChoiceConfig(name="m", kind="multiple_choice", items=path, max_items=2)
    assert read_item_texts(config) == ["ask this yes no "] * 2
    path = str(toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "a document"}] * 2))
    told = BitsPerByteConfig(name="t", kind="bits_per_byte", text=FilesTextConfig(paths=[path]))
    assert read_item_texts(told) == ["a document"] * 2
    # what is not scored is not searched for in training text
    cut = told.model_copy(update={"item_bytes": 5})
    assert read_item_texts(cut) == ["a doc"] * 2
    assert read_item_texts(HarnessConfig(name="h", kind="harness", task="arc_easy")) == []


ROWS = [{"prompt": f"a{i}", "target": f"b{i}"} for i in range(5)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", json.dumps(ROWS, indent=1)),
        ("c.json", json.dumps({"version": 1, "data": ROWS})),
        ("c.json", "\n".join(map(json.dumps, ROWS))),
        ("c.JSONL", "\n".join(map(json.dumps, ROWS))),
        ("c.csv", pd.DataFrame(ROWS).to_csv(index=False)),
        ("c.tsv", pd.DataFrame(ROWS).to_csv(index=False, sep="\t")),
    ],
)
def test_items_are_read_by_content(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    items = read_items(recipe(tmp_path / name))
    assert [row for _, row in items] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.txt", "a\nb\n", "is no file of items; give JSON lines"),
        ("c.arrow", "x", "an Arrow file"),
        ("c.xlsx", "x", "an Excel workbook; save it as CSV"),
        ("c.json", "[]", "has 0 items; at least 2"),
        ("c.json", "[1, 2]", "record 1 is not a JSON object"),
    ],
)
def test_files_of_another_format_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        read_items(recipe(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "says", "fields"),
    [
        (ContinuationConfig, {}, ["prompt", "target"]),
        (ContinuationConfig, {"prompt_field": "q", "target_field": "a"}, ["q", "a"]),
        (ContinuationConfig, {"template": "{{ q }}"}, ["target"]),
        (MultipleChoiceConfig, {"prompt_field": ""}, ["choices", "answer"]),
        (BlankPerplexityConfig, {}, ["choices", "answer", "statement"]),
        (BlankPerplexityConfig, {"prompt_field": "p", "template": "x"}, ["p", "choices", "answer"]),
        (GenerationConfig, {}, ["prompt", "target"]),
        (GenerationConfig, {"match": "tests"}, ["prompt"]),
        (GenerationConfig, {"match": "tests", "template": "{{ q }}"}, []),
    ],
)
def test_fields_that_items_need(config, says, fields):
    kind = config.model_fields["kind"].annotation.__args__[0]
    assert list_fields(config(name="c", kind=kind, items="x.jsonl", **says)) == fields


@pytest.mark.parametrize(
    "content",
    [{"version": "1", "data": ROWS}, {row["prompt"]: row for row in ROWS}],
    ids=["list", "by id"],
)
def test_texts_of_wrapped_items_are_those_of_the_items(tmp_path, content):
    """Contamination is looked for in the texts: without them none would be found."""
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert read_item_texts(recipe(tmp_path / "c.json")) == [f"a{i} b{i}" for i in range(5)]
    assert read_item_texts(recipe(tmp_path / "c.json", max_items=2)) == ["a0 b0", "a1 b1"]
