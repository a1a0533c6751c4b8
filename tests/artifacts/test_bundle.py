import base64
import json
import os

import pytest

from mixopt.artifacts import bundle
from mixopt.artifacts.artifact import Artifact, ArtifactRecord, hash_file_content
from mixopt.artifacts.bundle import DamagedError, Parcel, is_name
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import StorageError

FILES = {"inner/x.bin": bytes(range(256)), "told.json": b'{"a": 1}'}


@pytest.fixture
def unit(tmp_path):
    def build(scratch):
        for name, content in FILES.items():
            (scratch / name).parent.mkdir(exist_ok=True)
            (scratch / name).write_bytes(content)

    return ArtifactRecord.read(
        ArtifactStore(tmp_path).get_or_build(Artifact("kind", "web", {"of": "text"}), build)
    )


def test_a_small_unit_comes_back_with_its_files(unit):
    found = Parcel.read(Parcel.pack(unit).told)
    assert found.at is None
    assert {name: found.content(name) for name in found.files} == FILES
    told = found.manifest
    assert told["key"] == {"of": "text"}
    assert told["seconds"] == unit.seconds
    assert told["files"]["told.json"] == [8, hash_file_content(unit.folder / "told.json")]


def test_a_large_unit_says_where_its_files_are(unit, monkeypatch):
    monkeypatch.setattr(bundle, "SMALL", unit.n_bytes)
    assert Parcel.pack(unit).at is None
    monkeypatch.setattr(bundle, "SMALL", unit.n_bytes - 1)
    sent = Parcel.pack(unit)
    found = Parcel.read(sent.told)
    assert found.at == sent.at != Parcel.pack(unit).at  # two makers' files never mix
    assert found.inside is None
    assert found.files == sent.files


def test_a_file_that_is_not_inside_is_damage(unit):
    plain = json.loads(Parcel.pack(unit).told)
    for content in (
        {},
        {"told.json": 1},
        {"told.json": "?"},
        {"told.json": "é"},
        {"told.json": "A"},
    ):
        with pytest.raises(DamagedError, match=r"'told.json' is missing"):
            Parcel.read(json.dumps(plain | {"content": content}).encode()).content("told.json")


GOOD = {"key": {}, "files": {"x": [1, "0" * 32]}, "seconds": 1.0, "content": {"x": "AA=="}}


@pytest.mark.parametrize("told", [
    b"", b"\xff\xfe", b"null", b"[]", b"{}", b"{", b"[" * 10_000, b'{"a":' * 10_000,
    json.dumps(GOOD).encode()[:-1],
    json.dumps(GOOD | {"key": []}).encode(),
    json.dumps(GOOD | {"seconds": "1"}).encode(),
    json.dumps(GOOD | {"seconds": float("inf")}).encode(),
    json.dumps(GOOD).replace("1.0", "1" * 5000).encode(),
    json.dumps(GOOD | {"files": ["x"]}).encode(),
    json.dumps(GOOD | {"files": {"x": 1}}).encode(),
    json.dumps(GOOD | {"files": {"x": [1]}}).encode(),
    json.dumps(GOOD | {"files": {"x": [1e999, "0" * 32]}}).encode(),
    json.dumps(GOOD | {"files": {"x": [1, "../" * 10]}}).encode(),
    json.dumps(GOOD | {"files": {"x": [1, "0" * 32], "x/y": [1, "0" * 32]}}).encode(),
    json.dumps(GOOD | {"files": {"\ud800": [1, "0" * 32]}}).encode(),
    json.dumps(GOOD | {"at": "0123456789abcdef"}).encode(),
    json.dumps(GOOD | {"content": None}).encode(),
    json.dumps(GOOD | {"content": None, "at": "../../etc"}).encode(),
    json.dumps(GOOD | {"content": None, "at": ["0123456789abcdef"]}).encode(),
    json.dumps(GOOD).encode() + b" " * bundle.LARGEST,
])  # fmt: skip
def test_what_is_none_of_ours_is_nothing(told):
    assert Parcel.read(json.dumps(GOOD).encode()) is not None
    assert Parcel.read(told) is None


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", "artifact.json", "a\0b",
    "\udc80", "x" * 256, "/".join(["x" * 200] * 5),
])  # fmt: skip
def test_names_that_lead_elsewhere_or_nowhere_are_none_of_ours(name):
    assert not is_name(name)
    told = GOOD | {"files": {name: [1, "0" * 32]}, "content": {name: "AA=="}}
    assert Parcel.read(json.dumps(told).encode()) is None


@pytest.mark.parametrize(
    "name", ["x", "inner/x.bin", "inner/artifact.json", "..x", "a b", "é" * 100]
)
def test_names_of_files_are_ours(name):
    assert is_name(name)


def test_random_changes_are_damage_or_nothing_and_never_another_content(unit):
    """Of a thousand parcels with one byte changed."""
    told = bytearray(Parcel.pack(unit).told)
    for _ in range(1000):
        at, value = int.from_bytes(os.urandom(4)) % len(told), os.urandom(1)[0]
        changed = bytes(told[:at]) + bytes([value]) + bytes(told[at + 1 :])
        found = Parcel.read(changed)
        for name in () if found is None else found.files:
            try:
                content = found.content(name)
            except DamagedError:
                continue
            assert isinstance(content, bytes)


@pytest.mark.parametrize("name", ["x" * 255 + "/y" * 300, "\udc80"])
def test_a_file_that_no_storage_takes_is_told(tmp_path, name, monkeypatch):
    unit = ArtifactRecord(tmp_path, {}, {name: (bundle.SMALL + 1, "0" * 32)}, 0.0)
    with pytest.raises(StorageError, match="which no storage takes; rename or join"):
        Parcel.pack(unit)


def test_more_files_than_a_parcel_names_are_told(unit, monkeypatch):
    monkeypatch.setattr(bundle, "LARGEST", 100)
    with pytest.raises(StorageError, match="has 2 files, which no storage takes"):
        Parcel.pack(unit)


def test_the_largest_small_unit_is_read_again(tmp_path):
    def build(scratch):
        (scratch / "x").write_bytes(os.urandom(bundle.SMALL))

    told = Parcel.pack(
        ArtifactRecord.read(
            ArtifactStore(tmp_path).get_or_build(Artifact("kind", "web", {}), build)
        )
    ).told
    assert len(base64.b64decode(json.loads(told)["content"]["x"])) == bundle.SMALL
    assert len(told) < bundle.LARGEST
    assert Parcel.read(told) is not None
