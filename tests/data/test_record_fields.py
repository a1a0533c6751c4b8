import hashlib
import json

import pandas as pd
import pytest
import toy

from mixopt.config.text import FilesTextConfig, HubTextConfig
from mixopt.data.corpus import fingerprint_text
from mixopt.data.record_fields import join_messages, matches
from mixopt.data.sources import read_documents
from mixopt.errors import DataError

ROWS = [
    {
        "data": {"text": f"document {i}"},
        "meta": {"source": "web" if i % 3 else "code", "repo": str(i // 2), "stars": i % 4},
    }
    for i in range(24)
]
WEB = [row["data"]["text"] for row in ROWS if row["meta"]["source"] == "web"]


def documents(path, **more):
    return list(read_documents(FilesTextConfig(paths=[str(path)], **more)))


@pytest.fixture(params=["a.jsonl", "a.json", "a.parquet"])
def nested(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        toy.write_jsonl(path, ROWS)
    return path


def test_fields_of_fields_are_the_text_and_the_group(nested):
    found = documents(nested, field="data.text", group="meta.repo")
    assert [d.text for d in found] == [row["data"]["text"] for row in ROWS]
    assert [d.group for d in found] == [row["meta"]["repo"] for row in ROWS]


def test_one_file_holds_several_domains(nested):
    found = documents(nested, field="data.text", where={"meta.source": "web"})
    assert [d.text for d in found] == WEB
    found = documents(nested, field="data.text", where={"meta.source": "web", "meta.stars": [1, 2]})
    expected = [r["data"]["text"] for r in ROWS
                if r["meta"]["source"] == "web" and r["meta"]["stars"] in (1, 2)]  # fmt: skip
    assert [d.text for d in found] == expected
    assert 0 < len(expected) < len(WEB)


def test_datasets_have_conditions_too(tmp_path):
    pytest.importorskip("datasets", reason="the hub extra is not installed")
    toy.write_jsonl(tmp_path / "set" / "train.jsonl", ROWS)
    source = HubTextConfig(
        kind="huggingface",
        path=str(tmp_path / "set"),
        field="data.text",
        where={"meta.source": "web"},
    )
    assert [d.text for d in read_documents(source)] == WEB


def test_what_is_not_there_is_said(nested, tmp_path):
    with pytest.raises(DataError, match=r"meta\.source"):
        documents(nested, field="data.text", group="meta.sorce")
    with pytest.raises(
        DataError, match="No record of the text matches where: {'meta.source': 'wep'}"
    ):
        documents(nested, field="data.text", where={"meta.source": "wep"})
    (tmp_path / "a.txt").write_text("plain")
    with pytest.raises(DataError, match="plain text without fields; take `where` out"):
        documents(tmp_path / "a.txt", where={"x": "y"})


def test_a_field_with_dots_in_its_name_goes_first(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", [{"a.b": "flat", "a": {"b": "nested"}}])
    assert [d.text for d in documents(path, field="a.b")] == ["flat"]


CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]


def test_chat_messages_are_joined(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", [{"messages": CHAT}])
    assert [d.text for d in documents(path, field="messages")] == ["Why?\n\nBecause."]
    pd.DataFrame([{"messages": CHAT}]).to_parquet(tmp_path / "a.parquet")
    assert [d.text for d in documents(tmp_path / "a.parquet", field="messages")] == [
        "Why?\n\nBecause."
    ]


@pytest.mark.parametrize(
    ("value", "joined"),
    [
        ([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "a\n\nb"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "a"),
        (["a", "b"], None),
        ([{"text": "a"}], None),
        ([{"role": "user", "content": 3}], None),
        ([], None),
        ("a", None),
    ],
)
def test_messages_of_other_layouts(value, joined):
    assert join_messages(value) == joined


def test_keys_of_texts_without_conditions_did_not_change(tmp_path):
    """The form that was hashed before conditions existed, written out."""
    path = toy.write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    config = '{"part":"all","heldout_share":0.1,"kind":"files","field":"text","group":null}'
    content = hashlib.blake2b(path.read_bytes()).hexdigest()[:32]
    expected = hashlib.blake2b(f"{config}.jsonl {content} ".encode(), digest_size=16).hexdigest()
    assert fingerprint_text(FilesTextConfig(paths=[str(path)])) == expected
    chosen = FilesTextConfig(paths=[str(path)], where={"text": "x"})
    assert fingerprint_text(chosen) != expected


ALPACA = [
    {"instruction": f"Do {i}.", "input": f"It is {i}." if i % 2 else "", "output": f"Done {i}."}
    for i in range(6)
]
JOINED = [f"Do {i}." + f"\n\nIt is {i}." * (i % 2) + f"\n\nDone {i}." for i in range(6)]
FIELDS = ["instruction", "input", "output"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.parquet", "wrapped.json"])
def test_several_fields_are_joined(tmp_path, name):
    path = tmp_path / name
    if name == "a.csv":
        pd.DataFrame(ALPACA).to_csv(path, index=False)
    elif name == "a.parquet":
        pd.DataFrame(ALPACA).to_parquet(path)
    elif name == "a.jsonl":
        toy.write_jsonl(path, ALPACA)
    else:
        path.write_text(json.dumps({"data": ALPACA} if "wrapped" in name else ALPACA))
    assert [d.text for d in documents(path, field=FIELDS)] == JOINED
    assert [d.text for d in documents(path, field=["output"])] == [r["output"] for r in ALPACA]


def test_a_record_may_lack_one_of_several_fields(tmp_path):
    rows = [{k: v for k, v in row.items() if v} for row in ALPACA]
    rows[1]["input"] = None
    path = toy.write_jsonl(tmp_path / "a.jsonl", rows)
    assert [d.text for d in documents(path, field=FIELDS)] == [
        JOINED[0], "Do 1.\n\nDone 1.", *JOINED[2:]
    ]  # fmt: skip


def test_a_field_that_no_record_has_is_named(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", ALPACA)
    with pytest.raises(DataError, match=r"no field 'inptu'. Did you mean 'input'"):
        documents(path, field=["instruction", "inptu", "output"])
    path = toy.write_jsonl(tmp_path / "long.jsonl", ALPACA * 50)
    with pytest.raises(DataError, match=r"line 100 has no field 'inptu'"):
        documents(path, field=["instruction", "inptu", "output"])
    with pytest.raises(DataError, match=r"line 1 has no field 'a'"):
        documents(path, field=["b", "a"])


PLAIN = [{"text": f"document {i}", "page": i} for i in range(5)]


@pytest.mark.parametrize(
    "content",
    [
        {"data": PLAIN},
        {"version": "1.0", "tags": [{"name": "x"}], "data": PLAIN, "count": 5},
        {row["text"]: row for row in PLAIN},
        [{"split": "train", "rows": PLAIN[:3]}, {"split": "test", "rows": PLAIN[3:]}],
        [*PLAIN[:2], {"rows": PLAIN[2:]}],
    ],
)
def test_objects_that_wrap_records_are_opened(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content, indent=1))
    expected = [row["text"] for row in PLAIN]
    assert [d.text for d in documents(tmp_path / "a.json")] == expected
    assert [d.group for d in documents(tmp_path / "a.json", group="page")] == list("01234")
    toy.write_jsonl(tmp_path / "a.jsonl", content if isinstance(content, list) else [content])
    assert [d.text for d in documents(tmp_path / "a.jsonl")] == expected


def test_records_of_a_wrapper_may_be_chats_or_nested(tmp_path):
    wrapped = {"rows": [{"row_idx": 0, "row": {"text": "x"}}, {"row_idx": 1, "row": {"text": "y"}}]}
    (tmp_path / "a.json").write_text(json.dumps(wrapped))
    assert [d.text for d in documents(tmp_path / "a.json", field="row.text")] == ["x", "y"]
    (tmp_path / "b.json").write_text(json.dumps({"data": [{"messages": CHAT}] * 2}))
    assert len(documents(tmp_path / "b.json", field="messages")) == 2
    (tmp_path / "c.json").write_text(json.dumps({"messages": CHAT}))
    assert len(documents(tmp_path / "c.json", field="messages")) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"a": PLAIN, "b": PLAIN},  # which of the two?
        {"data": [*PLAIN, {"txt": "x"}]},
        {"data": []},
        {"prompt": {"text": "x"}, "answer": 3},
    ],
)
def test_an_object_that_wraps_no_records_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="record 1 has no field 'text'"):
        documents(tmp_path / "a.json")


def turns(content):
    return [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}]


@pytest.mark.parametrize(
    ("value", "joined"),
    [
        (turns(["a", "b"]), "a\nb\n\nYes."),
        (turns([{"type": "text", "text": {"value": "a"}}]), "a\n\nYes."),
        (turns([{"type": "text", "content": "a"}, {"type": "image_url"}]), "a\n\nYes."),
        (turns([3]), None),
        ([{"role": "user", "text": "a"}, {"role": "bot", "text": "b"}], "a\n\nb"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{}]}], "a"),
        ([{"role": "user"}], None),
        (json.dumps(turns("a")), "a\n\nYes."),
        ('[{"role": half', None),
        (json.dumps([{"role": "admin", "name": "Alice"}, {"role": "user", "name": "Bo"}]), None),
    ],
)
def test_parts_and_calls_of_messages(value, joined):
    """Parts that are texts, or hold an object with one, were left out without a word."""
    assert join_messages(value) == joined


