import numpy as np
import pandas as pd
import pytest

from mixopt.tables.read_trials import read_trials
from mixopt.tables.run_ids import find_id_column, find_ids, further_ids

RATIOS = np.random.default_rng(0).dirichlet(np.ones(2), size=8)


def tables(name):
    """Return ratios and metrics in another order, both numbered by `reset_index()`."""
    runs = [f"r{i}" for i in range(8)]
    ratios = pd.DataFrame(RATIOS, columns=["web", "code"]).assign(**{name: runs}).reset_index()
    scores = pd.DataFrame({name: runs[::-1], "loss": RATIOS[::-1, 0]}).reset_index()
    return ratios, scores


@pytest.mark.parametrize(
    "name", ["Name", "ID", "Run", "uuid", "run_name", "number", "model", "trial"]
)
def test_positions_name_runs_only_where_nothing_else_does(name):
    ratios, scores = tables(name)
    trials = read_trials(ratios=ratios, metrics=scores)
    losses = [t.scores["loss"].value for t in trials]
    assert losses == pytest.approx([t.ratios["web"] for t in trials])
    assert trials[0].id == "r0"


def test_positions_name_runs_of_tables_without_other_ids():
    ratios, scores = (t.drop(columns="Name") for t in tables("Name"))
    assert read_trials(ratios=ratios, metrics=scores)[0].id == "0"
    assert find_ids(["index", "web", "Run ID", "Name"]) == ["Run ID", "Name", "index"]


def test_one_model_of_all_runs_does_not_name_them():
    frame = pd.DataFrame({"model": ["1B"] * 3, "index": [0, 1, 2]})
    assert find_id_column(frame) == "index"
    assert find_id_column(frame[["model"]]) == "model"
    assert find_id_column(frame.assign(model=["a", "b", "c"])) == "model"
    assert find_id_column(frame.assign(id=[1, 2, 3]), ["id"]) == "index"


def test_a_domain_may_be_called_as_ids_are(caplog):
    """`id` is Indonesian."""
    caplog.set_level("INFO")
    rows = {"run": list("abcd"), "id": [100, 0, 300, 100], "en": [300, 400, 100, 300]}
    metrics = pd.DataFrame({"run": list("abcd"), "loss": [1.0, 2.0, 3.0, 1.1]})
    trials = read_trials(ratios=pd.DataFrame(rows), metrics=metrics, counts=True)
    assert trials.domains == ("id", "en")
    assert trials[0].ratios["id"] == 0.25
    assert "id holds numbers that name no runs and is taken for a domain" in caplog.text
    shares = pd.DataFrame(rows).assign(id=[0.25, 0, 0.75, 0.25], en=[0.75, 1, 0.25, 0.75])
    assert read_trials(ratios=shares, metrics=metrics)[0].ratios == trials[0].ratios
    different = pd.DataFrame(rows).assign(id=[101, 0, 300, 100], code=1)
    assert read_trials(ratios=different, metrics=metrics, counts=True).domains == ("en", "code")
    assert "id is left out; name it by domains= (--domains on the shell) if it is" in caplog.text


@pytest.mark.parametrize(
    ("cells", "may_count"),
    [
        ([0, 1, 0, 1], True),  # tables that were joined one below the other
        ([7, 9, 7, 9], False),
        ([1.1, 1.2, 1.3, 1.4], False),
        (["a", "b", "a", "b"], True),
        ([3, 5, 9, 11], True),
    ],
)
def test_further_ids_are_no_domains(cells, may_count):
    frame = pd.DataFrame({"trial": cells, "web": 1})
    assert further_ids(frame, (), may_count=may_count) == (["trial"], [])
    assert further_ids(frame, ("trial",), may_count=may_count) == ([], [])
