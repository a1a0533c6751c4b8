"""Text that is tokenized already becomes the corpus that its text would become."""

import os
import random
from functools import lru_cache

import numpy as np
import pytest
import toy
import yaml
from data.test_litdata_files import write_litdata
from data.test_token_files import write_datatrove, write_megatron, write_olmo
from models_for_tests import save_base, tokenizer

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.text import FilesTextConfig, TokensTextConfig
from mixopt.data import heldout_text, token_text
from mixopt.data.heldout_text import read_heldout
from mixopt.data.litdata_files import list_chunks
from mixopt.data.sources import read_documents
from mixopt.data.study_corpora import StudyCorpora
from mixopt.data.token_text import TokenText, open_token_text
from mixopt.errors import ConfigError, DataError
from mixopt.pipeline.exports import _find_trainers_path, with_known_paths

TOKENS = tokenizer()
EOS = TOKENS.eos_token_id


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(token_text, "SMALLEST_PART", 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base with its tokenizer, and texts of three domains in three formats of tokens."""
    folder = tmp_path_factory.mktemp("tokens")
    save_base(folder / "base")
    rng = random.Random(0)
    for domain, write in zip(toy.WORDS, (write_megatron, write_olmo, write_datatrove), strict=True):
        texts = [toy.text(domain, rng) for _ in range(160)]
        toy.write_jsonl(folder / f"{domain}.jsonl", [{"text": text} for text in texts])
        encoded = [[*TOKENS(text)["input_ids"], EOS] for text in texts]
        write(folder, domain, encoded)
    return folder


PATHS = {"birds": "birds", "ships": "ships.npy", "sums": "sums.ds"}


def source(folder, domain="birds", **more):
    path = str(folder / PATHS[domain])
    return TokensTextConfig(kind="tokens", paths=[path], tokenizer=str(folder / "base"), **more)


@pytest.mark.parametrize("domain", PATHS)
def test_documents_are_those_of_the_text(folder, domain):
    plain = FilesTextConfig(paths=[str(folder / f"{domain}.jsonl")])
    texts = [document.text for document in read_documents(plain)]
    assert [document.text for document in read_documents(source(folder, domain))] == texts
    sides = [
        {d.text for d in read_documents(source(folder, domain, part=part, heldout_share=0.3))}
        for part in ("train", "heldout")
    ]
    assert sides[0] | sides[1] == set(texts)
    assert not sides[0] & sides[1]


def test_a_sample_is_spread_and_its_estimate_is_near(folder):
    text = open_token_text(source(folder, part="train", heldout_share=0.3), 1500, seed=0)
    assert text.tokens == 1500
    taken, counts, n = {}, 0, 0
    for document in text.read_tokens():
        if n >= 1500:
            break
        size = len(document.tokens) + 1
        n, counts = n + size, counts + 1
        taken[document.part] = taken.get(document.part, 0) + size
    found = text.estimate(counts, taken)
    whole = TokenText(source(folder, part="train", heldout_share=0.3), None, seed=0)
    true = sum(len(document.tokens) + 1 for document in whole.read_tokens())
    assert abs(found.tokens - true) < 4 * found.std_error
    assert found.tokens == pytest.approx(true, rel=0.3)
    assert open_token_text(source(folder), 10**6, seed=0).tokens is None


def write_study(folder, place, **changes):
    path = toy.write_study(
        place, base={"kind": "pretrained", "path": str(folder / "base"), "context": 32}
    )
    for domain in PATHS:
        own = source(folder, domain, **changes).model_dump(mode="json")
        for kind, part in (("experts", "train"), ("benchmarks", "heldout")):
            file = place / kind / f"{domain}.yaml"
            plain = yaml.safe_load(file.read_text())
            plain["text"] = own | {
                "part": part,
                "tokens": own.get("tokens") if part == "train" else None,
            }
            file.write_text(yaml.safe_dump(plain))
    return path


def test_a_study_of_tokens_has_the_corpora_of_its_text(folder, tmp_path):
    config = load_study(write_study(folder, tmp_path / "s"))
    found = StudyCorpora(config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b"))
    found.build()
    for domain in PATHS:
        own = source(folder, domain, part="train")
        texts = [document.text for document in read_documents(own)]
        expected = [t for text in texts for t in [*TOKENS(text)["input_ids"], EOS]]
        corpus = found.open(domain)
        assert corpus.read(0, corpus.tokens).tolist() == expected
        assert corpus.available is None
        assert list(found.read_tokenized(domain)) == texts
    again = StudyCorpora(
        config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b", read_only=True)
    )
    assert again.natural == found.natural


def test_of_many_tokens_a_sample_is_kept(folder, tmp_path):
    config = load_study(write_study(folder, tmp_path / "s", tokens=1000))
    found = StudyCorpora(config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b"))
    found.build()
    for domain in PATHS:
        corpus = found.open(domain)
        assert 1000 <= corpus.tokens < 1300
        assert corpus.available_tokens > 4000


def test_the_trainer_reads_the_same_files(folder, tmp_path):
    config = load_study(write_study(folder, tmp_path / "s"))
    (wanted,) = with_known_paths(config)
    assert wanted.paths == {domain: str(folder / path) for domain, path in PATHS.items()}
    (plain,) = with_known_paths(load_study(toy.write_study(tmp_path / "t")))
    assert plain.paths is None


def test_a_folder_of_litdata_and_tokens_without_an_index(tmp_path):
    """The trainer names a folder of litdata's, and a `.bin` without an `.idx` by its whole name."""
    found = [[5, 6, EOS], [7, 8, 9, EOS]] * 3
    folder = write_litdata(tmp_path, "lit", found, chunks=2)
    (tmp_path / "bare").mkdir()
    bare = write_olmo(tmp_path / "bare", "x", found).rename(tmp_path / "bare" / "train.bin")
    pair = write_megatron(tmp_path, "pair", found)
    (tmp_path / "two").mkdir()
    two = [write_olmo(tmp_path / "two", name, found) for name in "ab"]
    for paths, wanted in (
        (list_chunks(folder), folder), ([bare], bare), ([pair.with_suffix(".bin")], pair), (two, None),
    ):  # fmt: skip
        assert _find_trainers_path(paths) == wanted


def test_heldout_items_of_tokens_are_texts(folder, monkeypatch):
    own = source(folder, part="heldout", heldout_share=0.3)
    texts = [document.text for document in read_documents(own)]
    assert [d.text for d in read_heldout(own, 5)] == texts[:5]
    monkeypatch.setattr(heldout_text, "LARGE_TOKENS", 100)
    spread = [d.text for d in read_heldout(own, 5)]
    assert set(spread) < set(texts)
    assert spread != texts[:5]


def test_another_tokenizer_than_the_bases_is_refused(folder, tmp_path):
    tokenizer(290).save_pretrained(tmp_path / "other")
    own = source(folder).model_copy(update={"tokenizer": str(tmp_path / "other")})
    with pytest.raises(
        DataError, match=r"\(290 tokens\), and the base has another one \(300; they differ"
    ):
        TokenText(own, None, 0).check_vocabulary(_shifted())
    # one with more tokens at its end means the same
    TokenText(own, None, 0).check_vocabulary(TOKENS)


def _shifted():
    class Shifted:
        def get_vocab(self):
            return {token: (number + 1) % 300 for token, number in TOKENS.get_vocab().items()}

    return Shifted()


def test_a_token_beyond_the_vocabulary_is_named(folder, tmp_path):
    write_megatron(tmp_path, "x", [[5, 6, EOS], [7, 301, EOS]])
    own = source(folder).model_copy(update={"paths": [str(tmp_path / "x")]})
    with pytest.raises(DataError, match=r"x.bin has the token 301, and its tokenizer .* has 300"):
        list(TokenText(own, None, 0).read_tokens())


def test_a_base_that_is_built_here_has_no_tokens_yet(folder, tmp_path):
    path = write_study(folder, tmp_path / "s")
    plain = yaml.safe_load(path.read_text())
    plain["base"] = toy.study_plain()["base"]
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match="has tokens, and the base is built here"):
        load_study(path)


