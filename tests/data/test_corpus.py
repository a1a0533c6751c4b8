import hashlib
import os

import pytest
import toy
from models_for_tests import make_corpus as make
from models_for_tests import open_corpus, starting_tokenizer, tokenizer

from mixopt import Mixture
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import FilesTextConfig
from mixopt.data import corpus
from mixopt.data.corpus import check_epochs, fingerprint_tokenizer
from mixopt.errors import DataError

TOKENS = tokenizer()


def expected_tokens(path):
    import json

    tokens = []
    for line in path.read_text().splitlines():
        tokens += [*TOKENS(json.loads(line)["text"])["input_ids"], TOKENS.eos_token_id]
    return tokens


def test_counts_and_tokens_are_those_of_the_text(tmp_path):
    made, path = make(tmp_path)
    expected = expected_tokens(path)
    assert (made.tokens, made.documents) == (len(expected), 40)
    assert made.read(0, made.tokens).tolist() == expected
    assert made.tokens_per_document == len(expected) / 40


def test_shards_are_read_across_their_borders(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD_TOKENS", 100)
    made, path = make(tmp_path)
    expected = expected_tokens(path)
    assert len(list(made.folder.glob("shard-*.bin"))) == -(-len(expected) // 100)
    assert made.read(0, made.tokens).tolist() == expected
    assert made.read(95, 210).tolist() == expected[95:305]


def test_same_content_is_tokenized_once_wherever_it_lies(tmp_path, monkeypatch):
    made, path = make(tmp_path)
    moved = tmp_path / "elsewhere.jsonl"
    path.rename(moved)
    monkeypatch.setattr(corpus, "tokenize", lambda *_, **__: pytest.fail("tokenized again"))
    source = FilesTextConfig(paths=[str(moved)])
    again = open_corpus(source, TOKENS, name="birds", cache=ArtifactStore(tmp_path / "cache"))
    assert again.folder == made.folder


def test_changed_content_or_tokenizer_is_another_corpus(tmp_path):
    made, path = make(tmp_path)
    path.write_text(path.read_text() + '{"text": "more"}\n')
    source = FilesTextConfig(paths=[str(path)])
    changed = open_corpus(source, TOKENS, name="birds", cache=ArtifactStore(tmp_path / "cache"))
    assert changed.folder != made.folder
    assert changed.documents == 41
    other = open_corpus(
        source, tokenizer(290), name="birds", cache=ArtifactStore(tmp_path / "cache")
    )
    assert other.folder != changed.folder


def test_empty_documents_end_nothing(tmp_path):
    texts = ["a bird"] * 3 + [""] * 600 + ["a ship"] * 4
    path = toy.write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in texts])
    made = open_corpus(
        FilesTextConfig(paths=[str(path)]),
        TOKENS,
        name="x",
        cache=ArtifactStore(tmp_path / "cache"),
    )
    assert made.documents == 7


def test_same_bytes_read_in_another_way_are_another_corpus(tmp_path):
    for name in ("x.txt", "x.jsonl"):
        (tmp_path / name).write_text('{"text": "a bird"}\n')
    folders = {
        open_corpus(
            FilesTextConfig(paths=[str(tmp_path / name)]),
            TOKENS,
            name="x",
            cache=ArtifactStore(tmp_path),
        ).folder
        for name in ("x.txt", "x.jsonl")
    }
    assert len(folders) == 2


def test_nothing_half_tokenized_is_left(tmp_path):
    path = toy.write_jsonl(tmp_path / "x.jsonl", [{"text": "fine"}, {"wrong": 1}])
    with pytest.raises(DataError):
        open_corpus(
            FilesTextConfig(paths=[str(path)]),
            TOKENS,
            name="x",
            cache=ArtifactStore(tmp_path / "cache"),
        )
    assert [p for p in (tmp_path / "cache" / "corpora").iterdir() if p.suffix != ".lock"] == []


