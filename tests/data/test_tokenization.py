"""A text whose tokenizing was stopped becomes the corpus that it would have become, to the last byte."""

import errno
import hashlib
import json
import os
import random
import shutil
import threading

import numpy as np
import pytest
import toy
from artifacts.test_store import Two
from models_for_tests import open_corpus, tokenizer

from mixopt.artifacts import artifact, store
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore, RankZeroStore
from mixopt.config.text import FilesTextConfig
from mixopt.data import corpus, tokenization
from mixopt.data.tokenization import Place, _Shards
from mixopt.errors import StorageError
from mixopt.io.files import write_bytes

TOKENS = tokenizer()
SHARD, BATCH = 1000, 3


class StoppedError(Exception):
    pass


class Counting:
    """The tokenizer; counts documents, and is stopped before it takes a batch past `most` calls."""

    def __init__(self, most=10**9):
        self.most, self.batches = most, []

    @property
    def backend_tokenizer(self):
        return CountingBackend(self)

    def __len__(self):
        return len(TOKENS)

    def __getattr__(self, name):
        return getattr(TOKENS, name)


class CountingBackend:
    def __init__(self, counting):
        self.counting = counting

    def encode_batch_fast(self, batch, **more):
        if len(self.counting.batches) >= self.counting.most:
            raise StoppedError
        self.counting.batches.append(len(batch))
        return TOKENS.backend_tokenizer.encode_batch_fast(batch, **more)

    def __getattr__(self, name):
        return getattr(TOKENS.backend_tokenizer, name)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(corpus, "SHARD_TOKENS", SHARD)
    monkeypatch.setattr(tokenization, "TOKENIZE_BATCH", BATCH)


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(0)
    made = [toy.text(domain, rng, words) for words in (5, 60, 200) for domain in toy.WORDS] * 2
    made[4:4] = ["", ""]
    made[9] = toy.text("ships", rng, 2000)  # longer than several shards
    made[12] = ""
    return [*made, toy.text("sums", rng, 30)]


@pytest.fixture
def source(tmp_path, texts):
    rows = [{"text": text} for text in texts]
    return FilesTextConfig(paths=[str(toy.write_jsonl(tmp_path / "x.jsonl", rows))])


@pytest.fixture
def whole(tmp_path, source):
    """The corpus that nothing disturbed."""
    made = open_corpus(source, TOKENS, name="x", cache=ArtifactStore(tmp_path / "whole"))
    assert made.tokens > 8 * SHARD
    return made


def go(source, cache, most=10**9):
    """The corpus, and how many documents were tokenized for it now."""
    counting = Counting(most)
    made = open_corpus(source, counting, name="x", cache=ArtifactStore(cache))
    return made, sum(counting.batches)


def stop(source, cache, most):
    """How many documents were tokenized before the stop."""
    counting = Counting(most)
    with pytest.raises(StoppedError):
        open_corpus(source, counting, name="x", cache=ArtifactStore(cache))
    return sum(counting.batches)


def content(made):
    """Every byte of a corpus, but for the seconds that it took."""
    files = {file.name: file.read_bytes() for file in made.folder.iterdir()}
    manifest = json.loads(files.pop(artifact.MANIFEST))
    assert manifest.pop("seconds") >= 0
    return made.folder.name, manifest, files


def workplace(cache):
    """Where shards are kept."""
    (found,) = (cache / "corpora").glob(".x-*.begun")
    return found


def kept(cache):
    """Names of what is kept."""
    return sorted(file.name for file in (cache / "corpora").glob(".x-*.begun/*"))


def leftovers(cache):
    return [p for p in (cache / "corpora").glob(".*") if p.suffix != ".lock"]


def ends(texts):
    """Tokens up to the end of each document."""
    lengths = [len(TOKENS(text)["input_ids"]) + 1 for text in texts if text]
    return [sum(lengths[: i + 1]) for i in range(len(lengths))]


def killed(monkeypatch):
    """The process goes away: nothing is tidied up, and what was written so far is there."""
    monkeypatch.setattr(_Shards, "__exit__", lambda shards, *_: shards._close())


def test_the_example_is_the_text(whole, texts):
    tokens = [t for x in texts if x for t in [*TOKENS(x)["input_ids"], TOKENS.eos_token_id]]
    assert whole.read(0, whole.tokens).tolist() == tokens
    assert whole.bytes == sum(len(text.encode()) for text in texts)
    assert whole.documents == len([text for text in texts if text])


