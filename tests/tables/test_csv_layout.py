import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard

from mixopt.errors import MissingExtraError, TrialsError
from mixopt.tables.csv_layout import (
    find_delimiter,
    find_table,
    name_ids,
)
from mixopt.tables.read_trials import read_trials

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=20).round(4)
FRAME = pd.DataFrame(RATIOS, columns=["ratio/web", "ratio/code", "ratio/math"])
FRAME.insert(0, "run", [f"r{i}" for i in range(20)])
FRAME["loss"] = np.linspace(2, 3, 20).round(3)


def values(path):
    trials = read_trials(runs=path)
    assert trials.domains == ("web", "code", "math")
    return [t.id for t in trials], trials.ratios(), [t.scores["loss"].value for t in trials]


CSV = FRAME.to_csv(index=False)
LINES = FRAME.to_json(orient="records", lines=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons.csv", FRAME.to_csv(index=False, sep=";")),
        ("german.csv", FRAME.to_csv(index=False, sep=";", decimal=",")),
        ("quoted.csv", FRAME.to_csv(index=False, decimal=",")),
        ("tabs.csv", FRAME.to_csv(index=False, sep="\t")),
        ("tabs.txt", FRAME.to_csv(index=False, sep="\t")),
        ("tabs", FRAME.to_csv(index=False, sep="\t", decimal=",")),
        ("unicode.txt", FRAME.to_csv(index=False, sep="\t").encode("utf-16")),
        ("excel.csv", "sep=;\r\n" + FRAME.to_csv(index=False, sep=";", decimal=",")),
        ("bars.csv", FRAME.to_csv(index=False, sep="|")),
        ("commented.csv", "# runs, of May\n#\n" + CSV),
        ("savetxt.csv", "# " + CSV),
        ("open-ends.csv", CSV.replace("\n", ",\n") + ",,,,,\n"),
        ("lines.txt", LINES),
        ("array", FRAME.to_json(orient="records")),
        ("wandb.table.json", FRAME.to_json(orient="split", index=False)),
        ("padded.csv", CSV.replace(",", " , ")),
        ("mark.csv", "\ufeff" + CSV),
        ("a.ndjson", LINES),
        ("a.jsonl.gz", LINES),
        ("a.json.zst", LINES),
        ("lines.json", LINES),
        ("a.csv.gz", CSV),
    ],
)
def test_every_layout_gives_the_same_trials(tmp_path, name, content):
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(name.rsplit(".")[-1], bytes)
    (tmp_path / name).write_bytes(pack(content.encode() if isinstance(content, str) else content))
    ids, ratios, losses = values(tmp_path / name)
    assert ids == list(FRAME["run"])
    assert np.abs(ratios - RATIOS / RATIOS.sum(axis=1, keepdims=True)).max() < 1e-12
    assert losses == list(FRAME["loss"])


def test_marks_between_cells():
    assert find_delimiter("run\tacc,none\tacc_stderr,none") == "\t"
    assert find_delimiter("run;acc,none;f1") == ";"
    assert find_delimiter('run,"a;b",c') == ","
    assert find_delimiter("run") == ","
    assert find_delimiter("run|acc") == "|"
    assert find_table("sep=~\nrun~acc\n") == ("run~acc\n", "~")
    # a comment of as many words as the header has columns is no header, as no numbers follow
    assert find_table("# a, b\nrun,acc\nx,1\n") == ("run,acc\nx,1\n", ",")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"run  acc\nx    0.5\n", "parted by spaces: save it with commas"),
        (b"| run | acc |\n|---|---|\n", "a table of Markdown: save it with commas"),
        ("run,acc\nMüll,1\n".encode("cp1252"), "byte 9 is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_layouts_that_are_refused(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TrialsError, match=words):
        read_trials(runs=tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ([3.0, 10.0], ["3", "10"]),
        (["3", "10.0"], ["3", "10"]),
        ([7, 2**70], ["7", str(2**70)]),
        (["12e5", "34e2"], ["12e5", "34e2"]),
        (["007", "8"], ["7", "8"]),
        ([0.5, 1.0], ["0.5", "1.0"]),
        (["0.50", "1"], ["0.5", "1.0"]),
        (["1.1", "1.10", "1.1", "2"], ["1.1", "1.10", "1.1", "2"]),
        ([" r1 ", "r2"], ["r1", "r2"]),
    ],
)
def test_ids(ids, named):
    assert list(name_ids(pd.Series(ids))) == named


