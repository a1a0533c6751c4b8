import gzip

import pytest

from mixopt.io.text_content import read_text


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"a\rb\r",
        b"\xef\xbb\xbfa\nb\n",
        "a\nb\n".encode("utf-16"),
        gzip.compress(b"a\nb\n", mtime=0),
    ],
)
def test_text_of_any_system(tmp_path, content):
    path = tmp_path / ("t.gz" if content.startswith(b"\x1f") else "t.txt")
    path.write_bytes(content)
    assert read_text(path) == "a\nb\n"


def test_other_encodings_are_told(tmp_path):
    (tmp_path / "t.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match="byte 0 is not UTF-8 text: save it as UTF-8"):
        read_text(tmp_path / "t.txt")
