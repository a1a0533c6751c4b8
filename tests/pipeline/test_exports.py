import pytest
import toy
from plans import proposal

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.study import ExportConfig
from mixopt.errors import ExportError
from mixopt.pipeline import exports
from mixopt.pipeline.exports import check_exports, export_artifact, write_export

PLAN = proposal({"web": 0.6, "code": 0.4})


def test_an_export_is_written_once_and_found_again(tmp_path, monkeypatch):
    wanted = ExportConfig(format="yaml", out="mixture.yaml")
    store, folder = ArtifactStore(tmp_path / "store"), tmp_path / "exports"
    (first,) = write_export(wanted, PLAN, store, folder)
    content, when = first.read_bytes(), first.stat().st_mtime_ns
    monkeypatch.setattr(exports, "export_phases", lambda *_, **__: pytest.fail("written again"))
    assert write_export(wanted, PLAN, store, folder) == [first]
    assert first.stat().st_mtime_ns == when
    first.write_text("spoiled")
    write_export(wanted, PLAN, store, folder)
    assert first.read_bytes() == content


def test_what_determines_an_export_is_in_its_key():
    wanted = ExportConfig(format="yaml", out="mixture.yaml")
    keys = [
        export_artifact(wanted, PLAN).key,
        export_artifact(wanted, proposal({"web": 0.5, "code": 0.5})).key,
        export_artifact(wanted.model_copy(update={"format": "json"}), PLAN).key,
        export_artifact(wanted.model_copy(update={"paths": "/data/{domain}"}), PLAN).key,
        export_artifact(wanted.model_copy(update={"options": {"x": 1}}), PLAN).key,
    ]
    assert len({str(key) for key in keys}) == len(keys)


def test_an_export_is_written_again_where_its_data_changed(tmp_path):
    """Of a domain with several files the share is split by their sizes here."""
    for name in ("web_0.bin", "code.bin"):
        (tmp_path / name).write_text("x")
    paths = {"web": str(tmp_path / "web_*"), "code": str(tmp_path / "code.bin")}
    wanted = ExportConfig(format="megatron", out="blend.txt", paths=paths)
    store, folder = ArtifactStore(tmp_path / "store"), tmp_path / "exports"
    write_export(wanted, PLAN, store, folder)
    (tmp_path / "web_1.bin").write_text("xxx")
    (file,) = write_export(wanted, PLAN, store, folder)
    assert file.read_text().split()[:4] == [
        "0.15", str(tmp_path / "web_0.bin"), "0.45", str(tmp_path / "web_1.bin"),
    ]  # fmt: skip


def test_a_format_of_your_own_is_always_written(tmp_path):
    wanted = ExportConfig(format="plans:write_count", out="count.txt")
    for count in ("1", "2"):
        (file,) = write_export(wanted, PLAN, ArtifactStore(tmp_path / "store"), tmp_path)
        assert file.read_text() == count
    assert not (tmp_path / "store").exists()


def test_an_export_called_like_a_manifest_is_kept_whole(tmp_path):
    wanted = ExportConfig(format="yaml", out="artifact.json")
    (file,) = write_export(wanted, PLAN, ArtifactStore(tmp_path / "store"), tmp_path)
    assert file.read_text().startswith("token_ratios:")


def test_a_format_of_ones_own_needs_leave(tmp_path):
    exports = [{"format": "plans:write_count", "out": "count.txt"}]
    recipe = load_study(toy.write_study(tmp_path, exports=exports))
    with pytest.raises(ExportError, match="pass --run-code if you trust it"):
        check_exports(recipe, run_code=False)
    check_exports(recipe, run_code=True)


def test_an_export_without_the_path_of_a_bucket_says_how_to_write_it(tmp_path):
    path = toy.write_study(tmp_path, exports=[{"format": "megatron", "out": "m.txt",
                                               "paths": {"ships": "a", "sums": "b"}}])  # fmt: skip
    config = load_study(path)
    split = {"by": "length", "quantiles": [0.5]}
    plain = config.model_dump(mode="json")
    plain["experts"][0]["split"] = split
    plain["benchmarks"] = [b | {"own_domain": None} for b in plain["benchmarks"]]
    with pytest.raises(
        ExportError, match="'m.txt' needs a path of 'birds:q1'.*`mixopt buckets STUDY`"
    ):
        check_exports(type(config).model_validate(plain), run_code=False)
