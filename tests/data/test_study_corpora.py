import json
import os
import pickle

import pytest
import toy
from models_for_tests import save_base

from mixopt import Mixture
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.training import PretrainedBaseConfig
from mixopt.data import corpus, study_corpora, tokenization
from mixopt.data.corpus import build_corpus, check_epochs, corpus_artifact, fingerprint_text
from mixopt.data.study_corpora import StudyCorpora, StudyInputs
from mixopt.data.text_sample import TextSample
from mixopt.errors import ConfigError, DataError


def test_a_worker_with_the_drivers_inputs_needs_no_text(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    journals = ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    own = StudyCorpora(config, *journals)
    own.build()
    inputs = pickle.loads(pickle.dumps(StudyInputs(own.fingerprints, own.counts)))
    for file in (tmp_path / "s" / "data").iterdir():
        file.unlink()
    other = StudyCorpora(config, *journals, inputs)
    assert other.natural == own.natural
    assert other.available_tokens == own.available_tokens
    assert other.tokenizer.get_vocab() == own.tokenizer.get_vocab()
    assert (other.open("birds").read(3, 9) == own.open("birds").read(3, 9)).all()


def test_a_text_is_read_once_to_know_it(tmp_path, monkeypatch):
    config = load_study(toy.write_study(tmp_path / "s"))
    asked = []
    original = corpus.fingerprint_text
    for module in (corpus, study_corpora):
        monkeypatch.setattr(
            module, "fingerprint_text", lambda text: asked.append(text) or original(text)
        )
    found = StudyCorpora(
        config, ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    )
    found.build()
    assert found.counts
    assert len(asked) == 3


def test_a_natural_mixture_needs_counts(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    given = config.experts[0].model_copy(update={"text": None, "checkpoint": "x"})
    config = config.model_copy(update={"experts": [given, *config.experts[1:]]})
    found = StudyCorpora(
        config, ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    )
    found.build()
    with pytest.raises(ConfigError, match="give its available_tokens, or search.natural"):
        _ = found.natural


@pytest.fixture
def large(tmp_path):
    """A study in which one text is much larger than what it may read."""
    config = load_study(toy.write_study(tmp_path / "s"))
    birds = config.experts[0]
    rows = [{"text": f"bird {i} sings " * 9, "page": str(i // 2)} for i in range(4000)]
    toy.write_jsonl(tmp_path / "s" / "data" / "birds.jsonl", rows)
    text = birds.text.model_copy(update={"tokens": 9000})
    experts = [birds.model_copy(update={"text": text}), *config.experts[1:]]
    return config.model_copy(update={"experts": experts})


def open_corpora(config, folder, *, read_only=False):
    cache = ArtifactStore(folder / "cache", read_only=read_only)
    return StudyCorpora(config, ArtifactStore(folder / "journal", read_only=read_only), cache)


def test_of_a_large_text_a_sample_is_tokenized_and_the_rest_is_estimated(tmp_path, large):
    found = open_corpora(large, tmp_path)
    found.build()
    assert list(found.samples) == ["birds"]
    corpus = found.open("birds")
    assert 9000 <= corpus.tokens < 9400
    whole = large.experts[0].text.model_copy(update={"tokens": "all"})
    artifact = corpus_artifact("birds", fingerprint_text(whole), found._tokenizer_fingerprint)
    tokens = build_corpus(artifact, whole, found.tokenizer, found._cache).tokens
    assert found.available_tokens["birds"] == pytest.approx(tokens, rel=0.15)
    error = corpus.available.std_error
    assert abs(found.available_tokens["birds"] - tokens) < 4 * error
    # natural and the caps follow what there is, not what was read
    shares = {n: found.available_tokens[n] for n in large.domains}
    assert found.natural["birds"] == pytest.approx(shares["birds"] / sum(shares.values()))
    assert large.target_budget(found.available_tokens).caps["birds"] == 1.0


def test_what_is_searched_for_items_is_what_was_tokenized(tmp_path, large):
    found = open_corpora(large, tmp_path)
    found.build()
    texts = list(found.read_tokenized("birds"))
    assert len(texts) == found.open("birds").documents
    assert len(list(found.read_tokenized("ships"))) == found.open("ships").documents
    tokens = [t for text in texts for t in [*found.tokenizer(text)["input_ids"], 0]]
    assert found.open("birds").read(0, len(tokens)).tolist() == tokens


def test_a_sample_is_read_once_to_know_it(tmp_path, large, monkeypatch):
    found = open_corpora(large, tmp_path)
    found.build()
    calls = []
    original = TextSample.compute_fingerprint
    monkeypatch.setattr(
        TextSample, "compute_fingerprint", lambda one: calls.append(1) or original(one)
    )
    again = open_corpora(large, tmp_path, read_only=True)
    assert again.open("birds").folder == found.open("birds").folder
    assert not calls
    os.utime(tmp_path / "s" / "data" / "birds.jsonl")  # touched, and the same
    touched = open_corpora(large, tmp_path, read_only=True)
    assert touched.open("birds").folder == found.open("birds").folder
    assert calls == [1]


def test_a_sampled_text_that_is_too_short_for_a_run_says_how_to_read_more(tmp_path, large):
    found = open_corpora(large, tmp_path)
    found.build()
    with pytest.raises(
        DataError, match=r"tokens in its sample, so it would .*\(`tokens` of its text\)"
    ):
        check_epochs(found.counts, Mixture({"birds": 1.0}), tokens=10**6, max_epochs=2, what="it")


def test_a_stopped_sample_goes_on_where_it_stopped(tmp_path, large, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD_TOKENS", 2000)
    monkeypatch.setattr(tokenization, "TOKENIZE_BATCH", 20)
    whole = open_corpora(large, tmp_path / "whole")
    whole.build()
    encode = tokenization._encode_fast
    batches = []

    def stop_soon(backend, texts):
        batches.append(len(texts))
        if len(batches) == 4:
            raise RuntimeError
        return encode(backend, texts)

    monkeypatch.setattr(tokenization, "_encode_fast", stop_soon)
    found = open_corpora(large, tmp_path)
    with pytest.raises(RuntimeError):
        found.build()
    found.build()
    one, other = found.open("birds"), whole.open("birds")
    assert one.folder.name == other.folder.name
    for file in ("corpus.json", "shard-00000.bin", "shard-00004.bin"):
        assert (one.folder / file).read_bytes() == (other.folder / file).read_bytes()


def test_a_base_whose_tokenizer_truncates_and_pads(tmp_path):
    """Its keys changed while the first text was tokenized, so that no corpus was found again."""
    file = save_base(tmp_path / "base") / "tokenizer.json"
    plain = json.loads(file.read_text())
    plain["truncation"] = {
        "max_length": 16, "strategy": "LongestFirst", "stride": 0, "direction": "Right"
    }  # fmt: skip
    plain["padding"] = {
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip
    file.write_text(json.dumps(plain))
    config = load_study(toy.write_study(tmp_path / "s"))
    config = config.model_copy(
        update={"base": PretrainedBaseConfig(kind="pretrained", path=str(tmp_path / "base"))}
    )
    stores = ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    found = StudyCorpora(config, *stores)
    assert found.tokenizer.backend_tokenizer.truncation
    found.build()
    assert set(found.counts) == set(config.domains)
    again = StudyCorpora(config, *stores)
    assert {d: c.folder for d, c in again.counts.items()} == {
        d: c.folder for d, c in found.counts.items()
    }


def test_a_study_may_have_more_files_open_than_is_usual(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(study_corpora, "raise_file_limit", lambda: called.append(1))
    config = load_study(toy.write_study(tmp_path / "s"))
    StudyCorpora(config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b"))
    assert called == [1]


def test_every_domain_shapes_the_vocabulary_by_its_bytes(tmp_path):
    """A document of each in turn would be nearly all of the domain with long documents."""
    path = toy.write_study(tmp_path / "s")
    rows = [{"text": "x" * 20_000 + str(i), "page": str(i)} for i in range(40)]
    toy.write_jsonl(tmp_path / "s" / "data" / "ships.jsonl", rows)
    found = StudyCorpora(
        load_study(path), ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    )
    sizes = {"long": 0, "short": 0}
    for text in found._interleaved():
        sizes["long" if text.startswith("xx") else "short"] += len(text)
        if sum(sizes.values()) > 60_000:
            break
    assert sizes["short"] > 20_000
    assert sizes["long"] >= 20_000
    assert len(list(found._interleaved())) == sum(
        len(list(found._read_source(name))) for name in found.sources
    )