@pytest.mark.parametrize("gone", [False, True], ids=["failed", "killed"])
def test_a_stop_before_any_batch_costs_a_shard_and_a_batch_at_most(
    tmp_path, source, whole, texts, monkeypatch, gone
):
    borders, again = ends(texts), 0
    for most in range(-(-len(borders) // BATCH)):
        cache = tmp_path / f"stopped-{most}"
        with monkeypatch.context() as patch:
            if gone:
                killed(patch)
            before = stop(source, cache, most)
        written = borders[before - 1] if before else 0
        in_shards = sum(border <= written // SHARD * SHARD for border in borders)
        made, after = go(source, cache)
        assert content(made) == content(whole)
        assert after == len(borders) - in_shards
        again += before - in_shards
        assert not leftovers(cache)
    assert again  # some stops were inside of a shard


def test_a_stop_before_any_document_is_read(tmp_path, source, whole, texts, monkeypatch):
    read = corpus.read_documents
    for most in range(len(texts)):

        def read_some(asked, most=most):
            for number, document in enumerate(read(asked)):
                if number == most:
                    raise StoppedError
                yield document

        cache = tmp_path / f"stopped-{most}"
        with monkeypatch.context() as patch:
            patch.setattr(corpus, "read_documents", read_some)
            before = stop(source, cache, 10**9)
        made, after = go(source, cache)
        assert content(made) == content(whole)
        longest = SHARD // min(len(TOKENS(text)["input_ids"]) for text in texts if text)
        assert before + after - made.documents <= longest + BATCH
        if most > 15:  # the long document is through
            assert after < made.documents


@pytest.mark.parametrize("gone", [False, True], ids=["failed", "killed"])
def test_a_stop_at_any_shard_inside_of_a_document_too(
    tmp_path, source, whole, monkeypatch, gone, caplog
):
    for most in range(whole.tokens // SHARD):
        for marked in (False, True):
            keep, calls = _Shards._keep, []

            def keep_some(shards, place, most=most, marked=marked, keep=keep, calls=calls):
                calls.append(place)
                if len(calls) <= most or marked:
                    keep(shards, place)
                if len(calls) > most:
                    raise StoppedError

            cache = tmp_path / f"stopped-{most}-{marked}"
            with monkeypatch.context() as patch:
                if gone:
                    killed(patch)
                patch.setattr(_Shards, "_keep", keep_some)
                stop(source, cache, 10**9)
            n_marks = len([name for name in kept(cache) if name.endswith(".mark")])
            assert n_marks == most + marked
            caplog.clear()
            with caplog.at_level("INFO"):
                made, after = go(source, cache)
            assert content(made) == content(whole)
            places = [place for place in calls[:n_marks] if place]
            assert after == made.documents - (places[-1].documents if places else 0)
            if places:
                assert caplog.messages == [
                    f"Tokenizing of x goes on from document {places[-1].documents + 1}; "
                    f"{n_marks * SHARD:,} tokens were kept."
                ]


def test_stopped_again_and_again(tmp_path, source, whole):
    total = sum(stop(source, tmp_path / "cache", most) for most in (3, 2, 1, 1))
    made, after = go(source, tmp_path / "cache")
    assert content(made) == content(whole)
    assert total + after > whole.documents > after


def test_what_was_not_kept_leaves_nothing(tmp_path, source):
    stop(source, tmp_path / "cache", 1)
    assert not leftovers(tmp_path / "cache")


@pytest.fixture
def stopped(tmp_path, source):
    """A cache with seven shards, some of which end inside of the long document."""
    stop(source, tmp_path / "stopped", 5)
    assert len(kept(tmp_path / "stopped")) == 14
    return tmp_path / "stopped"


def damage(stopped, tmp_path, name, change):
    """A copy of the cache in which one kept file is changed."""
    cache = tmp_path / "damaged"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(stopped, cache)
    file = workplace(cache) / name
    file.write_bytes(change(file.read_bytes()))
    return cache


def place_before(stopped, number):
    if number == 0:
        return Place()
    mark = (workplace(stopped) / f"shard-{number - 1:05d}.mark").read_bytes()
    return Place(**json.loads(mark.partition(b"\n")[2]))


def flip(at):
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_any_flipped_byte_of_a_mark_is_seen(tmp_path, stopped):
    mark = workplace(stopped) / "shard-00003.mark"
    content, wanted = mark.read_bytes(), place_before(stopped, 3)
    for at in range(len(content)):
        mark.write_bytes(flip(at)(content))
        shards = _Shards(mark.parent, np.dtype(np.uint16), SHARD)
        assert (shards.resume(), shards.tokens) == (wanted, 3 * SHARD), at
    mark.write_bytes(content)
    assert _Shards(mark.parent, np.dtype(np.uint16), SHARD).resume() == place_before(stopped, 7)


def test_a_flipped_bit_is_never_in_the_corpus(tmp_path, source, whole, stopped, caplog):
    for name in kept(stopped):
        size = len((workplace(stopped) / name).read_bytes())
        for at in (0, size // 2, size - 1):
            cache = damage(stopped, tmp_path, name, flip(at))
            caplog.clear()
            made, after = go(source, cache)
            assert content(made) == content(whole), (name, at)
            number = int(name[6:11])
            assert f"shard-{number:05d}.bin is damaged and is written again" in caplog.text
            # those before it are still good
            assert after == made.documents - place_before(stopped, number).documents
            assert not leftovers(cache)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"{}",
        lambda content: b"null\n[1]",
        lambda content: b"\xff\xfe" * 30 + b"\n" + b"[" * 5000,
        lambda content: random.Random(0).randbytes(len(content)),
    ],
)
def test_a_kept_file_that_is_cut_or_garbage(tmp_path, source, whole, stopped, change):
    for name in kept(stopped):
        made, after = go(source, damage(stopped, tmp_path, name, change))
        assert content(made) == content(whole)
        assert after == made.documents - place_before(stopped, int(name[6:11])).documents


@pytest.mark.parametrize("name", ["shard-00003.bin", "shard-00003.mark"])
def test_a_kept_file_that_is_gone(tmp_path, source, whole, stopped, name):
    (workplace(stopped) / name).unlink()
    wanted = whole.documents - place_before(stopped, 3).documents
    made, after = go(source, stopped)
    assert (content(made), after) == (content(whole), wanted)


def test_a_kept_file_that_cannot_be_read(tmp_path, source, whole, stopped, monkeypatch, caplog):
    def read(stream, begin, read=hashlib.file_digest):
        if stream.name == str(workplace(stopped) / "shard-00003.bin"):
            raise OSError(errno.EIO, "Input/output error")
        return read(stream, begin)

    monkeypatch.setattr(hashlib, "file_digest", read)
    wanted = whole.documents - place_before(stopped, 3).documents
    made, after = go(source, stopped)
    assert (content(made), after) == (content(whole), wanted)
    assert "shard-00003.bin cannot be read (Input/output error) and is written again" in caplog.text


def test_shards_behind_a_damaged_one_count_again_once_it_is_made(
    tmp_path, source, whole, stopped, monkeypatch
):
    cache = damage(stopped, tmp_path, "shard-00001.bin", lambda content: content[:-1])
    keep = _Shards._keep

    def keep_one(shards, place):
        keep(shards, place)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(_Shards, "_keep", keep_one)
        stop(source, cache, 10**9)
    made, after = go(source, cache)
    assert content(made) == content(whole)
    last = len(kept(stopped)) // 2
    assert after == made.documents - place_before(stopped, last).documents


def test_shards_of_another_size_are_not_taken_up(tmp_path, source, stopped, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD_TOKENS", SHARD // 2)
    whole = open_corpus(source, TOKENS, name="x", cache=ArtifactStore(tmp_path / "halves"))
    assert content(go(source, stopped)[0]) == content(whole)


def test_a_mark_vouches_for_its_own_place_alone(tmp_path, source, whole, stopped):
    place = workplace(stopped)
    for ending in ("bin", "mark"):
        shutil.copy(place / f"shard-00004.{ending}", place / f"shard-00002.{ending}")
    made, after = go(source, stopped)
    assert content(made) == content(whole)


def test_a_full_disk(tmp_path, source, whole, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    for most in range(0, whole.tokens // SHARD, 3):
        left = [most]

        def write(path, text, left=left):
            if not left[0]:
                raise full
            left[0] -= 1
            return write_bytes(path, text)

        cache = tmp_path / f"full-{most}"
        with monkeypatch.context() as patch:
            patch.setattr(tokenization, "write_bytes", write)
            with pytest.raises(StorageError, match="free some space and run again"):
                go(source, cache)
        assert len(kept(cache)) == 2 * most  # what was begun takes no space
        made, after = go(source, cache)
        assert content(made) == content(whole)
        assert (after == made.documents) == (most == 0)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("gone", [False, True], ids=["failed", "killed"])
def test_a_stop_while_shards_are_handed_over(tmp_path, source, whole, monkeypatch, links, gone):
    n_shards = -(-whole.tokens // SHARD)
    for most in range(n_shards):
        cache, moved = tmp_path / f"handed-{most}", []
        link, rename = os.link, type(tmp_path).rename

        def link_some(file, target, most=most, moved=moved, link=link):
            if not links:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            if len(moved) == most:
                raise OSError(errno.EIO, "Input/output error")
            moved.append(file)
            link(file, target)

        def rename_some(file, target, most=most, moved=moved, rename=rename):
            if file.suffix == ".bin":
                if len(moved) == most:
                    raise StoppedError
                moved.append(file)
            rename(file, target)

        with monkeypatch.context() as patch:
            if gone:
                killed(patch)
            patch.setattr(os, "link", link_some)
            patch.setattr(type(tmp_path), "rename", rename_some)
            stop(source, cache, 10**9)
        made, after = go(source, cache)
        assert content(made) == content(whole)
        # the short last one is made again; of the others none if it was a link, else those that moved
        assert after < made.documents or (not links and most == n_shards - 1)
        if links:
            assert after <= 1 + SHARD // 10 + BATCH


def test_a_stop_while_the_corpus_is_sealed(tmp_path, source, whole, monkeypatch):
    def stops(*_):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(store, "seal", stops)
        stop(source, tmp_path / "cache", 10**9)
    made, after = go(source, tmp_path / "cache")
    assert content(made) == content(whole)
    borders = whole.tokens // SHARD * SHARD
    assert after == sum(end > borders for end in ends_of(source))


def ends_of(source):
    (path,) = source.paths
    with open(path) as stream:
        return ends([json.loads(line)["text"] for line in stream])


def test_without_links_the_corpus_is_the_same(tmp_path, source, whole, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made, _ = go(source, tmp_path / "cache")
    assert content(made) == content(whole)
    assert not leftovers(tmp_path / "cache")


def test_a_file_of_a_corpus_is_never_written_over(tmp_path, source, whole, monkeypatch):
    with monkeypatch.context() as patch:  # the process goes away before it tidies up
        patch.setattr(store.shutil, "rmtree", lambda *_, **__: None)
        made, _ = go(source, tmp_path / "cache")
    shard = made.folder / "shard-00002.bin"
    assert shard.stat().st_nlink == 2
    with shard.open("r+b") as stream:
        stream.write(b"damage")
    damaged = shard.read_bytes()
    monkeypatch.setattr(artifact, "_verified", set())
    with shard.open("rb") as reader:  # another process has it open
        again, after = go(source, tmp_path / "cache")
        assert reader.read() == damaged
    assert content(again) == content(whole)
    assert 0 < after < made.documents  # undamaged shards did not have to be made again


def test_a_machine_with_a_mirror_goes_on_and_sends_the_corpus_once(tmp_path, source, whole):
    url = str(tmp_path / "storage")

    def run(most):
        counting = Counting(most)
        cache = RemoteArtifactStore(tmp_path / "a", url)
        return open_corpus(source, counting, name="x", cache=cache), sum(counting.batches)

    with pytest.raises(StoppedError):
        run(5)
    assert not (tmp_path / "storage").exists()  # shards would travel twice
    made, after = run(10**9)
    assert content(made) == content(whole)
    assert after < made.documents
    assert [p.name for p in (tmp_path / "storage").iterdir()] == ["corpora"]
    other = open_corpus(
        source, Counting(0), name="x", cache=RemoteArtifactStore(tmp_path / "b", url)
    )
    assert content(other) == content(whole)


def test_of_several_processes_the_first_goes_on(tmp_path, source, whole, stopped):
    both, made, countings = Two(), {}, [Counting(), Counting()]

    def walk(own):
        cache = RankZeroStore(stopped, both.rank(own))
        made[own] = open_corpus(source, countings[own], name="x", cache=cache)

    threads = [threading.Thread(target=walk, args=(own,)) for own in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(made[0]) == content(made[1]) == content(whole)
    assert 0 < sum(countings[0].batches) < whole.documents
    assert not countings[1].batches


@pytest.mark.parametrize("most", [0, 2])
def test_no_thread_is_left_to_the_garbage_collector(tmp_path, source, most):
    """The collector may run in a thread that another one waits for, and would wait for it too."""
    with pytest.raises(StoppedError) as stopped:  # holds all frames
        open_corpus(source, Counting(most), name="x", cache=ArtifactStore(tmp_path / "cache"))
    assert stopped.tb is not None
    left = [t.name for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
    assert left == []
