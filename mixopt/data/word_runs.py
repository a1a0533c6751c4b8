r"""Hashes of runs of consecutive words, computed for many texts at once.

Words are compared in lower case, with composed accents (NFC) and without punctuation (`\w+` of `re`).
Chinese and Japanese have no spaces between words, so each of their characters counts as one. A word's
hash mixes its UTF-8 bytes, eight at a time; a run's one is a polynomial in the hashes of its words,
modulo 2^64 with an odd random factor, so that prefix sums give the hashes of all runs. Per character
little more is done than to find where words begin.
"""

import hashlib
import os
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SEED = 13
CHUNK = 1 << 17
"""Characters that are hashed at a time, so that arrays stay in a processor's cache."""
LONG_WORD = 64
"""Bytes of a word above which it is hashed by itself."""
UNSPACED = ((0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
            (0x20000, 0x323AF))  # fmt: skip
"""First and last characters of kana and of Chinese, which are written without spaces."""
_UNSPACED = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in UNSPACED)
_WORD = rf"(?:[^\W{_UNSPACED}]++|(?=\w)[{_UNSPACED}])"
WORD = re.compile(_WORD)
BETWEEN, WITHIN = re.compile(r"\W"), re.compile(r"\w")
ASCII_WORDS = bytes(chr(code).isalnum() or chr(code) == "_" for code in range(128)) + bytes(128)
"""1 for each ASCII character of a word."""

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
T = TypeVar("T")

FIRST_BYTES: Hashes = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
"""Masks of the first 0 to 8 bytes of a little-endian number."""
FACTORS: Hashes = (
    np.random.default_rng(SEED).integers(0, 1 << 63, 3, dtype=np.uint64) * 2 + 1
).astype(np.uint64)


@cache
def _other_words(*, rare: bool) -> NDArray[np.bool_]:
    """Return which characters are in words, of the first plane of Unicode or, with `rare`, of all."""
    codes = range(0x110000 if rare else 0x10000)
    return np.fromiter((chr(c).isalnum() or c == 0x5F for c in codes), np.bool_, len(codes))


@cache
def _powers(length: int) -> tuple[Hashes, Hashes]:
    """Return the powers 0 to `length` of the first factor, and of its inverse modulo 2^64."""
    factor = int(FACTORS[0])
    both = []
    for base in (factor, pow(factor, -1, 1 << 64)):
        powers = np.full(length + 1, base, dtype=np.uint64)
        powers[0] = 1
        both.append(np.multiply.accumulate(powers))
    return both[0], both[1]


def hash_runs(texts: Sequence[str], length: int) -> tuple[Hashes, Places]:
    """Hash all runs of words of some texts; a run lies in one text.

    Args:
        texts: In lower case.
        length: Words of a run.

    Returns:
        Hash of each run (`r`), and the index of its text (`r`).
    """
    runs, borders = hash_all_runs(texts, length)
    owners, is_inside = find_owners(np.arange(len(runs)), borders, length)
    return runs[is_inside], owners[is_inside]


def hash_all_runs(texts: Sequence[str], length: int) -> tuple[Hashes, Places]:
    """Hash all runs of the words of some texts, also those that go from one text into the next.

    Args:
        texts: In lower case.
        length: Words of a run.

    Returns:
        Hash of the run that begins with each word but the last ones, and the number of words before the
        end of each text, for `find_owners`.
    """
    content = [text.encode("utf-8", "surrogatepass") for text in texts]
    joined = b"\n".join(content)
    starts, ends = _find_words(joined)
    borders = np.searchsorted(starts, np.cumsum([len(each) + 1 for each in content]))
    n = len(starts) - length + 1
    if n < 1:
        return np.empty(0, dtype=np.uint64), borders
    powers, inverses = _powers(1 << max(16, len(starts).bit_length()))
    words = _hash_words(joined, starts, ends)
    words *= powers[: len(words)]
    sums = np.cumsum(words)
    runs = sums[length - 1 :].copy()
    runs[1:] -= sums[: n - 1]
    runs *= inverses[:n]
    return runs, borders


def find_owners(places: Places, borders: Places, length: int) -> tuple[Places, NDArray[np.bool_]]:
    """Return the text of each run, and whether all of the run is in it.

    Args:
        places: Indices of runs, as `hash_all_runs` returns them.
        borders: As it returns them.
        length: Words of a run.
    """
    owners = np.searchsorted(borders, places, side="right")
    return owners, owners == np.searchsorted(borders, places + length - 1, side="right")


def _find_words(joined: bytes) -> tuple[Places, Places]:
    """Return where words begin and end, in bytes of UTF-8."""
    inside = np.frombuffer(bytearray(joined.translate(ASCII_WORDS)), dtype=np.bool_)
    cuts = np.empty(0, dtype=np.int64)
    if not joined.isascii():
        content = np.frombuffer(joined + bytes(3), dtype=np.uint8)
        leads = np.flatnonzero(content >= 0xC0)
        codes, sizes = _decode(content, leads)
        is_word = _other_words(rare=bool(codes.max() >= 0x10000))[codes]
        leads, sizes, codes = leads[is_word], sizes[is_word], codes[is_word]
        for at in range(4):
            inside[leads[sizes > at] + at] = True
        cuts = _find_cuts(inside, leads, sizes, codes)
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    if len(inside) and inside[0]:
        edges = np.concatenate([[0], edges])
    if len(edges) % 2:
        edges = np.concatenate([edges, [len(inside)]])
    if not len(cuts):
        return edges[::2], edges[1::2]
    return np.union1d(edges[::2], cuts), np.union1d(edges[1::2], cuts)