def test_ids_of_a_join_and_hashes_meet_theirs(tmp_path):
    ratios = FRAME.drop(columns="loss")
    for first, second in ((range(20), [f"{i}.0" for i in range(20)]),
                          ([f"{i}e{i % 7}" for i in range(20)],) * 2):  # fmt: skip
        ratios.assign(run=list(first)).to_csv(tmp_path / "r.csv", index=False)
        FRAME[["loss"]].assign(run=list(second)).to_csv(tmp_path / "m.csv", index=False)
        trials = read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv")
        assert [t.id for t in trials] == list(map(str, first))


@pytest.mark.parametrize(
    "name", ["Run", "run_name", "uuid", "model", "Run ID", "RUN_ID", "sys/id", "number"]
)
def test_names_of_id_columns(name):
    frame = FRAME.rename(columns={"run": name})
    assert [t.id for t in read_trials(runs=frame)] == list(FRAME["run"])
    pair = read_trials(ratios=frame.drop(columns="loss"), metrics=frame[[name, "loss"]])
    assert [t.id for t in pair] == list(FRAME["run"])


def test_ids_of_trackers_go_before_names_that_people_give():
    """W&B's names and those of MLflow's page need not differ."""
    frame = FRAME.rename(columns={"run": "Run ID"}).assign(Name="sweep", Status="FINISHED")
    assert [t.id for t in read_trials(runs=frame)] == list(FRAME["run"])
    with pytest.raises(TrialsError, match="'sweep' more than once.*another column .*--id"):
        read_trials(runs=frame.drop(columns="Run ID"))


def test_ids_that_pandas_wrote_as_an_index_without_a_name(tmp_path):
    """It ended in an internal error."""
    indexed = FRAME.set_index("run").rename_axis(None)
    indexed.to_csv(tmp_path / "runs.csv")
    assert values(tmp_path / "runs.csv")[0] == list(FRAME["run"])
    indexed.drop(columns="loss").to_csv(tmp_path / "ratios.csv")
    indexed[["loss"]].sample(frac=1, random_state=0).to_csv(tmp_path / "metrics.csv")
    pair = read_trials(ratios=tmp_path / "ratios.csv", metrics=tmp_path / "metrics.csv")
    assert [t.scores["loss"].value for t in pair] == list(FRAME["loss"])


@pytest.mark.parametrize("name", ["weight_{}", "w_{}", "proportion/{}", "{}_ratio", "weights.{}"])
def test_names_of_ratio_columns(name):
    columns = {f"ratio/{domain}": name.format(domain) for domain in ("web", "code", "math")}
    frame = FRAME.rename(columns=columns)
    trials = read_trials(runs=frame)
    assert (trials.domains, [m.name for m in trials.metrics]) == (("web", "code", "math"), ["loss"])
    assert read_trials(runs=frame, domains=["math", "web", "code"]).domains == (
        "math",
        "web",
        "code",
    )


def test_zero_with_an_error_of_arithmetic():
    frame = FRAME.copy()
    frame.loc[0, ["ratio/web", "ratio/code", "ratio/math"]] = [-1e-17, 0.4, 0.6]
    assert read_trials(runs=frame)[0].ratios["web"] == 0
    frame.loc[0, "ratio/web"] = -1e-3
    with pytest.raises(ValueError, match="run r0: a ratio is missing, infinite or negative"):
        read_trials(runs=frame)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz"])
