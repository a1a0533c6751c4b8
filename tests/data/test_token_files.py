"""Files of tokens, written here byte by byte as their formats say."""

import random
import struct
from itertools import islice

import numpy as np
import pytest
from data.test_litdata_files import write_litdata

from mixopt.config.text import TokensTextConfig
from mixopt.data import token_files
from mixopt.data.token_files import list_token_files, open_token_file
from mixopt.errors import DataError

EOS, SIZE = 0, 300


def documents(n=50, seed=0):
    rng = random.Random(seed)
    return [
        [rng.randrange(1, SIZE) for _ in range(rng.choice([1, 4, 30]))] + [EOS] for _ in range(n)
    ]


def write_megatron(folder, name, found, *, code=8, sequences=1):
    """`code` is that of uint16; a document may be cut into sequences."""
    dtype = {8: "<u2", 4: "<i4"}[code]
    pieces = [[list(each) for each in np.array_split(one, sequences)] for one in found]
    flat = [piece for one in pieces for piece in one]
    tokens = np.array([token for piece in flat for token in piece], dtype=dtype)
    (folder / f"{name}.bin").write_bytes(tokens.tobytes())
    lengths = np.array([len(piece) for piece in flat], dtype="<i4")
    places = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype("<i8") * tokens.itemsize
    borders = np.arange(0, len(flat) + 1, sequences).astype("<i8")
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(flat), len(borders))
    (folder / f"{name}.idx").write_bytes(
        head + lengths.tobytes() + places.tobytes() + borders.tobytes()
    )
    return folder / name


def write_olmo(folder, name, found, dtype="<u2"):
    tokens = np.array([token for one in found for token in one], dtype=dtype)
    (folder / f"{name}.npy").write_bytes(tokens.tobytes())
    return folder / f"{name}.npy"


def write_numpy(folder, name, found, dtype="<u2"):
    tokens = np.array([token for one in found for token in one], dtype=dtype)
    np.save(folder / f"{name}.npy", tokens)
    return folder / f"{name}.npy"


def write_datatrove(folder, name, found, dtype="<u2"):
    tokens = np.array([token for one in found for token in one], dtype=dtype)
    (folder / f"{name}.ds").write_bytes(tokens.tobytes())
    ends = np.cumsum([len(one) for one in found])
    (folder / f"{name}.ds.index").write_bytes(struct.pack(f"<{len(ends)}Q", *ends.tolist()))
    (folder / f"{name}.ds.metadata").write_text(f"toy|{tokens.itemsize}\n{len(tokens)}\n0.0 B")
    return folder / f"{name}.ds"


WRITERS = {
    "megatron": write_megatron,
    "megatron-int32": lambda *a: write_megatron(*a, code=4),
    "megatron-sequences": lambda *a: write_megatron(*a, sequences=3),
    "olmo": write_olmo,
    "olmo-uint32": lambda *a: write_olmo(*a, "<u4"),
    "numpy": write_numpy,
    "numpy-int64": lambda *a: write_numpy(*a, "<i8"),
    "datatrove": write_datatrove,
    "litdata": write_litdata,
    "litdata-numpy": lambda *a: write_litdata(*a, stored="no_header_numpy:6"),
    "datatrove-uint32": lambda *a: write_datatrove(*a, "<u4"),
}


def open_one(path, size=SIZE, **more):
    source = TokensTextConfig(kind="tokens", paths=[str(path)], tokenizer="toy", **more)
    (file,) = list_token_files(source)
    return open_token_file(file, source.format, source.dtype, EOS, size)


@pytest.mark.parametrize("name", WRITERS)
def test_ranges_have_each_document_once(tmp_path, name, monkeypatch):
    monkeypatch.setattr(token_files, "SEARCHED", 5)
    found = documents()
    file = open_one(WRITERS[name](tmp_path, "x", found))
    total = sum(map(len, found))
    assert file.n_tokens == total
    for size in (1, 7, 64, total):
        read = [
            (end, tokens.tolist())
            for start in range(0, total, size)
            for end, tokens in file.read(start, min(start + size, total))
        ]
        assert [tokens for _, tokens in read] == found
        assert [end for end, _ in read] == np.cumsum([len(one) for one in found]).tolist()


