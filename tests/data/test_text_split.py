import json
import math

import numpy as np
import pytest
from split_texts import ROWS, open_corpora

from mixopt.config.buckets import TextSplitConfig
from mixopt.data import study_corpora, text_split
from mixopt.data.study_corpora import StudyCorpora
from mixopt.data.text_split import LEFT_OUT, Edges
from mixopt.errors import DataError


def texts_by_domain(found):
    tokenizer, texts = found.tokenizer, {}
    for domain in found.buckets:
        corpus = found.open(domain)
        tokens = corpus.read(0, corpus.tokens)
        pieces = np.split(tokens, np.flatnonzero(tokens == tokenizer.eos_token_id) + 1)[:-1]
        texts[domain] = [tokenizer.decode(piece[:-1]) for piece in pieces]
    return texts


def test_buckets_have_the_documents_of_their_quantiles(tmp_path, monkeypatch):
    tokenized = []
    original = study_corpora.build_corpus
    monkeypatch.setattr(
        study_corpora, "build_corpus",
        lambda artifact, *rest: tokenized.append(artifact.name) or original(artifact, *rest),
    )  # fmt: skip
    found = open_corpora(tmp_path, {"by": "field", "field": "meta.score", "quantiles": [0.25, 0.5]})
    found.build()
    texts = texts_by_domain(found)
    whole = [row["text"] for row in ROWS]
    assert texts == {"birds:q1": whole[:10], "birds:q2": whole[10:20], "birds:q3": whole[20:40]}
    for domain, own in texts.items():
        assert [document.text for document in found.read(domain)] == own
        assert list(found.read_tokenized(domain)) == own
        assert found.counts[domain].documents == len(own)
        assert found.counts[domain].bytes == sum(len(text.encode()) for text in own)
    # of a bucket that is there nothing is read; the text was tokenized under its own name alone
    assert set(tokenized) == {"birds", "ships", "sums"}
    sizes = {name: found.counts[name].tokens for name in found.by_domain}
    assert found.natural == {
        name: pytest.approx(n / sum(sizes.values())) for name, n in sizes.items()
    }
    tokenized.clear()
    found.build()
    assert "birds" not in tokenized


def test_a_worker_knows_the_tokenizer_and_the_buckets(tmp_path):
    own = open_corpora(tmp_path, {"by": "length", "quantiles": [0.5]})
    own.build()
    sources = list(own.source_fingerprints.values())
    inputs = study_corpora.StudyInputs(own.fingerprints, own.counts, sources=sources)
    (tmp_path / "s" / "data" / "birds.jsonl").unlink()
    other = StudyCorpora(own._config, own._store, own._cache, inputs)
    assert other.tokenizer.get_vocab() == own.tokenizer.get_vocab()
    assert (other.open("birds:q2").read(0, 5) == own.open("birds:q2").read(0, 5)).all()


@pytest.mark.parametrize(("split", "expected"), [
    ({"by": "length", "quantiles": [0.5]}, lambda row: len(row["text"])),
    ({"by": "perplexity", "quantiles": [0.2], "reference": "x"},
     lambda row: sum(map(str.isdigit, row["text"]))),
])  # fmt: skip
def test_buckets_are_ordered_by_length_or_perplexity(tmp_path, split, expected):
    found = open_corpora(tmp_path, split)
    found.build()
    values = {text: expected({"text": text}) for text in (row["text"] for row in ROWS)}
    low, high = texts_by_domain(found).values()
    assert max(values[text] for text in low) < min(values[text] for text in high)
    assert len(low) + len(high) == 40


def test_categories_and_pruning(tmp_path):
    found = open_corpora(
        tmp_path / "a", {"by": "field", "field": "meta.lang", "values": ["de", "en"]}
    )
    found.build()
    assert [len(texts) for texts in texts_by_domain(found).values()] == [14, 26]
    # POINTS keeps the lowest fifth
    found = open_corpora(tmp_path / "b", {"by": "field", "field": "meta.score", "keep": 0.2})
    found.build()
    assert texts_by_domain(found) == {"birds": [row["text"] for row in ROWS[:8]]}


def test_of_a_sampled_text_each_bucket_has_its_share_of_all_tokens(tmp_path):
    rows = [{"text": f"bird {i} sings " * (5 + i % 7)} for i in range(4000)]
    found = open_corpora(tmp_path, {"by": "length", "quantiles": [0.6]}, rows, tokens=9000)
    found.build()
    whole = study_corpora.Corpus.open(found._cache.get(found._source_artifact("birds")))
    parts = [found.counts[name] for name in ("birds:q1", "birds:q2")]
    assert sum(part.tokens for part in parts) == whole.tokens
    total = whole.available_tokens
    assert sum(part.available_tokens for part in parts) == pytest.approx(total, rel=1e-4)
    assert found.available_tokens["birds:q1"] > parts[0].tokens


