import importlib
import json
import random

import toy
from calling import call

from mixopt.config.loader import load_benchmark, load_study


def test_text_is_found_and_used_as_a_capability(tmp_path):
    rng = random.Random(0)
    rows = [{"prompt": toy.text("birds", rng, 12), "target": " owl"} for _ in range(12)]
    toy.write_jsonl(tmp_path / "items.jsonl", rows)
    (tmp_path / "quiz.yaml").write_text(
        "{name: quiz, kind: continuation, items: items.jsonl, capability: nature}"
    )
    texts = [{"text": toy.text(name, rng, 80)} for name in ("birds", "ships") for _ in range(20)]
    toy.write_jsonl(tmp_path / "corpus" / "all.jsonl", texts)
    printed = call("capability-text", tmp_path / "quiz.yaml", "--corpus", tmp_path / "corpus/*.jsonl",
                "--out", tmp_path / "nature.jsonl", "--texts", "10", "--concepts", "4")  # fmt: skip
    assert "10 of 40 pieces" in printed
    found = [json.loads(line) for line in (tmp_path / "nature.jsonl").read_text().splitlines()]
    birds = set(toy.WORDS["birds"]) - set(toy.WORDS["ships"])
    assert all(set(row["text"].split()) & birds for row in found)
    made = load_benchmark(tmp_path / "nature.yaml")
    assert (made.kind, made.capability, made.name) == ("bits_per_byte", "nature", "nature_text")
    study = toy.write_study(
        tmp_path / "study",
        capabilities={"nature": {"text": {"kind": "files", "paths": ["../nature.jsonl"]}}},
    )
    last = load_study(study).benchmarks[-1]
    assert (last.name, last.capability, last.role) == ("nature_text", "nature", "search")
    assert last.text.paths == [str(tmp_path / "nature.jsonl")]


def test_a_name_that_no_study_could_read_is_refused_before_the_search(tmp_path):
    (tmp_path / "quiz.yaml").write_text("{name: quiz, kind: continuation, items: none.jsonl}")
    given = ("capability-text", tmp_path / "quiz.yaml", "--corpus", "x", "--out")
    assert "give another --out, which ends in .jsonl" in call(
        *given, tmp_path / "o.jsonl.gz", code=2
    )
    printed = call(*given, tmp_path / "o.jsonl", "--capability", "reading comprehension", code=2)
    assert "'reading comprehension' is no name of a study" in printed


def test_what_is_no_benchmark_or_capability_is_one_sentence(tmp_path):
    (tmp_path / "quiz.yaml").write_text("{name: quiz, kind: continuation, itmes: x}")
    printed = call("capability-text", tmp_path / "quiz.yaml", "--corpus", "x",
                "--out", tmp_path / "o.jsonl", code=2)  # fmt: skip
    assert "continuation.items is missing" in printed
    study = toy.write_study(tmp_path / "study", capabilities=["nature"])
    printed = call("train", study, "--no-track", "-o", tmp_path / "out", code=2)
    assert "capabilities must be a mapping" in printed


def test_of_a_large_corpus_a_sample_is_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("mixopt.cli.capability_text"), "LARGEST_TOKENS", 3000
    )
    rng = random.Random(0)
    rows = [{"prompt": toy.text("birds", rng, 12), "target": " owl"} for _ in range(12)]
    toy.write_jsonl(tmp_path / "items.jsonl", rows)
    (tmp_path / "quiz.yaml").write_text("{name: quiz, kind: continuation, items: items.jsonl}")
    for number in range(6):
        name = ("birds", "ships")[number % 2]
        texts = [{"text": toy.text(name, rng, 80)} for _ in range(100)]
        toy.write_jsonl(tmp_path / "corpus" / f"{number}.jsonl", texts)
    printed = call("capability-text", tmp_path / "quiz.yaml", "--corpus", tmp_path / "corpus/*.jsonl",
                "--out", tmp_path / "nature.jsonl", "--texts", "10", "--concepts", "4")  # fmt: skip
    assert "Corpus    a sample spread over it, about 0M tokens" in printed
    n_pieces = int(printed.split(" pieces")[0].split()[-1])
    assert 10 < n_pieces < 150


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "quiz.yaml").write_text("{name: quiz, kind: continuation, items: items.jsonl}")
    for out in ("quiz.jsonl", "new.yaml"):
        printed = call("capability-text", tmp_path / "quiz.yaml", "--corpus", "x", "--out",
                       tmp_path / out, code=2)  # fmt: skip
        assert "give another --out" in printed
    assert "continuation" in (tmp_path / "quiz.yaml").read_text()