def _find_cuts(inside: NDArray[np.bool_], leads: Places, sizes: Places, codes: Places) -> Places:
    """Return where a word ends and the next one begins without a character between them."""
    is_alone = np.zeros(len(codes), dtype=np.bool_)
    if len(codes) and codes.max() >= UNSPACED[0][0]:
        for first, last in UNSPACED:
            is_alone |= (codes >= first) & (codes <= last)
    places = np.concatenate([leads[is_alone], leads[is_alone] + sizes[is_alone]])
    places = places[(places > 0) & (places < len(inside))]
    return np.asarray(places[inside[places] & inside[places - 1]])


def _decode(content: NDArray[np.uint8], leads: Places) -> tuple[Places, Places]:
    """Return code points and sizes in bytes of the characters of UTF-8 that begin at `leads`."""
    first = content[leads].astype(np.int64)
    following = [content[leads + at].astype(np.int64) & 0x3F for at in (1, 2, 3)]
    sizes = 2 + (first >= 0xE0).astype(np.int64) + (first >= 0xF0)
    codes = (first & (0x7F >> sizes)) << 6 | following[0]
    codes = np.where(sizes > 2, codes << 6 | following[1], codes)
    return np.where(sizes > 3, codes << 6 | following[2], codes), sizes


def _hash_words(joined: bytes, starts: Places, ends: Places) -> Hashes:
    """Hash the words between `starts` and `ends` (`k` each)."""
    lengths = ends - starts
    eights: Hashes = np.ndarray(len(joined), "<u8", joined + bytes(8), strides=(1,))
    hashes: Hashes = eights[starts] & FIRST_BYTES[np.minimum(lengths, 8)]
    hashes *= FACTORS[1]
    hashes ^= hashes >> np.uint64(32)
    longer = np.arange(len(lengths))
    for at in range(8, LONG_WORD, 8):
        longer = longer[lengths[longer] > at]
        if not len(longer):
            break
        part = eights[starts[longer] + at] & FIRST_BYTES[np.minimum(lengths[longer] - at, 8)]
        part += hashes[longer]
        part *= FACTORS[2]
        part ^= part >> np.uint64(29)
        hashes[longer] = part
    for place in np.flatnonzero(lengths > LONG_WORD):
        word = joined[starts[place] : ends[place]]
        digest = hashlib.blake2b(word, digest_size=8).digest()
        hashes[place] = int.from_bytes(digest, "little")
    return hashes


def fold_case(text: str) -> str:
    """Return a text in lower case, its letters and their accents composed (NFC).

    Args:
        text: Any; `é` may be one character in one text and two in another.
    """
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.lower()


def cut_texts(texts: Iterable[str], length: int) -> Iterator[list[str]]:
    """Yield texts by `fold_case` in groups of about `CHUNK` characters, long ones in pieces.

    Args:
        texts: The texts.
        length: Words of a run: two pieces overlap by all words but one of these.
    """
    following = re.compile(rf"(?:{_WORD}\W*+){{{length - 1}}}")
    groups: dict[bool, list[str]] = {True: [], False: []}  # ASCII is faster
    sizes = {True: 0, False: 0}
    for text in texts:
        lowered = fold_case(text)
        start = 0
        group = groups[lowered.isascii()]
        while len(lowered) - start > 2 * CHUNK:
            cut = BETWEEN.search(lowered, start + CHUNK)
            if cut is None:
                break
            more = following.match(lowered, cut.end())
            if more is None:  # a word is next only after some marks, or few words are left
                more = following.match(lowered, _next_word(lowered, cut.end()))
            if more is None:
                break
            yield [lowered[start : more.end()]]
            start = cut.end()
        group.append(lowered[start:] if start else lowered)
        kind = group is groups[True]
        sizes[kind] += len(group[-1])
        if sizes[kind] >= CHUNK:
            yield group
            groups[kind], sizes[kind] = [], 0
    yield from filter(None, groups.values())


def _next_word(text: str, start: int) -> int:
    found = WITHIN.search(text, start)
    return len(text) if found is None else found.start()


def map_on_cores(work: Callable[[T], set[int]], values: Iterable[T]) -> set[int]:
    """Return the union of what `work` returns for each value, computed by threads on all cores.

    Args:
        work: Spends its time in numpy, which lets other threads run.
        values: Read one at a time, a few ahead.
    """
    found: set[int] = set()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cores == 1:
        return found.union(*map(work, values))
    waiting: deque[object] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for value in values:
            waiting.append(pool.submit(work, value))
            if len(waiting) > 2 * cores:
                found |= waiting.popleft().result()  # type: ignore[attr-defined]
        for each in waiting:
            found |= each.result()  # type: ignore[attr-defined]
    return found