def test_a_document_without_an_end_is_the_last_one(tmp_path):
    file = open_one(write_olmo(tmp_path, "x", [[5, 6, EOS], [7, 8]]))
    assert [tokens.tolist() for _, tokens in file.read(0, 5)] == [[5, 6, EOS], [7, 8]]


def test_globs_and_prefixes(tmp_path):
    write_megatron(tmp_path, "a", documents())
    write_datatrove(tmp_path, "b", documents())

    def names(*paths):
        source = TokensTextConfig(
            kind="tokens", paths=[str(tmp_path / path) for path in paths], tokenizer="t"
        )
        return [file.name for file in list_token_files(source)]

    assert names("a") == names("a.bin") == names("a.idx") == names("a.*") == ["a.bin"]
    assert names("b.ds*") == ["b.ds"]
    assert names("*", "a") == ["a.bin", "b.ds"]
    with pytest.raises(DataError, match="No file of tokens matches"):
        names("c")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda d: (d / "a.idx").unlink(), "has no a.idx beside it"),
        (lambda d: (d / "a.idx").write_bytes(b"TNTIDX\0\0" + bytes(99)), "is no index of Megatron"),
        (lambda d: (d / "a.idx").write_bytes((d / "a.idx").read_bytes()[:-8]), "damaged or of another"),
        (lambda d: (d / "a.bin").write_bytes(bytes(10)), "a.bin is shorter than its index says"),
    ],
)  # fmt: skip
def test_broken_pairs_are_told_in_one_sentence(tmp_path, break_it, words):
    write_megatron(tmp_path, "a", documents())
    break_it(tmp_path)
    with pytest.raises(DataError, match=words):
        open_one(tmp_path / "a.bin")


def test_files_of_another_type(tmp_path):
    for values, words in (
        (np.arange(9.0), "holds float64, not integers"),
        (np.array([{}]), "no whole array of numpy"),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(DataError, match=words):
            open_one(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.arange(9, dtype=np.uint16))
    with pytest.raises(DataError, match="holds uint16, not uint32"):
        open_one(tmp_path / "a.npy", dtype="uint32")
    write_olmo(tmp_path, "b", [[60_000, 59_000, 50_001, 1]])
    with pytest.raises(DataError, match="holds ids beyond the 300 tokens"):
        open_one(tmp_path / "b.npy")
    (tmp_path / "c.tokens").write_bytes(bytes(8))
    with pytest.raises(DataError, match="no ending that tells its format"):
        open_one(tmp_path / "c.tokens")
    write_olmo(tmp_path, "d", [[1, 2, 3]])
    with pytest.raises(DataError, match="no whole number of uint32 tokens"):
        open_one(tmp_path / "d.npy", dtype="uint32")
    write_datatrove(tmp_path, "e", documents())
    with pytest.raises(DataError, match="e.ds is shorter than its index says"):
        open_one(tmp_path / "e.ds", dtype="uint32")


def test_no_file_is_uint16_for_a_vocabulary_beyond_it(tmp_path):
    """A wrong tokenizer would not be noticed: any two bytes are an id below 65,536."""
    write_olmo(tmp_path, "a", [[120_000, 3, EOS]], "<u4")
    with pytest.raises(
        DataError, match="beyond the 100,000 tokens .* as uint32; name the tokenizer"
    ):
        open_one(tmp_path / "a.npy", size=100_000)
    write_olmo(tmp_path, "b", [[99_000, 3, EOS]], "<u4")
    assert open_one(tmp_path / "b.npy", size=100_000).n_tokens == 3
    assert open_one(tmp_path / "b.npy", size=100_000, dtype="uint16").n_tokens == 6


def test_files_without_tokens_are_told_in_one_sentence(tmp_path):
    for name in ("a.npy", "a.ds", "a.bin"):
        (tmp_path / name).touch()
        (tmp_path / "a.ds.index").touch()
        with pytest.raises(DataError, match=rf"{name} is empty; take it out"):
            open_one(tmp_path / name)
    np.save(tmp_path / "b.npy", np.zeros(0, np.uint16))
    with pytest.raises(DataError, match=r"b\.npy has no token; take it out"):
        open_one(tmp_path / "b.npy")


def test_an_index_that_does_not_fit_its_tokens(tmp_path):
    file = write_datatrove(tmp_path, "a", documents())
    index = tmp_path / "a.ds.index"
    whole = index.read_bytes()
    for content in (b"", whole[:-3]):
        index.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.ds\.index is no whole index of documents"):
            open_one(file)
    index.write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"a\.ds is longer than its index says; correct `dtype`"):
        open_one(file)


