import pytest

from mixopt.io.content_hash import user_cache
from mixopt.io.remembered import remember


class Maker:
    def __init__(self, text="a\nb ü\r\n"):
        self.text, self.calls = text, 0

    def __call__(self):
        self.calls += 1
        return self.text


def test_a_text_is_made_once_for_each_key():
    first, other = Maker(), Maker("other")
    key = {"version": "1", "fields": [1, 2]}
    assert [remember("texts", key, first) for _ in range(2)] == [first.text] * 2
    assert remember("texts", key | {"version": "2"}, other) == "other"
    assert remember("more", key, other) == "other"
    assert (first.calls, other.calls) == (1, 2)


def test_a_damaged_text_is_made_again():
    make = Maker()
    remember("texts", 1, make)
    (file,) = (user_cache() / "texts").iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], b"", b"\xff\xfe"):
        file.write_bytes(damaged)
        assert remember("texts", 1, make) == make.text
        assert file.read_bytes() == whole


def test_an_error_passes_and_is_not_remembered():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        remember("texts", 1, fail)
    assert remember("texts", 1, Maker("now")) == "now"


def test_a_cache_that_cannot_be_written_costs_nothing_else(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "file"))
    make = Maker()
    assert [remember("texts", 1, make) for _ in range(2)] == [make.text] * 2
    assert make.calls == 2
