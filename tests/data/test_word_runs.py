import os
import random
import re
import threading

import numpy as np
import pytest

from mixopt.data import word_runs
from mixopt.data.word_runs import cut_texts, hash_runs, map_on_cores

KANA_AND_HAN = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
WORD = re.compile(rf"[^\W{KANA_AND_HAN}]+|(?![^\w])[{KANA_AND_HAN}]")
PIECES = ["ab", "AB", "ß", "Σας", "naïve", "日本語", "a語b", "ーヶ゛", "한국어", "\U00020000x", "𝒳𝒴",
          "²", "_x", "a1", "x" * 7, "y" * 8, "z" * 9, "w" * 63, "w" * 64, "w" * 65, "v" * 300, "é",
          "\ud800"]  # fmt: skip
MARKS = [" ", "\n", "-", ", ", "…", "\x00", " ", "'", "​"]


def text(rng, n):
    return "".join(rng.choice(PIECES) + rng.choice(MARKS) for _ in range(n))


def runs_of(texts, length):
    """The runs of each text as words, by the regular expression."""
    found = []
    for place, each in enumerate(texts):
        words = WORD.findall(each)
        found += [(place, tuple(words[i : i + length])) for i in range(len(words) - length + 1)]
    return found


@pytest.mark.parametrize("length", [1, 3, 13])
def test_equal_runs_have_equal_hashes_and_others_do_not(length):
    rng = random.Random(length)
    texts = [text(rng, rng.choice([0, 2, 15, 60])).lower() for _ in range(60)] + ["", "abc"]
    hashes, owners = hash_runs(texts, length)
    expected = runs_of(texts, length)
    assert owners.tolist() == [place for place, _ in expected]
    by_run = {}
    for (_, run), value in zip(expected, hashes.tolist(), strict=True):
        assert by_run.setdefault(run, value) == value
    assert len(set(by_run.values())) == len(by_run)


def test_hashes_do_not_depend_on_what_else_is_hashed():
    rng = random.Random(1)
    texts = [
        "plain words of ascii only, and some more",
        text(rng, 30).lower(),
        text(rng, 20).lower(),
    ]
    alone = [hash_runs([each], 3)[0] for each in texts]
    assert np.concatenate(alone).tolist() == hash_runs(texts, 3)[0].tolist()


def test_every_character_is_in_a_word_or_not_as_the_expression_says():
    codes = [*range(0x3000), *range(0xFE00, 0x10000), *range(0x10000, 0x20000, 7)]
    for code in codes:
        table = word_runs._other_words(rare=code >= 0x10000)
        assert bool(table[code]) == bool(WORD.fullmatch(chr(code))), hex(code)
    ascii_words = [bool(WORD.fullmatch(chr(code))) for code in range(128)]
    assert [bool(each) for each in word_runs.ASCII_WORDS[:128]] == ascii_words


def test_long_texts_are_cut_and_no_run_is_lost(monkeypatch):
    monkeypatch.setattr(word_runs, "CHUNK", 500)
    rng = random.Random(2)
    texts = [text(rng, n) for n in (700, 3, 900, 0, 50, 60)] + ["x" * 5000, "- " * 3000 + "a b c"]
    groups = list(cut_texts(texts, 5))
    assert len(groups) > 8
    found = {int(value) for group in groups for value in hash_runs(group, 5)[0]}
    whole = {int(value) for each in texts for value in hash_runs([each.lower()], 5)[0]}
    assert found == whole


def test_the_union_is_that_of_one_core_and_errors_come_through():
    assert map_on_cores(lambda n: {n, n % 3}, range(100)) == set(range(100))
    assert map_on_cores(lambda n: {n}, []) == set()
    with pytest.raises(ZeroDivisionError):
        map_on_cores(lambda n: {1 // n}, [1, 2, 0, 3])


def test_two_cores_work_at_once():
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core is here")
    both, threads = threading.Barrier(2), set()

    def work(n):
        both.wait(timeout=60)  # broken, an error, where nobody else works meanwhile
        threads.add(threading.get_ident())
        return {n}

    assert map_on_cores(work, range(4)) == {0, 1, 2, 3}
    assert len(threads) >= 2
