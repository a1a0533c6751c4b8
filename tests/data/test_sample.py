"""A sample ends at enough bytes of one side of the split, and knows what was used of its last part."""

import numpy as np
import pytest

from mixopt.config.text import FilesTextConfig
from mixopt.data.availability import SampledPart
from mixopt.data.document import Document, is_held_out
from mixopt.data.sample import MOST_BYTES, Sample, spread_order
from mixopt.errors import DataError


class Pieces(Sample):
    """Parts of ten documents of ten bytes."""

    def __init__(self, tokens, seed=0, parts=4, size="", **more):
        super().__init__(FilesTextConfig(paths=["x"], **more), "The text of x", tokens, seed)
        self._n_parts, self._size = parts, size

    def _describe_size(self):
        return self._size

    def _read_parts(self):
        self._parts = []
        for index in range(self._n_parts):
            part = SampledPart(10.0)
            self._parts.append(part)
            for number in range(10):
                part.covered += 1
                text = f"{index} {number}".ljust(10, ".")
                yield Document(text, text, index)


@pytest.mark.parametrize("part", ["all", "train", "heldout"])
def test_a_sample_ends_at_enough_bytes_of_its_side(part):
    sample = Pieces(20, parts=100, part=part, heldout_share=0.3)
    documents = list(sample.read())
    assert len(documents) == MOST_BYTES * 20 // 10
    sides = {is_held_out(document.group, sample._text) for document in documents}
    assert sides == {"all": {True, False}, "train": {False}, "heldout": {True}}[part]


def test_no_document_on_the_side_is_said():
    with pytest.raises(DataError, match="The text of x has nothing on its heldout side"):
        list(Pieces(20, parts=0, part="heldout").read())


def test_what_was_used_of_each_part():
    sample = Pieces(1000)
    assert [part.covered for part in sample._covered_parts(13)] == [10, 3]
    assert [part.covered for part in sample._covered_parts(40)] == [10, 10, 10, 10]


def test_the_hash_is_of_documents_size_seed_and_tokens_and_not_of_paths():
    found = {Pieces(20, **more).compute_fingerprint()
             for more in ({}, {"seed": 1}, {"size": "9"}, {"part": "train"})}  # fmt: skip
    assert len({*found, Pieces(21).compute_fingerprint()}) == 5
    moved = Pieces(20)
    moved._text = moved._text.model_copy(update={"paths": ["y"], "tokens": 3})
    assert moved.compute_fingerprint() in found


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 97, 1000])
def test_the_order_has_each_place_once_and_spreads_its_beginning(n):
    order = list(spread_order(n, 5))
    assert sorted(order) == list(range(n))
    begun = sorted(order[: max(1, n // 10)])
    gaps = np.diff([*begun, begun[0] + n])
    assert gaps.max() <= 3 * n / len(begun)


def test_a_text_without_a_document_is_said_without_where():
    with pytest.raises(
        DataError, match="^The text of x has no document with text; give another one"
    ):
        list(Pieces(20, parts=0).read())
    with pytest.raises(DataError, match="no document that matches `where` on its train side"):
        list(Pieces(20, parts=0, part="train", where={"a": "b"}).read())