def test_metadata_that_is_text_of_json(tmp_path):
    rows = [{"text": f"t{i}", "meta": json.dumps({"source": "web" if i % 2 else "code", "n": 1.0})}
            for i in range(6)]  # fmt: skip
    path = toy.write_jsonl(tmp_path / "a.jsonl", rows)
    found = documents(path, where={"meta.source": "web", "meta.n": 1}, group="meta.source")
    assert [(d.text, d.group) for d in found] == [("t1", "web"), ("t3", "web"), ("t5", "web")]
    with pytest.raises(DataError, match="has no field 'meta.other'"):
        documents(path, group="meta.other")


def test_a_record_without_text_is_an_empty_document(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", [{"text": None}, {"text": []}, {"text": "x"}])
    assert [d.text for d in documents(path)] == ["", "", "x"]


@pytest.mark.parametrize(
    ("value", "wanted", "is_match"),
    [
        ("true", True, True),
        ("TRUE", True, True),
        ("false", True, False),
        ("1", True, False),
        (True, True, True),
        ("2020.0", 2020, True),
        ("2020", 2020.0, True),
        ("2020.5", 2020, False),
        ("year", 2020, False),
        (None, False, False),
        ("2020.0", "2020", False),
        ("x", ["y", "x"], True),
    ],
)
def test_truth_and_numbers_may_be_text_as_in_csv(value, wanted, is_match):
    assert matches({"a": value}, {"a": wanted}) == is_match
