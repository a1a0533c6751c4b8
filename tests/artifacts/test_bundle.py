import base64
import json
import os

import pytest

from mixopt.artifacts import bundle
from mixopt.artifacts.artifact import Artifact, ArtifactRecord
from mixopt.artifacts.bundle import Bundle, DamagedError, is_safe_path
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import StorageError
from mixopt.io.content_hash import hash_content

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


def test_a_small_artifact_is_inside_its_bundle(unit):
    found = Bundle.read(Bundle.pack(unit).serialized)
    assert found.folder is None
    assert {name: found.content(name) for name in found.files} == FILES
    told = found.manifest
    assert told["key"] == {"of": "text"}
    assert told["seconds"] == unit.seconds
    assert told["files"]["told.json"] == [8, hash_content(unit.folder / "told.json")]


def test_the_bundle_of_a_large_artifact_names_a_folder(unit, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_INLINE_BYTES", unit.n_bytes)
    assert Bundle.pack(unit).folder is None
    monkeypatch.setattr(bundle, "MAX_INLINE_BYTES", unit.n_bytes - 1)
    sent = Bundle.pack(unit)
    found = Bundle.read(sent.serialized)
    assert found.folder == sent.folder != Bundle.pack(unit).folder  # files of two writers never mix
    assert found.contents is None
    assert found.files == sent.files


def test_a_missing_or_undecodable_file_is_damage(unit):
    plain = json.loads(Bundle.pack(unit).serialized)
    for content in (
        {},
        {"told.json": 1},
        {"told.json": "?"},
        {"told.json": "é"},
        {"told.json": "A"},
    ):
        with pytest.raises(DamagedError, match=r"'told.json' is missing"):
            Bundle.read(json.dumps(plain | {"content": content}).encode()).content("told.json")


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
    json.dumps(GOOD).encode() + b" " * bundle.MAX_BYTES,
])  # fmt: skip
def test_invalid_content_is_no_bundle(told):
    assert Bundle.read(json.dumps(GOOD).encode()) is not None
    assert Bundle.read(told) is None


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", "artifact.json", "a\0b",
    "\udc80", "x" * 256, "/".join(["x" * 200] * 5),
])  # fmt: skip
def test_unsafe_paths_are_refused(name):
    assert not is_safe_path(name)
    told = GOOD | {"files": {name: [1, "0" * 32]}, "content": {name: "AA=="}}
    assert Bundle.read(json.dumps(told).encode()) is None


@pytest.mark.parametrize(
    "name", ["x", "inner/x.bin", "inner/artifact.json", "..x", "a b", "é" * 100]
)
def test_safe_paths_are_taken(name):
    assert is_safe_path(name)


def test_random_changes_are_damage_or_invalid_and_never_other_content(unit):
    """Of a thousand parcels with one byte changed."""
    told = bytearray(Bundle.pack(unit).serialized)
    for _ in range(1000):
        at, value = int.from_bytes(os.urandom(4)) % len(told), os.urandom(1)[0]
        changed = bytes(told[:at]) + bytes([value]) + bytes(told[at + 1 :])
        found = Bundle.read(changed)
        for name in () if found is None else found.files:
            try:
                content = found.content(name)
            except DamagedError:
                continue
            assert isinstance(content, bytes)


@pytest.mark.parametrize("name", ["x" * 255 + "/y" * 300, "\udc80"])
def test_a_file_name_that_no_storage_takes_is_an_error(tmp_path, name, monkeypatch):
    unit = ArtifactRecord(tmp_path, {}, {name: (bundle.MAX_INLINE_BYTES + 1, "0" * 32)}, 0.0)
    with pytest.raises(StorageError, match="which no storage takes; rename or join"):
        Bundle.pack(unit)


def test_too_many_files_are_an_error(unit, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BYTES", 100)
    with pytest.raises(StorageError, match="has 2 files, which no storage takes"):
        Bundle.pack(unit)


def test_the_largest_inline_artifact_is_read_again(tmp_path):
    def build(scratch):
        (scratch / "x").write_bytes(os.urandom(bundle.MAX_INLINE_BYTES))

    told = Bundle.pack(
        ArtifactRecord.read(
            ArtifactStore(tmp_path).get_or_build(Artifact("kind", "web", {}), build)
        )
    ).serialized
    assert len(base64.b64decode(json.loads(told)["content"]["x"])) == bundle.MAX_INLINE_BYTES
    assert len(told) < bundle.MAX_BYTES
    assert Bundle.read(told) is not None
