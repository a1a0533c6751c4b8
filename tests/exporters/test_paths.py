import json

import pytest
import yaml
from plans import OPTIONS, PATHS, PROPOSAL, proposal

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config
from mixopt.exporters.export import FORMATS
from mixopt.exporters.paths import (
    expand_globs,
    find_splits,
    measure_bytes,
    resolve_paths,
    split_by_size,
)

SEVERAL = {**PATHS, "web": ["/d/web_00", "/d/web_01", "/d/web_02"]}
NO_PATHS = ("olmix",)


def test_one_pattern_stands_for_the_paths_of_all_domains():
    assert resolve_paths("/d/{domain}.bin", ["web", "code"]) == {
        "web": "/d/web.bin", "code": "/d/code.bin",
    }  # fmt: skip
    assert resolve_paths("/a/{domain},/b/{domain}", ["web"]) == {"web": ("/a/web", "/b/web")}
    with pytest.raises(ExportError, match="Did you mean 'web'"):
        resolve_paths({"wb": "/d"}, ["web", "code"])


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ({"web": []}, "The path of 'web' is"),
        ({"web": ["/d", 3]}, "The path of 'web' is"),
        ({"web": ["/d", "/d"]}, "name '/d' twice"),
        ({"web": ["/d", "/e"], "code": "/e"}, "'web' and 'code' have one path, '/e'"),
    ],
)
def test_lists_of_paths_that_are_none(paths, words):
    with pytest.raises(ExportError, match=words):
        resolve_paths(paths, ["web", "code"])


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in NO_PATHS])
def test_several_paths_of_a_domain_come_back_as_its_share(format):
    options = OPTIONS.get(format, {})
    text = mixopt.export(PROPOSAL, format, paths=SEVERAL, **options)
    if format != "olmo-core":
        assert all(path in text for path in SEVERAL["web"])
    (part,) = check_config(PROPOSAL, format, text, paths=SEVERAL, options=options)
    assert part.written["web"] == pytest.approx(2 / 3, abs=1e-6)
    assert part.total == pytest.approx(1, abs=1e-6) or format in ("axolotl",)


def test_the_share_is_split_by_size_where_all_are_here(tmp_path, caplog):
    caplog.set_level("INFO")
    for name, size in (("web_00", 100), ("web_01", 300)):
        (tmp_path / f"{name}.bin").write_bytes(b"x" * size)
        (tmp_path / f"{name}.idx").write_bytes(b"")
    paths = {**PATHS, "web": str(tmp_path / "web_*")}
    text = mixopt.export(PROPOSAL, "megatron", paths=paths)
    assert text == (
        f"0.166666667 {tmp_path}/web_00 0.5 {tmp_path}/web_01 0.333333333 {PATHS['code']}\n"
    )
    assert "The share of web is split among 2 paths, by their sizes" in caplog.text
    (part,) = check_config(PROPOSAL, "megatron", text, paths=paths)
    assert part.largest < 1e-8
    weights = [float(word) for word in text.split()[::2]]
    assert sum(weights) == 1


def test_the_share_is_split_evenly_where_a_size_is_not_known(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "a.jsonl").write_text("x" * 50)
    paths = {**PATHS, "web": [str(tmp_path / "a.jsonl"), "/elsewhere/b"]}
    text = mixopt.export(proposal({"web": 0.5, "code": 0.5, "law": 0}), "gpt-neox", paths=paths)
    assert yaml.safe_load(text)["train-data-weights"] == [0.25, 0.25, 0.5]
    assert "evenly: their sizes are not known here" in caplog.text


def test_digits_of_a_split_share_sum_to_it():
    ratios = {"web": 0.100000001, "code": 0.899999999, "law": 0.0}
    paths = {**PATHS, "web": [f"/d/{i}" for i in range(7)]}
    text = mixopt.export(proposal(ratios), "megatron", paths=paths)
    units = [round(float(word) * 10**9) for word in text.split()[::2]]
    assert sum(units[:7]) == 100_000_001
    assert max(units[:7]) - min(units[:7]) <= 1


def test_several_paths_where_a_config_takes_one():
    with pytest.raises(ExportError, match="takes one; give a folder"):
        mixopt.export(PROPOSAL, "trl", paths=SEVERAL, loader="hub")
    listed = json.loads(mixopt.export(PROPOSAL, "json", paths=SEVERAL))["paths"]
    assert listed["web"] == SEVERAL["web"]
    assert listed["law"] == PATHS["law"]


def test_globs(tmp_path):
    for name in ("a_0.bin", "a_0.idx", "a_1.bin", "b.jsonl"):
        (tmp_path / name).write_text("x")
    found = expand_globs([str(tmp_path / "a_*"), "/given"], "a")
    assert found == [str(tmp_path / "a_0"), str(tmp_path / "a_1.bin"), "/given"]
    with pytest.raises(ExportError, match="matches nothing on this machine"):
        expand_globs([str(tmp_path / "c_*")], "c")
    folder = tmp_path / "run[1]"  # a name, although it looks like a glob
    folder.mkdir()
    (folder / "d.bin").write_text("x")
    assert expand_globs([str(folder), str(folder / "d")], "a") == [str(folder), str(folder / "d")]


@pytest.mark.parametrize("format", ["axolotl", "litdata", "mosaicml-streaming"])
def test_globs_are_expanded_where_the_trainer_expands_none(format, tmp_path):
    for name in ("web_0", "web_1"):
        (tmp_path / name).write_text("x")
    paths = {**PATHS, "web": str(tmp_path / "web_*")}
    text = mixopt.export(PROPOSAL, format, paths=paths)
    assert "*" not in text
    assert str(tmp_path / "web_1") in text
    (part,) = check_config(PROPOSAL, format, text, paths=paths)
    assert part.written["web"] == pytest.approx(2 / 3, abs=1e-4)
    with pytest.raises(ExportError, match="matches nothing on this machine"):
        mixopt.export(PROPOSAL, format, paths={**PATHS, "web": str(tmp_path / "none_*")})


def test_bytes_of_files_folders_and_prefixes(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "x").write_text("abc")
    (tmp_path / "p.bin").write_text("abcd")
    assert measure_bytes(str(tmp_path / "f")) == 3
    assert measure_bytes(str(tmp_path / "f" / "x")) == 3
    assert measure_bytes(str(tmp_path / "p")) == 4
    assert measure_bytes(str(tmp_path / "q")) is None
    paths = [str(tmp_path / "f"), str(tmp_path / "p")]
    assert split_by_size(paths) == (dict(zip(paths, [3 / 7, 4 / 7], strict=True)), True)
    assert split_by_size([*paths[:1], "/no"]) == ({paths[0]: 0.5, "/no": 0.5}, False)


def test_splits_are_of_domains_with_several_paths_or_a_glob(tmp_path):
    for name, size in (("a_0", 3), ("a_1", 1)):
        (tmp_path / name).write_text("x" * size)
    paths = {"a": str(tmp_path / "a_*"), "b": ["/no/b_0", "/no/b_1"], "c": "/no/c", "d": "/no/d_*"}
    assert find_splits(paths, "abcd") == {
        "a": {str(tmp_path / "a_0"): 0.75, str(tmp_path / "a_1"): 0.25},
        "b": {"/no/b_0": 0.5, "/no/b_1": 0.5},
    }
    assert find_splits(None, "abcd") == {}
