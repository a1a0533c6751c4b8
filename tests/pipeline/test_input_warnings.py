import json

import pytest
import toy

from mixopt.config.benchmarks import BitsPerByteConfig, MultipleChoiceConfig
from mixopt.config.text import FilesTextConfig
from mixopt.data.corpus import fingerprint_text
from mixopt.data.sources import read_documents
from mixopt.pipeline.input_warnings import warn_of_inputs


def source(path, rows):
    return FilesTextConfig(paths=[str(toy.write_jsonl(path, [{"text": row} for row in rows]))])


def warn(texts, benchmarks=()):
    read = lambda name: read_documents(texts[name])  # noqa: E731
    return warn_of_inputs(read, {n: fingerprint_text(t) for n, t in texts.items()}, benchmarks)


def test_domains_of_identical_text(tmp_path):
    rows = ["one text", "another text"]
    texts = {name: source(tmp_path / f"{name}.jsonl", rows) for name in ("web", "copy")}
    texts["code"] = source(tmp_path / "code.jsonl", ["x = 1"])
    (sentence,) = warn(texts)
    assert sentence.startswith("Domains 'web' and 'copy' have the same text")


@pytest.mark.parametrize("text", ["\x00\x01\x02abc" * 20, "caf\ufffd" * 20])
def test_text_like_a_binary_file(tmp_path, text):
    (sentence,) = warn({"web": source(tmp_path / "a.jsonl", [text])})
    assert "The text of 'web' (" in sentence
    assert warn({"web": source(tmp_path / "b.jsonl", ["a\tcaf\u00e9\n" * 20])}) == []


def items(path, repeated):
    common = {"choices": ["a", "b"], "answer": 0}
    prompts = [f"q {0 if n < repeated else n}" for n in range(20)]
    rows = [{"id": f"i{n}", "prompt": prompt, **common} for n, prompt in enumerate(prompts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return MultipleChoiceConfig(name="quiz", kind="multiple_choice", items=str(path))


def test_one_item_under_many_ids(tmp_path):
    (sentence,) = warn({}, [items(tmp_path / "a.jsonl", 8)])
    assert sentence.startswith(
        "Benchmark 'quiz': 7 of 20 items repeat another one (one stands there 8 times)"
    )
    assert warn({}, [items(tmp_path / "b.jsonl", 2)]) == []


def test_one_document_many_times(tmp_path):
    text = source(tmp_path / "a.jsonl", ["same"] * 9 + ["other"])
    (sentence,) = warn({}, [BitsPerByteConfig(name="held", kind="bits_per_byte", text=text)])
    assert "8 of 10 items" in sentence