def test_given_tokens_are_of_all_buckets(tmp_path):
    found = open_corpora(tmp_path, {"by": "length", "quantiles": [0.5]})
    experts = [
        expert.model_copy(update={"available_tokens": 10**9 if expert.bucket else None})
        for expert in found._config.experts
    ]
    config = found._config.model_copy(update={"experts": experts})
    found = StudyCorpora(config, found._store, found._cache)
    found.build()
    tokens = found.available_tokens
    assert tokens["birds:q1"] + tokens["birds:q2"] == pytest.approx(10**9, abs=2)
    assert tokens["birds:q1"] / tokens["birds:q2"] == pytest.approx(
        found.counts["birds:q1"].tokens / found.counts["birds:q2"].tokens
    )


def test_documents_with_the_separator_inside_stay_whole(tmp_path):
    short, long = "bird {}<|endoftext|>sings", "bird {} is a longer text than that, and goes on"
    rows = [{"text": (short if i % 2 else long).format(i)} for i in range(30)]
    found = open_corpora(tmp_path, {"by": "length", "quantiles": [0.5]}, rows)
    found.build()
    corpus = found.open("birds:q1")
    assert corpus.documents == 15
    decoded = found.tokenizer.decode(corpus.read(0, corpus.tokens))
    assert decoded == "".join(f"{row['text']}<|endoftext|>" for row in rows[1::2])


@pytest.mark.parametrize(("split", "rows", "message"), [
    ({"by": "length", "quantiles": [0.5]}, [{"text": "same"}] * 9,
     "The bucket 'birds:q2' has no document: the 9 documents of 'birds' have 1 different values"),
    ({"by": "field", "field": "score", "quantiles": [0.5]}, ROWS, "has no field 'score'"),
    ({"by": "field", "field": "meta.lang", "quantiles": [0.5]}, ROWS,
     "give numbers, or name the categories"),
    ({"by": "field", "field": "meta.lang", "values": ["en", "fr"]}, ROWS,
     "'de', which split.values does not"),
    ({"by": "field", "field": "s", "values": ["a", "b"]}, [{"text": "x", "s": None}],
     "a document has none"),
])  # fmt: skip
def test_what_cannot_be_split_ends_in_one_sentence(tmp_path, split, rows, message):
    found = open_corpora(tmp_path, split, rows)
    with pytest.raises(DataError, match=message):
        found.build()


def test_numbers_in_csv_cells_are_numbers(tmp_path):
    found = open_corpora(tmp_path, {"by": "field", "field": "score", "quantiles": [0.5]})
    file = tmp_path / "s" / "data" / "birds.jsonl"
    lines = "".join(f"bird {i},{10 - i}\n" for i in range(10))
    file.with_suffix(".csv").write_text("text,score\n" + lines)
    plain = json.loads(
        json.dumps(found._config.model_dump(mode="json")).replace("birds.jsonl", "birds.csv")
    )
    found = StudyCorpora(type(found._config).model_validate(plain), found._store, found._cache)
    found.build()
    assert texts_by_domain(found)["birds:q1"] == [f"bird {i}" for i in range(5, 10)]


def test_edges_keep_a_range_and_cut_what_is_kept():
    split = TextSplitConfig(by="length", quantiles=[0.5], keep=(0.1, 0.9))
    values = np.arange(100.0)
    edges = Edges.find(values, split)
    buckets = edges.assign(values)
    assert (buckets[:10] == LEFT_OUT).all()
    assert (buckets[90:] == LEFT_OUT).all()
    assert (buckets == 0).sum() == (buckets == 1).sum() == 40
    assert edges.assign(np.array([-math.inf, 30.5])).tolist() == [LEFT_OUT, 0]


def test_shards_of_a_bucket_go_on_where_the_last_one_ended(tmp_path, monkeypatch):
    for module in (text_split, study_corpora.build_corpus.__module__):
        module = __import__("sys").modules.get(module, module)
        monkeypatch.setattr(module, "SHARD_TOKENS", 50)
    found = open_corpora(tmp_path, {"by": "length", "quantiles": [0.5]})
    found.build()
    low, high = texts_by_domain(found).values()
    assert sorted([*low, *high]) == sorted(row["text"] for row in ROWS if row["text"])
    assert len(list(found.open("birds:q2").folder.glob("shard-*.bin"))) > 1


def test_a_model_is_loaded_once_for_all_documents(tmp_path, monkeypatch):
    monkeypatch.setattr(text_split, "BATCH", 8)
    split = {"by": "perplexity", "quantiles": [0.2], "reference": "x"}
    corpora = open_corpora(tmp_path, split)
    corpora.build()
    assert corpora.models.opened == 1


@pytest.mark.parametrize(
    ("keep", "kept"), [(0.2, "60%"), ((0.1, 0.9), "30%"), ((0.0, 0.9), ""), (0.6, ""), (0.3, "60%")]
)
def test_equal_values_that_change_what_is_kept_are_told(keep, kept):
    values = [0.0] * 60 + [1 + i / 100 for i in range(40)]
    split = TextSplitConfig(by="field", field="toxicity", keep=keep)
    if not kept:
        assert text_split.assign(values, split, "web")[1] is not None
        return
    words = f"'web': split.keep .* would keep {kept} of its documents, as 60% of them .* value, 0;"
    with pytest.raises(DataError, match=words):
        text_split.assign(values, split, "web")
    # documents outside of a sample are assigned by edges that are known
    assert text_split.assign(values, split, "web", text_split.Edges(0.0, 1.2, ()))[0].max() == 0