def test_plain_tokens_end_with_their_file(tmp_path):
    file = open_one(write_olmo(tmp_path, "x", [[5, 6, EOS], [7, 8]]))
    read = islice(file.read(3, 99), 9)
    assert [(end, tokens.tolist()) for end, tokens in read] == [(5, [7, 8])]


def test_folders_of_mds_are_told_what_to_do(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "index.json").write_text('{"version": 2, "shards": []}')
    (tmp_path / "d" / "shard.00000.mds").write_bytes(bytes(8))
    for path in ("d", "d/shard.00000.mds", "d/*"):
        source = TokensTextConfig(kind="tokens", paths=[str(tmp_path / path)], tokenizer="t")
        with pytest.raises(
            DataError, match="a folder of MosaicML's MDS, which is not read: write its"
        ):
            list_token_files(source)


def test_tokens_alone_in_a_bin_of_nanogpt(tmp_path):
    found = documents()
    write_olmo(tmp_path, "train", found).rename(tmp_path / "train.bin")
    with pytest.raises(
        DataError, match="no train.idx beside it; give both files, or say `format: olmo`"
    ):
        open_one(tmp_path / "train.bin")
    file = open_one(tmp_path / "train.bin", format="olmo")
    assert [tokens.tolist() for _, tokens in file.read(0, file.n_tokens)] == found


def test_tokens_without_any_separator_are_no_one_document(tmp_path, monkeypatch):
    monkeypatch.setattr(token_files, "LONGEST", 100)
    write_olmo(tmp_path, "a", [[7] * 101])
    with pytest.raises(DataError, match="has no separator .token 0.* in its first 100 tokens"):
        open_one(tmp_path / "a.npy")


def test_what_megatron_itself_writes_is_read(tmp_path):
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    import torch

    found = documents()
    builder = indexed.IndexedDatasetBuilder(str(tmp_path / "m.bin"), dtype=np.uint16)
    for one in found:
        builder.add_item(torch.tensor(one))
        builder.end_document()
    builder.finalize(str(tmp_path / "m.idx"))
    file = open_one(tmp_path / "m")
    assert [tokens.tolist() for _, tokens in file.read(0, file.n_tokens)] == found


@pytest.mark.parametrize("other", ["folder", "x.ds.index"])
def test_a_path_that_names_no_tokens_is_told_beside_one_that_does(tmp_path, other):
    write_olmo(tmp_path, "a", documents())
    (tmp_path / "folder").mkdir()
    write_olmo(tmp_path / "folder", "b", documents())
    (tmp_path / "x.ds.index").write_bytes(bytes(8))
    paths = [str(tmp_path / "a.npy"), str(tmp_path / other)]
    source = TokensTextConfig(kind="tokens", paths=paths, tokenizer="t")
    words = r"; of a folder give the files in it \(FOLDER/\*\)" if other == "folder" else ";"
    with pytest.raises(DataError, match=f"No file of tokens matches .*{other}{words}"):
        list_token_files(source)
    twice = source.model_copy(update={"paths": [paths[0], str(tmp_path / "*.npy")]})
    assert [file.name for file in list_token_files(twice)] == ["a.npy"]


def test_tokens_of_64_bits_are_no_tokens_with_zeros_between(tmp_path):
    np.array([5, 6, 7, EOS, 8, 9, EOS], dtype=np.int64).tofile(tmp_path / "a.npy")
    with pytest.raises(DataError, match="holds tokens of 64 bits .*; write them as uint32"):
        open_one(tmp_path / "a.npy")
    np.array([5, 0, 7, EOS, 8, 9], dtype=np.uint32).tofile(tmp_path / "b.npy")
    assert open_one(tmp_path / "b.npy").n_tokens == 6
    np.zeros(6, dtype=np.uint32).tofile(tmp_path / "c.npy")
    assert open_one(tmp_path / "c.npy").n_tokens == 6