def test_no_document_on_this_side_of_the_split(tmp_path):
    path = toy.write_jsonl(tmp_path / "x.jsonl", [{"text": "one", "g": "1"}])
    source = FilesTextConfig(paths=[str(path)], part="heldout", heldout_share=1e-9, group="g")
    with pytest.raises(DataError, match="nothing on its heldout side: its only document is on the"):
        open_corpus(source, TOKENS, name="x", cache=ArtifactStore(tmp_path / "cache"))


def test_too_little_text_says_how_many_epochs(tmp_path):
    made, _ = make(tmp_path)
    asked = made.tokens * 3
    with pytest.raises(DataError, match=r"would read them 3.0 times \(allowed: 2\)"):
        check_epochs(
            {"birds": made}, Mixture({"birds": 1.0}), tokens=asked, max_epochs=2, what="it"
        )
    epochs = check_epochs(
        {"birds": made}, Mixture({"birds": 1.0}), tokens=asked, max_epochs=3, what="it"
    )
    assert epochs == {"birds": pytest.approx(3)}


def test_truncation_and_padding_of_a_tokenizer_are_not_in_the_key():
    """Tokenizing takes both off, so that the keys after it were other ones than those before."""
    given, plain = tokenizer(), fingerprint_tokenizer(TOKENS)
    given.backend_tokenizer.enable_truncation(128)
    assert fingerprint_tokenizer(given) == plain
    given.backend_tokenizer.enable_padding(length=64)
    assert fingerprint_tokenizer(given) == plain
    assert given.backend_tokenizer.truncation["max_length"] == 128  # it stays as it was
    assert fingerprint_tokenizer(tokenizer(290)) != plain


def test_the_key_of_a_plain_tokenizer_stays():
    """The hash of its text as tokenizers writes it, as in all stores so far."""
    text = f"{TOKENS.backend_tokenizer.to_str()} {TOKENS.bos_token_id} {TOKENS.eos_token_id}"
    expected = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    assert fingerprint_tokenizer(TOKENS) == expected


def test_few_shards_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD_TOKENS", 5)
    made, path = make(tmp_path)
    n_shards = len(list(made.folder.glob("shard-*.bin")))
    assert n_shards > corpus.OPEN_SHARDS + 100
    before = len(os.listdir("/dev/fd"))
    assert made.read(0, made.tokens).tolist() == expected_tokens(path)
    assert len(os.listdir("/dev/fd")) - before <= corpus.OPEN_SHARDS


def test_a_tokenizer_that_splits_special_tokens_has_another_key():
    """It reads the text of a special token as words, and not as the token."""
    split = tokenizer()
    split.split_special_tokens = True
    assert fingerprint_tokenizer(split) != fingerprint_tokenizer(TOKENS)


@pytest.mark.parametrize("starts", [True, False])
def test_documents_begin_with_the_start_token_of_a_tokenizer_that_puts_one_there(tmp_path, starts):
    own = starting_tokenizer(starts=starts)
    rows = [{"text": text} for text in ("a grey ship", "two birds")]
    source = FilesTextConfig(paths=[str(toy.write_jsonl(tmp_path / "x.jsonl", rows))])
    made = open_corpus(source, own, name="x", cache=ArtifactStore(tmp_path / "cache"))
    bare = [TOKENS(row["text"])["input_ids"] for row in rows]
    before = [own.bos_token_id] * starts
    expected = [token for each in bare for token in [*before, *each, own.eos_token_id]]
    assert made.read(0, made.tokens).tolist() == expected


def test_a_corpus_that_had_a_start_token_which_its_tokenizer_does_not_put_there_is_made_again():
    """Keys of other tokenizers stay."""
    for starts in (True, False):
        own = starting_tokenizer(starts=starts)
        text = f"{own.backend_tokenizer.to_str()} {own.bos_token_id} {own.eos_token_id}"
        as_before = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        assert (fingerprint_tokenizer(own) == as_before) is starts
