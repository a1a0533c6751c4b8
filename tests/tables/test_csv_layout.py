import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard

from mixopt.errors import MissingExtraError, TrialsError
from mixopt.tables.csv_layout import convert_decimal_commas, find_delimiter, name_ids
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
    (tmp_path / name).write_bytes(pack(content.encode()))
    ids, ratios, losses = values(tmp_path / name)
    assert ids == list(FRAME["run"])
    assert np.abs(ratios - RATIOS / RATIOS.sum(axis=1, keepdims=True)).max() < 1e-12
    assert losses == list(FRAME["loss"])


def test_marks_between_cells():
    assert find_delimiter("run\tacc,none\tacc_stderr,none") == "\t"
    assert find_delimiter("run;acc,none;f1") == ";"
    assert find_delimiter('run,"a;b",c') == ","
    assert find_delimiter("run") == ","


def test_thousands_are_no_decimal_commas():
    frame = pd.DataFrame({"a": ["1,234", "2,500"], "b": ["1,234", "0,500"], "c": ["x", "1,2"]})
    unsure = convert_decimal_commas(frame, surely=False)
    assert list(unsure["a"]) == ["1,234", "2,500"]
    assert list(unsure["b"]) == [1.234, 0.5]
    assert list(unsure["c"]) == ["x", "1,2"]
    assert list(convert_decimal_commas(frame, surely=True)["a"]) == [1.234, 2.5]


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ([3.0, 10.0], ["3", "10"]),
        (["3", "10.0"], ["3", "10"]),
        ([7, 2**70], ["7", str(2**70)]),
        (["12e5", "34e2"], ["12e5", "34e2"]),
        (["007", "8"], ["7", "8"]),
        ([0.5, 1.0], ["0.5", "1.0"]),
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


@pytest.mark.parametrize("name", ["Run", "run_name", "uuid", "model"])
def test_names_of_id_columns(name):
    trials = read_trials(runs=FRAME.rename(columns={"run": name}))
    assert [t.id for t in trials] == list(FRAME["run"])


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
