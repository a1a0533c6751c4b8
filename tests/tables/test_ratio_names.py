import numpy as np
import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.ratio_names import find_ratio_columns
from mixopt.tables.read_trials import read_trials


def test_ratio_columns_of_a_mixed_table():
    columns = ["run", "ratio/a", "ratio/b", "weight/a", "weight/b", "loss"]
    assert find_ratio_columns(columns, None) == {"ratio/a": "a", "ratio/b": "b"}
    assert find_ratio_columns(["a", "b", "loss"], ["b", "a"]) == {"b": "b", "a": "a"}
    with pytest.raises(TrialsError, match="Did you mean 'code'"):
        find_ratio_columns(["code", "web"], ["cod"])
    with pytest.raises(TrialsError, match="look like ratios"):
        find_ratio_columns(["a", "b"], None)


FIRST, SECOND = (np.random.default_rng(seed).dirichlet(np.ones(2), size=8) for seed in (0, 1))


def phases(first, second, form="{phase}/{domain}"):
    parts = {form.format(phase=phase, domain=domain): cells
             for phase, matrix in (("stage1", first), ("stage2", second))
             for domain, cells in zip(("web", "code"), matrix.T, strict=True)}  # fmt: skip
    return pd.DataFrame({"run": [f"r{i}" for i in range(8)], "loss": np.linspace(2, 3, 8)} | parts)


@pytest.mark.parametrize("form", ["{phase}/{domain}", "ratio/{phase}/{domain}"])
def test_ratios_of_two_phases_are_asked_for(form):
    """Those of the first were taken, and those of the second were metrics."""
    frame = phases(FIRST, SECOND, form)
    with pytest.raises(
        TrialsError, match="or more than one, sums to 1 in all runs; name them with"
    ):
        read_trials(runs=frame, better="lower")
    names = [form.format(phase="stage2", domain=domain) for domain in ("web", "code")]
    named = read_trials(runs=frame, domains=names, metrics=["loss"])
    assert named.ratios() == pytest.approx(SECOND)


def test_ratios_that_are_listed_twice_are_no_phases():
    trials = read_trials(runs=phases(FIRST, FIRST.round(3)), metrics=["loss"])
    assert trials.ratios() == pytest.approx(FIRST)