def test_damaged_files_are_told_in_one_sentence(tmp_path, name):
    packed = gzip.compress(LINES.encode()) if name.endswith("gz") else b"no zstandard"
    (tmp_path / name).write_bytes(packed[:60])
    with pytest.raises(TrialsError, match="cannot be read as") as caught:
        read_trials(runs=tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
@pytest.mark.parametrize(
    ("ratios", "metrics"),
    [
        ("european-decimals/ratios", "european-decimals/metrics"),
        ("european-decimals/ratios_semicolon", "european-decimals/metrics_quoted"),
        ("float-ids/ratios", "float-ids/metrics"),
        ("total-column/ratios", "total-column/metrics"),
    ],
)
def test_tables_of_users(ratios, metrics):
    trials = read_trials(ratios=CASES / f"{ratios}.csv", metrics=CASES / f"{metrics}.csv")
    assert trials.domains == ("web", "code", "math")
    assert dict(trials[3].ratios) == pytest.approx({"web": 0.2451, "code": 0.2598, "math": 0.4951})
    assert trials[3].scores["val_loss"].value == 2.23492


def test_the_core_install_says_what_zst_needs(tmp_path, monkeypatch):
    (tmp_path / "a.csv.zst").write_bytes(zstandard.compress(CSV.encode()))
    monkeypatch.setattr("mixopt.errors.is_installed", lambda package: package != "zstandard")
    with pytest.raises(MissingExtraError, match="needs zstandard; run: pip install"):
        read_trials(runs=tmp_path / "a.csv.zst")


def test_row_numbers_before_tabs(tmp_path):
    """The name of row numbers is empty, so that the header begins with a tab."""
    FRAME.to_csv(tmp_path / "runs.tsv", sep="\t")
    ids, ratios, losses = values(tmp_path / "runs.tsv")
    assert (ids, losses) == (list(FRAME["run"]), list(FRAME["loss"]))
    (tmp_path / "commented.tsv").write_text("# of May\n \t\n" + FRAME.to_csv(sep="\t"))
    assert np.array_equal(values(tmp_path / "commented.tsv")[1], ratios)


@pytest.mark.parametrize(("name", "content"), [("a.csv.zst", CSV), ("a.jsonl.zst", LINES)])
def test_a_table_cut_off_within_zstd_is_no_table(tmp_path, name, content):
    packer = zstandard.ZstdCompressor().compressobj()
    whole_rows = content[: content.index("\n", content.index("r9")) + 1]
    packed = packer.compress(whole_rows.encode())
    packed += packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    (tmp_path / name).write_bytes(packed)  # whole rows, and then nothing
    with pytest.raises(TrialsError, match="not a whole compressed file"):
        read_trials(runs=tmp_path / name)


def test_gzip_damaged_within_is_told(tmp_path):
    packed = bytearray(gzip.compress(CSV.encode()))
    packed[40:60] = bytes(20)
    (tmp_path / "a.csv.gz").write_bytes(packed)
    with pytest.raises(TrialsError, match="cannot be read as CSV"):
        read_trials(runs=tmp_path / "a.csv.gz")


def test_runs_with_numbers_of_versions_are_two(tmp_path):
    ids = [f"1.{i}" for i in range(20)]  # 1.1 and 1.10, 1.2 and ...
    FRAME.assign(run=ids)[["run", "loss"]].to_csv(tmp_path / "m.csv", index=False)
    FRAME.assign(run=ids).drop(columns="loss").to_csv(tmp_path / "r.csv", index=False)
    trials = read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv")
    assert [t.id for t in trials] == ids


def test_cells_parted_by_single_spaces_are_told():
    with pytest.raises(ValueError, match="its cells are parted by spaces"):
        find_table("run web code\na 0.5 0.5\n")
    assert find_table("my notes\nno table\n")[1] == ","
