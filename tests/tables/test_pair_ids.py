import numpy as np
import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.pair_ids import choose_pair_ids, require_same_rows
from mixopt.tables.read_trials import read_trials

N = 8
RATIOS = pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(3), size=N).round(6))
RATIOS.columns = ["web", "code", "math"]
RATIOS["math"] = 1 - RATIOS["web"] - RATIOS["code"]
LOSS = np.linspace(2, 3, N)
ORDER = np.random.default_rng(1).permutation(N)


def losses(ratios, metrics, **options):
    """Return the loss of each mixture by its ratio of web."""
    trials = read_trials(ratios=ratios, metrics=metrics, **options)
    return {round(t.ratios["web"], 6): t.scores["loss"].value for t in trials}


EXPECTED = dict(zip(RATIOS["web"], LOSS, strict=True))
LAUNCHED = pd.DataFrame({"run": range(N), "id": ORDER, "loss": LOSS[ORDER]})
"""Runs were launched in another order than the mixtures have."""


@pytest.mark.parametrize("names", ["id", "ID", "name", "Run ID"])
def test_an_id_that_both_tables_have_goes_before_others(names, tmp_path):
    """Both `id` and `run` count from 0, and a mixture got the loss of another."""
    ratios = RATIOS.assign(**{names: range(N)})
    assert losses(ratios, LAUNCHED.rename(columns={"id": names})) == EXPECTED
    ratios.to_csv(tmp_path / "r.csv", index=False)
    LAUNCHED.rename(columns={"id": names.lower()}).to_csv(tmp_path / "m.csv", index=False)
    assert losses(tmp_path / "r.csv", tmp_path / "m.csv") == EXPECTED


def test_names_that_both_have_go_before_numbers_of_each():
    names = np.array([f"mix-{i}" for i in range(N)])
    metrics = pd.DataFrame({"name": names[ORDER], "run": range(N), "loss": LOSS[ORDER]})
    assert losses(RATIOS.assign(name=names, id=range(N)), metrics) == EXPECTED
    assert losses(RATIOS.assign(id=range(N)), LAUNCHED.drop(columns="run")) == EXPECTED


def test_what_is_no_id_of_both():
    ratios, metrics = RATIOS.assign(id=range(N)), LAUNCHED[["run", "loss"]]
    sweep = ratios.assign(name="sweep"), metrics.assign(name="sweep")
    assert choose_pair_ids(*sweep) == ("id", "run")
    apart = ratios.assign(name=[f"a{i}" for i in range(N)]), metrics.assign(name="b")
    assert choose_pair_ids(*apart) == ("id", "run")
    positions = ratios.assign(index=range(N)), metrics.assign(index=range(N))
    assert choose_pair_ids(*positions) == ("id", "run")
    assert choose_pair_ids(RATIOS, metrics) == (None, "run")
    assert choose_pair_ids(ratios.assign(run=1), metrics.assign(id=0), ["id"]) == ("run", "run")


def test_hashes_that_meet_go_before_numbers_of_both():
    hashes = np.array([f"x{i}y" for i in range(N)])
    ratios = RATIOS.assign(run_id=hashes, id=range(N))
    metrics = pd.DataFrame({"run": hashes[ORDER], "id": ORDER, "loss": LOSS[ORDER]})
    assert choose_pair_ids(ratios, metrics) == ("run_id", "run")
    assert losses(ratios, metrics) == EXPECTED
    with pytest.raises(TrialsError, match="by 'run_id' and by 'run', and both have a column 'id'"):
        losses(ratios, metrics.assign(id=range(N)))
    assert losses(ratios, metrics, id_column="id") == EXPECTED


@pytest.mark.parametrize("column", ["mixture", "label", "index"])
def test_a_column_of_both_that_differs_after_the_join_is_refused(column):
    names = np.arange(N) if column != "label" else np.array([f"mix-{i}" for i in range(N)])
    ratios = RATIOS.assign(id=range(N), **{column: names})
    metrics = LAUNCHED[["run", "loss"]].assign(**{column: names[ORDER]})
    with pytest.raises(TrialsError, match=f"{column!r}, which differs after that join.*--id"):
        read_trials(ratios=ratios, metrics=metrics)
    found = losses(ratios, metrics, id_column=column, domains=["web", "code", "math"])
    assert found == EXPECTED


def test_columns_that_may_differ():
    ratios = RATIOS.assign(id=range(N), status="done", seed=[0, 1] * 4, host="a")
    metrics = pd.DataFrame({"run": range(N), "loss": LOSS, "seed": [1, 0] * 4, "host": "b",
                            "web": LOSS + 1, "status": "running"})  # fmt: skip
    require_same_rows(ratios, metrics, ("id", "run"))
    require_same_rows(ratios, metrics.assign(seed=range(N)), ("id", None))
    twice = pd.concat([ratios.assign(label="a"), ratios.assign(label="b")])
    require_same_rows(twice, metrics.assign(label=["a", "b"] * 4), ("id", "run"))