def test_documents_that_are_empty_are_left_out(folder, tmp_path):
    write_olmo(tmp_path, "x", [[EOS], [5, EOS], [EOS, EOS], [6, 7, EOS]])
    own = source(folder).model_copy(update={"paths": [str(tmp_path / "x.npy")]})
    found = [document.tokens.tolist() for document in TokenText(own, None, 0).read_tokens()]
    assert found == [[5], [6, 7]]
    assert TokenText(own, None, 0).read_tokens().__next__().tokens.dtype == np.uint32


def test_few_files_are_open_at_a_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        token_text, "_open_file", lru_cache(maxsize=3)(token_text._open_file.__wrapped__)
    )
    encoded = [[*TOKENS(f"document {i}")["input_ids"], EOS] for i in range(60)]
    for number in range(60):
        write_megatron(tmp_path, f"{number:02}", encoded[number : number + 1])
    text = source(folder).model_copy(update={"paths": [str(tmp_path / "*.bin")]})
    before = len(os.listdir("/dev/fd"))
    opened = open_token_text(text, None, 0)
    assert [document.text for document in opened.read()] == [f"document {i}" for i in range(60)]
    assert len(os.listdir("/dev/fd")) - before <= 3 * 4


def test_an_index_that_has_changed_gives_other_documents(folder, tmp_path):
    """Tokens and their file stay as they are; of two documents the index makes one."""
    found = [[5, 6, EOS], [7, 8, EOS], [9, EOS]]
    write_datatrove(tmp_path, "x", found)
    write_megatron(tmp_path, "y", found)
    lit = write_litdata(tmp_path, "lit", found, chunks=2)
    places = {
        "x.ds": (tmp_path / "x.ds", tmp_path / "x.ds.index"),
        "y": (tmp_path / "y.bin", tmp_path / "y.idx"),
        "lit": (*list_chunks(lit), lit / "index.json"),
    }
    for path, files in places.items():
        own = source(folder).model_copy(update={"paths": [str(tmp_path / path)]})
        described = [name for name, _, _ in TokenText(own, None, 0).describe_files()]
        assert described == list(map(str, files))

    path = write_study(folder, tmp_path / "s")
    file = tmp_path / "s" / "experts" / "sums.yaml"
    plain = yaml.safe_load(file.read_text())
    plain["text"] |= {"paths": [str(tmp_path / "x.ds")], "part": "all"}
    file.write_text(yaml.safe_dump(plain))

    def fingerprint():
        config = load_study(path)
        corpora = StudyCorpora(config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b"))
        text = corpora.samples["sums"]
        return corpora.source_fingerprints["sums"], [d.tokens.tolist() for d in text.read_tokens()]

    before, documents = fingerprint()
    assert documents == [[5, 6], [7, 8], [9]]
    index = tmp_path / "x.ds.index"
    index.write_bytes(np.array([6, 8], "<u8").tobytes())
    os.utime(index, ns=(1, 1))
    after, documents = fingerprint()
    assert documents == [[5, 6, EOS, 7, 8], [9]]
    assert after != before
