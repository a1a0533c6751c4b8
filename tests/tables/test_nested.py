import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.nested import find_rows, flatten_cells
from mixopt.tables.read_trials import read_trials

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=8)
ROWS = [
    {"run": f"r{i}", "ratios": dict(zip(("web", "code", "math"), row, strict=True)),
     "metrics": {"val_loss": 2 + i / 10}}
    for i, row in enumerate(RATIOS.tolist())
]  # fmt: skip
FLAT = [{"run": r["run"], **{f"ratio/{k}": v for k, v in r["ratios"].items()},
         "val_loss": r["metrics"]["val_loss"]} for r in ROWS]  # fmt: skip


def require(trials):
    assert [t.id for t in trials] == [row["run"] for row in ROWS]
    assert trials.domains == ("web", "code", "math")
    assert np.allclose(trials.ratios(), RATIOS)
    assert [t.scores["loss"].value for t in trials] == [2 + i / 10 for i in range(8)]


def by_id(rows):
    return {row["run"]: {k: v for k, v in row.items() if k != "run"} for row in rows}


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        FLAT,
        {"runs": ROWS},
        [{**{k: v for k, v in r.items() if k != "ratios"}, "data_mix": r["ratios"]} for r in ROWS],
        {"version": 1, "data": FLAT},
        by_id(ROWS),
        by_id(FLAT),
        [{**row, "ratios": json.dumps(row["ratios"])} for row in ROWS],
        [{**row, "ratios": str(row["ratios"])} for row in ROWS],
        [{"run": r["run"], "config": {"mixture": r["ratios"], "lr": 1e-3, "name": "x"},
          "summary": {**r["metrics"], "_runtime": 3}} for r in ROWS],
    ],
)  # fmt: skip
def test_nested_json_gives_the_same_trials(tmp_path, content):
    (tmp_path / "runs.json").write_text(json.dumps(content))
    require(read_trials(runs=tmp_path / "runs.json"))


@pytest.mark.parametrize("write", [str, json.dumps])
def test_mappings_in_cells_of_csv(tmp_path, write):
    """As W&B's documented export writes them, and MLflow's parameters."""
    rows = [
        {"name": r["run"], "config": write({"mixture": r["ratios"], "lr": 1e-3}),
         "summary": write({**r["metrics"], "_timestamp": 3})}
        for r in ROWS
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "project.csv")
    require(read_trials(runs=tmp_path / "project.csv"))
    rows = [{"run_id": r["run"], "params.ratios": write(r["ratios"]),
             "metrics.val_loss": r["metrics"]["val_loss"]} for r in ROWS]  # fmt: skip
    require(read_trials(runs=pd.DataFrame(rows)))


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
@pytest.mark.parametrize("name", ["runs.json", "runs.jsonl", "wrapped.json"])
def test_tables_of_users(name):
    trials = read_trials(runs=CASES / "nested-json" / name)
    assert trials.domains == ("web", "code", "math")
    assert trials[0].scores["loss"].value == 2.19869


def test_a_table_by_columns_is_none_of_these():
    frame = pd.DataFrame(FLAT)
    assert find_rows(json.loads(frame.to_json())) is None
    assert find_rows({"a": 1}) is None
    assert find_rows({}) is None


def test_cells_that_are_no_mappings_stay():
    frame = pd.DataFrame({"a": ["{x", "{'b': __import__('os')}", "{1, 2}"], "c": [1, 2, 3]})
    assert flatten_cells(frame).equals(frame)
    deep = pd.DataFrame({"a": ["{" * 5000, "{}", None]})
    assert "a" not in flatten_cells(deep.iloc[1:2]).columns
    assert flatten_cells(deep.iloc[:1]).equals(deep.iloc[:1])


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda mixture: str({name: np.float64(ratio) for name, ratio in mixture.items()}),
        lambda mixture: str(OrderedDict(mixture)),
        json.dumps,
    ],
)
def test_mixtures_as_text_of_python(spell, tmp_path):
    rows = pd.DataFrame(ROWS)
    rows = rows.assign(ratios=rows["ratios"].map(spell), val_loss=[2 + i / 10 for i in range(8)])
    rows.drop(columns="metrics").to_csv(tmp_path / "runs.csv", index=False)
    require(read_trials(runs=tmp_path / "runs.csv"))


def test_maps_of_arrow_and_lists(tmp_path):
    """Cells that are lists ended in an internal error."""
    kind = pa.map_(pa.string(), pa.float64())
    mixtures = [list(row["ratios"].items()) for row in ROWS]
    table = pa.table({"run": [r["run"] for r in ROWS], "ratios": pa.array(mixtures, kind),
                      "val_loss": [2 + i / 10 for i in range(8)], "tags": [["a", "b"]] * 8})  # fmt: skip
    pq.write_table(table, tmp_path / "runs.parquet")
    require(read_trials(runs=tmp_path / "runs.parquet"))
    with pytest.raises(TrialsError, match="no columns look like ratios"):
        read_trials(runs=pd.DataFrame({"run": ["a", "b"], "mix": [[0.5, 0.5]] * 2, "loss": [1, 2]}))


def test_mixtures_by_run():
    rows = {"r1": {"web": 0.5, "code": 0.5}, "r2": {"web": 20, "code": 80}}
    assert find_rows(rows)[0] == {"run": "r1", "web": 0.5, "code": 0.5}
    assert find_rows({"web": {"0": 0.5, "1": 0.5}, "code": {"0": 0.5, "1": 0.5}}) is None
    assert find_rows({"r1": {"loss": 2.5, "acc": 0.5}}) is None
