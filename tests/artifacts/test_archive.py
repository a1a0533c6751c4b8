import gzip
import hashlib
import json
import lzma
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import toy
import zstandard
from calling import call

import mixopt
from mixopt.artifacts.archive import INDEX, pack, unpack
from mixopt.errors import OutputError

ENDINGS = (".tar", ".tar.gz", ".tar.zst")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "study"
    (place / "journal" / "experts" / "web-1").mkdir(parents=True)
    (place / "journal" / "experts" / "web-1" / "weights.bin").write_bytes(bytes(range(256)) * 40)
    (place / "proposal.json").write_text("{}")
    (place / "journal" / "experts" / ".web-2-abc").mkdir()
    (place / "journal" / "experts" / ".web-2-abc" / "half").write_text("half")
    (place / "journal" / "experts" / ".web-2.lock").write_text("")
    return place


@pytest.mark.parametrize("ending", ENDINGS)
def test_packing_and_unpacking_keeps_every_file(folder, tmp_path, ending):
    archive = tmp_path / f"x{ending}"
    assert pack(folder, archive) == 2
    assert unpack(archive, tmp_path / "there") == 2
    for name in ("journal/experts/web-1/weights.bin", "proposal.json"):
        assert (tmp_path / "there" / name).read_bytes() == (folder / name).read_bytes()
    names = {path.name for path in (tmp_path / "there").rglob("*")}
    assert not any(name.startswith(".") for name in names)  # what was being made stays behind
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_damage_is_noticed_and_leaves_nothing(folder, tmp_path, ending):
    archive = tmp_path / f"x{ending}"
    pack(folder, archive)
    whole = archive.read_bytes()
    step = max(1, len(whole) // 23)
    for place in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        archive.write_bytes(flipped)
        try:
            unpack(archive, tmp_path / "there")
        except OutputError:
            assert not (tmp_path / "there").exists()
        else:  # a byte that nothing depends on: padding, or a field of the header
            found = (
                tmp_path / "there" / "journal" / "experts" / "web-1" / "weights.bin"
            ).read_bytes()
            assert found == bytes(range(256)) * 40
            import shutil

            shutil.rmtree(tmp_path / "there")
    for cut in (0, 10, len(whole) // 2, len(whole) - 1100 if ending == ".tar" else len(whole) - 3):
        archive.write_bytes(whole[: max(cut, 0)])
        try:
            unpack(archive, tmp_path / f"cut-{cut}")
        except OutputError:
            assert not (tmp_path / f"cut-{cut}").exists()
        else:
            assert (tmp_path / f"cut-{cut}" / "proposal.json").read_text() == "{}"


def write_tar(path, members, index):
    with tarfile.open(path, "w") as tar:
        for name, content, kind in [(INDEX, json.dumps({"files": index}).encode(), None), *members]:
            import io

            member = tarfile.TarInfo(name)
            member.size = len(content)
            if kind is not None:
                member.type, member.linkname, member.size = kind, "/etc/passwd", 0
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape-absolute", "a/../../escape"])
def test_an_untrusted_archive_cannot_write_outside_the_folder(tmp_path, name):
    digest = hashlib.blake2b(b"x").hexdigest()[:32]
    write_tar(tmp_path / "x.tar", [(name, b"x", None)], {name: [1, digest]})
    with pytest.raises(OutputError, match="would leave the folder"):
        unpack(tmp_path / "x.tar", tmp_path / "in" / "there")
    assert not (tmp_path / "escape").exists()
    assert not (tmp_path / "in" / "escape").exists()


def test_links_are_left_out_and_told(folder, tmp_path, caplog):
    """A folder of artifacts that leads to a larger disk was left out without a word."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "model.bin").write_bytes(b"x")
    before = pack(folder, tmp_path / "x.tar")
    assert "Links" not in caplog.text
    (folder / "elsewhere").symlink_to(disk)
    (folder / ".scratch").symlink_to(disk)  # unfinished, so nobody misses it
    assert pack(folder, tmp_path / "x.tar") == before
    assert (
        f"Links are left out of the archive of {folder}: 'elsewhere'; put there what" in caplog.text
    )
    for number in range(4):
        (folder / f"link {number}").symlink_to(disk / "model.bin")
    pack(folder, tmp_path / "x.tar")
    assert "'link 1' and 2 more; put" in caplog.text


def test_links_are_no_files(tmp_path):
    write_tar(tmp_path / "x.tar", [("a", b"", tarfile.SYMTYPE)], {"a": [0, "x"]})
    with pytest.raises(OutputError, match="is not the file that was packed"):
        unpack(tmp_path / "x.tar", tmp_path / "there")


def test_folders_and_archives_that_are_refused(folder, tmp_path):
    with pytest.raises(OutputError, match=r"\.tar, \.tar\.gz or \.tar\.zst"):
        pack(folder, tmp_path / "x.zip")
    with pytest.raises(OutputError, match="does not exist"):
        pack(tmp_path / "none", tmp_path / "x.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match="nothing to pack"):
        pack(tmp_path / "empty", tmp_path / "x.tar")
    pack(folder, tmp_path / "x.tar")
    with pytest.raises(OutputError, match="holds something already"):
        unpack(tmp_path / "x.tar", folder)
    with pytest.raises(OutputError, match="does not exist"):
        unpack(tmp_path / "none.tar", tmp_path / "y")
    (tmp_path / "other.tar").write_bytes(b"\0" * 10240)
    with pytest.raises(OutputError, match="pack it again"):
        unpack(tmp_path / "other.tar", tmp_path / "y")


def test_an_unpacked_study_continues(tmp_path, monkeypatch):
    from mixopt.training import trainer

    path = toy.write_study(tmp_path)
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    proposal = study.propose(study.search())[0]
    output = call("pack", tmp_path / "out", tmp_path / "study.tar.zst")
    assert "files into" in output
    call("unpack", tmp_path / "study.tar.zst", tmp_path / "elsewhere")
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    there = mixopt.Study.load(path, tmp_path / "elsewhere", cache=tmp_path / "other", device="cpu")
    assert there.propose(there.search())[0].to_json() == proposal.to_json()


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_study_is_the_same_archive(folder, tmp_path, ending, monkeypatch):
    pack(folder, tmp_path / f"a{ending}")
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: 2e9)
        pack(folder, tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize("content", ["{}{}", "", "[]"])
def test_a_file_that_changes_while_packing_is_an_error(folder, tmp_path, monkeypatch, content):
    from mixopt.artifacts import archive

    real = archive.hash_content

    def hash_and_change(file, *, read=False):
        digest = real(file, read=read)
        if file.name == "proposal.json":
            file.write_text(content)
        return digest

    monkeypatch.setattr(archive, "hash_content", hash_and_change)
    with pytest.raises(OutputError, match=r"proposal\.json is being written; stop the run"):
        pack(folder, tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()


def test_an_archive_among_the_results_is_not_packed_into_itself(folder):
    assert pack(folder, folder / "x.tar") == 2
    assert pack(folder, folder / "x.tar") == 2


def test_a_huge_index_is_refused(tmp_path, monkeypatch):
    from mixopt.artifacts import archive

    monkeypatch.setattr(archive, "MAX_INDEX_BYTES", 100)
    write_tar(tmp_path / "x.tar", [], {f"file {i}": [1, "x"] for i in range(50)})
    with pytest.raises(OutputError, match="larger than any of ours"):
        unpack(tmp_path / "x.tar", tmp_path / "y")


@pytest.mark.parametrize("place", [".", "./", "../there"])
def test_an_empty_folder_that_one_is_in_is_filled(folder, tmp_path, monkeypatch, place):
    pack(folder, tmp_path / "x.tar")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert unpack(Path("../x.tar"), Path(place)) == 2
    assert os.path.samefile(os.getcwd(), tmp_path / "there")
    assert {p.name for p in Path().iterdir()} == {p.name for p in folder.iterdir()}


def test_an_empty_folder_stays_empty_where_the_archive_is_damaged(folder, tmp_path):
    pack(folder, tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes()[:-12_000])
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="is damaged"):
        unpack(tmp_path / "x.tar", tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_records_for_the_users_server_are_not_packed(folder, tmp_path):
    for place in (folder / "mlflow-spool", folder / "phases" / "a" / "mlflow-spool"):
        place.mkdir(parents=True)
        (place / "1.jsonl").write_text("{}")
    assert pack(folder, tmp_path / "x.tar") == 2
    unpack(tmp_path / "x.tar", tmp_path / "there")
    assert list((tmp_path / "there").rglob("mlflow-spool")) == []


def test_jobs_with_credentials_are_not_packed(folder, tmp_path):
    for place in (folder / "executor" / "7", folder / "phases" / "a" / "executor" / "7"):
        place.mkdir(parents=True)
        (place / "7_submitted.pkl").write_text("s3://key:secret@host")
    named = folder / "exports" / "executor" / "mixture.yaml"
    named.parent.mkdir(parents=True)
    named.write_text("{}")
    assert pack(folder, tmp_path / "x.tar") == 3
    unpack(tmp_path / "x.tar", tmp_path / "there")
    assert list((tmp_path / "there").rglob("*.pkl")) == []
    assert (tmp_path / "there" / "exports" / "executor" / "mixture.yaml").is_file()


@pytest.mark.parametrize("name", [
    "executor/7/7_submitted.pkl", "./Executor/7.pkl", "phases/a/executor/7.pkl",
    "mlflow-spool/1.jsonl", "MLflow-Spool/1.jsonl", "a/../mlflow-spool/1.jsonl",
    "./mlflow-spool/1.jsonl", "phases/a/mlflow-spool/1.jsonl",
    "artifacts/experts/.web-0123.begun/state.pt", ".lock",
])  # fmt: skip
def test_what_pack_leaves_out_is_not_unpacked(tmp_path, caplog, name):
    digest = hashlib.blake2b(b"x").hexdigest()[:32]
    files = {name: [1, digest], "proposal.json": [1, digest]}
    write_tar(tmp_path / "x.tar", [(one, b"x", None) for one in files], files)
    assert unpack(tmp_path / "x.tar", tmp_path / "there") == 1
    found = [p.name for p in (tmp_path / "there").rglob("*") if p.is_file()]
    assert found == ["proposal.json"]
    assert "is left out: no archive of mixopt has it" in caplog.text


def peak_of(call):
    """Bytes that Python had allocated at most during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_refused_before_it_is_read(tmp_path, ending, kind):
    """Zeros of any number are some kilobytes of an archive."""
    size = 64 << 20
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    content = member.tobuf(tarfile.USTAR_FORMAT) + bytes(size)
    compress = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.zst": zstandard.compress}[ending]
    (tmp_path / f"x{ending}").write_bytes(compress(content))

    def attempt():
        with pytest.raises(OutputError, match="larger than any of ours|is not the file"):
            unpack(tmp_path / f"x{ending}", tmp_path / "there")

    assert peak_of(attempt) < size / 4


def test_an_archive_that_unpacks_to_too_much_writes_nothing(tmp_path):
    content = bytes(5 << 20)
    digest = hashlib.blake2b(content).hexdigest()[:32]
    write_tar(tmp_path / "x.tar", [("a", content, None)], {"a": [len(content), digest]})
    with pytest.raises(OutputError, match=r"x\.tar holds 0\.0 GB .* pass --max-size 1GB"):
        unpack(tmp_path / "x.tar", tmp_path / "there", max_size=1 << 20)
    assert not (tmp_path / "there").exists()
    assert "pass --max-size" in call("unpack", tmp_path / "x.tar", tmp_path / "b", "--max-size", "1MB",
                                     code=2)  # fmt: skip
    assert "is no size" in call(
        "unpack", tmp_path / "x.tar", tmp_path / "b", "--max-size", "x", code=2
    )
    call("unpack", tmp_path / "x.tar", tmp_path / "b", "--max-size", "6MiB")
    write_tar(tmp_path / "x.tar", [], {"a": [10**18, digest]})
    with pytest.raises(OutputError, match="GB free; choose another place"):
        unpack(tmp_path / "x.tar", tmp_path / "there", max_size=10**19)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 500 + "b", "a//b", "a\0b"])
def test_names_that_no_disk_takes_are_refused(tmp_path, name):
    digest = hashlib.blake2b(b"x").hexdigest()[:32]
    write_tar(tmp_path / "x.tar", [(name, b"x", None)], {name: [1, digest]})
    with pytest.raises(OutputError, match="is damaged or was not written by"):
        unpack(tmp_path / "x.tar", tmp_path / "there")


def test_another_compression_is_not_opened(folder, tmp_path):
    """xz may ask for gigabytes of memory."""
    pack(folder, tmp_path / "x.tar")
    (tmp_path / "y.tar").write_bytes(lzma.compress((tmp_path / "x.tar").read_bytes()))
    with pytest.raises(OutputError, match="is damaged or was not written by"):
        unpack(tmp_path / "y.tar", tmp_path / "there")


def test_more_files_than_an_archive_takes(folder, tmp_path, monkeypatch):
    from mixopt.artifacts import archive

    monkeypatch.setattr(archive, "MAX_INDEX_BYTES", 100)
    with pytest.raises(OutputError, match="more files than an archive takes"):
        pack(folder, tmp_path / "x.tar")
