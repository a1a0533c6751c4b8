"""Chunks of litdata, written here byte by byte and, where it is installed, by the library itself."""

import json
import random

import numpy as np
import pytest

from mixopt.config.text import TokensTextConfig
from mixopt.data.litdata_files import is_chunk, list_chunks, open_chunk
from mixopt.data.token_files import list_token_files, open_token_file
from mixopt.errors import DataError

TYPES = {"no_header_tensor:16": "<i4", "no_header_tensor:20": "<u2", "no_header_numpy:6": "<u4"}


def write_litdata(folder, name, found, stored="no_header_tensor:16", chunks=1, **config):
    """A folder of chunks of equally many documents; the path of its only chunk, or of the folder."""
    folder = folder / name
    folder.mkdir()
    listed = []
    for number, part in enumerate(np.array_split(np.arange(len(found)), chunks)):
        items = [np.array(found[index], TYPES[stored]).tobytes() for index in part]
        start = 4 * (len(items) + 2)
        offsets = start + np.cumsum([0, *map(len, items)])
        head = np.array([len(items), *offsets], "<u4").tobytes()
        (folder / f"chunk-0-{number}.bin").write_bytes(head + b"".join(items))
        listed.append({"filename": f"chunk-0-{number}.bin", "chunk_size": len(items)})
    settings = {"data_format": [stored], "compression": None, "item_loader": "TokensLoader"}
    index = {"chunks": listed, "config": settings | config}
    (folder / "index.json").write_text(json.dumps(index))
    return folder if chunks > 1 else folder / "chunk-0-0.bin"


def documents(n=40):
    rng = random.Random(1)
    return [[rng.randrange(1, 300) for _ in range(rng.choice([1, 3, 20]))] for _ in range(n)]


def read(path, **more):
    source = TokensTextConfig(kind="tokens", paths=[str(path)], tokenizer="toy", **more)
    opened = [
        open_token_file(file, source.format, source.dtype, 0, 300)
        for file in list_token_files(source)
    ]
    return [tokens.tolist() for file in opened for _, tokens in file.read(0, file.n_tokens)]


@pytest.mark.parametrize("stored", TYPES)
def test_the_items_of_all_chunks(tmp_path, stored):
    found = documents()
    folder = write_litdata(tmp_path, "d", found, stored, chunks=3)
    assert read(folder) == read(folder, format="litdata") == read(folder / "*") == found
    assert read(folder / "chunk-0-0.bin") == found[:14]
    assert [chunk.name for chunk in list_chunks(folder)] == [f"chunk-0-{n}.bin" for n in range(3)]
    assert is_chunk(folder / "chunk-0-2.bin")
    assert not is_chunk(folder / "other.bin")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"compression": "zstd"}, "with compression .'zstd'.; write it again without"),
        ({"encryption": {"algorithm": "fernet"}}, "with encryption"),
        ({"data_format": ["str", "int"]}, "holds .*'str'.* not tokens of a TokensLoader"),
        ({"data_format": ["no_header_tensor:1"]}, "not tokens of a TokensLoader"),
        ({"data_format": None}, "not tokens of a TokensLoader"),
    ],
)
def test_chunks_that_hold_something_else(tmp_path, config, words):
    write_litdata(tmp_path, "d", documents(), **config)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "d")


@pytest.mark.parametrize("kept", [0, 3, 100, -8])
def test_chunks_that_are_cut(tmp_path, kept):
    path = write_litdata(tmp_path, "d", documents())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="copy it again"):
        open_chunk(path)


@pytest.mark.filterwarnings("ignore")
def test_what_litdata_itself_writes_is_read(tmp_path):
    litdata = pytest.importorskip("litdata", reason="litdata is not installed")
    import torch

    found = documents(400)
    loader = litdata.TokensLoader(block_size=16)
    cache = litdata.streaming.Cache(str(tmp_path), chunk_bytes="4KB", item_loader=loader)
    for index, tokens in enumerate(found):
        cache[index] = torch.tensor(tokens, dtype=torch.int32)
    cache.done()
    cache.merge()
    assert read(tmp_path) == found
