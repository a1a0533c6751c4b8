import io
import os
import random

import pytest

from mixopt.data.byte_ranges import find_extents, read_lines, read_text


def test_ranges_have_each_line_once():
    rng = random.Random(0)
    lines = [bytes([65 + i % 26]) * rng.choice([0, 1, 3, 40, 300]) + b"\n" for i in range(200)]
    content = b"".join(lines)[:-1]  # the last line has no end
    for size in (1, 7, 64, 1000, 10**6):
        found = [
            line
            for start in range(0, len(content), size)
            for _, line in read_lines(io.BytesIO(content), start, min(start + size, len(content)))
        ]
        assert b"".join(found) == content


def test_a_line_across_a_whole_range_is_read_where_it_begins():
    content = b"a\n" + b"b" * 10**6 + b"\nc\n"
    assert [line for _, line in read_lines(io.BytesIO(content), 1000, 2000)] == []
    assert [len(line) for _, line in read_lines(io.BytesIO(content), 0, 10)] == [2, 10**6 + 1]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"end\nfirst line\nsecond line\nbeg", b"first line\nsecond line\n"),
        (b"nd one two three fo", b"one two three "),
        ("ä".encode()[1:] + "öü".encode() * 3 + "ß".encode()[:1], "öü".encode() * 3),
        (b"\0\0d one two three fo\0\0", b"one two three "),
    ],
)
def test_a_range_of_text_has_no_parts_of_lines_or_words(content, kept):
    stream = io.BytesIO(b"x" * 10 + content + b"y" * 10)
    found, dropped = read_text(stream, 10, 10 + len(content), is_first=False, is_last=False)
    assert found == kept
    assert dropped == len(content.strip(b"\0")) - len(kept)


def test_a_whole_file_is_not_cut():
    assert read_text(io.BytesIO(b"no end"), 0, 6, is_first=True, is_last=True) == (b"no end", 0)


def test_holes_are_left_out(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.write(b"a" * 5000)
        stream.seek(1 << 30)
        stream.write(b"b" * 5000)
        stream.truncate(1 << 31)
    if path.stat().st_blocks * 512 > 1 << 29 or not hasattr(os, "SEEK_DATA"):
        pytest.skip("the disk has no sparse files")
    (start, first), (second, end) = find_extents(path)
    assert start == 0
    assert 5000 <= first < 1 << 20
    assert second <= 1 << 30
    assert (1 << 30) + 5000 <= end < 1 << 31
    dense = tmp_path / "dense"
    dense.write_bytes(b"x" * 10_000)
    assert find_extents(dense) == [(0, 10_000)]
