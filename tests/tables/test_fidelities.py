from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.surrogates.multi_fidelity import order_fidelities
from mixopt.tables.fidelities import name_fidelities
from mixopt.tables.read_trials import read_trials

CASES = Path(__file__).parents[3] / "shared" / "cases"
SMALL, LARGE = 10, 6
RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=SMALL + LARGE)
TABLE = pd.DataFrame(RATIOS, columns=["ratio/web", "ratio/code", "ratio/math"])
TABLE.insert(0, "run", [f"r{i}" for i in range(len(TABLE))])
TABLE["val_loss"] = np.linspace(2, 3, len(TABLE))


def table(small, large, column):
    return TABLE.assign(**{column: [small] * SMALL + [large] * LARGE})


def counts(trials):
    return {level: len(trials.at(level)) for level in order_fidelities(trials, None)}


@pytest.mark.parametrize(
    ("column", "small", "large", "levels"),
    [
        ("model_size", "60M", "1B", ["60M", "1B"]),
        ("model_size", 6e7, 1e9, ["60M", "1B"]),
        ("model_size", 60, 1000, ["60", "1000"]),
        ("model_size", "1B", "60M", ["60M", "1B"]),
        ("Fidelity", "60M", "1B", ["60M", "1B"]),
        ("Model Size", "60M", "1B", ["60M", "1B"]),
        ("params.Model_Size", "60M", "1B", ["60M", "1B"]),
        ("Kind", "merged", "trained", ["merged", "trained"]),
        ("kind", "60M", "1B", ["60M", "1B"]),
        ("params.model_size", "60M", "1B", ["60M", "1B"]),
        ("config.model.n_params", 6e7, 1e9, ["60M", "1B"]),
        ("n_params", "6e7", "1e9", ["60M", "1B"]),
        ("Num_Parameters", 60_000_000, 1_000_000_000, ["60M", "1B"]),
        ("model", "Tiny-60M", "Small-1B", ["Tiny-60M", "Small-1B"]),
        ("model_name", "EleutherAI/pythia-70m", "EleutherAI/pythia-1.4b",
         ["EleutherAI/pythia-70m", "EleutherAI/pythia-1.4b"]),
        ("size", "150M", "7b", ["150M", "7b"]),
        ("arch", "olmo2_190M", "olmo2_1B", ["olmo2_190M", "olmo2_1B"]),
    ],
)  # fmt: skip
def test_sizes_are_fidelities_under_any_name(column, small, large, levels):
    trials = read_trials(runs=table(small, large, column))
    assert [m.name for m in trials.metrics] == ["loss"]
    sizes = (
        [SMALL, LARGE] if str(small) in levels[0] or small in (6e7, "6e7", 60_000_000) else [6, 10]
    )
    assert counts(trials) == dict(zip(levels, sizes, strict=True))


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
@pytest.mark.parametrize("name", ["runs", "model", "num", "params"])
def test_tables_of_users(name):
    trials = read_trials(runs=CASES / "levels" / f"{name}.csv")
    assert list(counts(trials).values()) == [10, 6]


def test_which_runs_enter_is_said(caplog):
    caplog.set_level("INFO")
    read_trials(runs=table("Tiny-60M", "Small-1B", "model"))
    assert "'model' tells models apart: Tiny-60M 10, Small-1B 6." in caplog.text


def test_sizes_in_either_of_two_tables():
    both = table("60M", "1B", "model")
    ratios, scores = both[["run", *TABLE.columns[1:4]]], both[["run", "val_loss"]]
    expected = {"60M": SMALL, "1B": LARGE}
    model = both[["model"]]
    assert counts(read_trials(ratios=ratios.join(model), metrics=scores)) == expected
    assert counts(read_trials(ratios=ratios, metrics=scores.join(model))) == expected
    assert counts(read_trials(ratios=ratios.join(model), metrics=scores.join(model))) == expected


def test_one_mixture_at_two_sizes_is_two_trials():
    small = TABLE.assign(model="60M")
    trials = read_trials(runs=pd.concat([small, small[:6].assign(model="1B", val_loss=1.0)]))
    assert counts(trials) == {"60M": 16, "1B": 6}
    assert {t.scores["loss"].value for t in trials.at("1B")} == {1.0}


def test_counts_of_parameters_that_differ_by_a_vocabulary_are_one_size():
    counted = [61_000_000 + 90_000 * (i % 3) for i in range(SMALL)] + [1_010_000_000] * LARGE
    assert counts(read_trials(runs=TABLE.assign(n_params=counted))) == {
        "61M": SMALL,
        "1.01B": LARGE,
    }
    alike = [61_000_000 + 90_000 * (i % 3) for i in range(len(TABLE))]
    assert read_trials(runs=TABLE.assign(n_params=alike)).levels == ("trained",)


def test_several_models_without_a_size_are_refused_with_the_remedy():
    frame = table("tiny", "small", "model")
    with pytest.raises(
        TrialsError, match=r"tiny 10, small 6 by its column 'model'.*--fidelities tiny"
    ):
        read_trials(runs=frame)
    trials = read_trials(runs=frame, fidelities=["tiny", "small"])
    assert {level: len(trials.at(level)) for level in trials.levels} == {"tiny": 10, "small": 6}
    assert read_trials(runs=frame, ignore=["model"]).levels == ("trained",)


def test_fidelities_find_their_column_by_its_cells():
    trials = read_trials(runs=table("a-run", "b-run", "stage"), fidelities=["a-run", "b-run"])
    assert set(trials.levels) == {"a-run", "b-run"}
    trials = read_trials(runs=table(6e7, 1e9, "width"), fidelities=["60M", "1B"])
    assert set(trials.levels) == {"60M", "1B"}


def test_models_that_name_runs_or_are_one_are_no_fidelities():
    ids = TABLE.drop(columns="run").assign(model=[f"mix-{i}" for i in range(len(TABLE))])
    assert [t.id for t in read_trials(runs=ids)][:2] == ["mix-0", "mix-1"]
    assert read_trials(runs=TABLE.assign(model="Tiny-60M")).levels == ("trained",)
    ratios, scores = TABLE[["run", *TABLE.columns[1:4]]], TABLE[["run", "val_loss"]]
    scored = scores.assign(model_name="llama")
    assert read_trials(ratios=ratios, metrics=scored).levels == ("trained",)


def test_a_run_without_its_size_is_refused():
    frame = table("60M", "1B", "model")
    frame.loc[3, "model"] = None
    with pytest.raises(TrialsError, match="1 runs have no 'model'"):
        read_trials(runs=frame)


def test_sizes_in_names_of_runs_are_warned_of(caplog):
    named = TABLE.assign(run=[f"60M-m{i}" if i < 10 else f"1B-m{i}" for i in range(16)])
    assert read_trials(runs=named).levels == ("trained",)
    assert "the names of its runs hold sizes (60M, 1B)" in caplog.text
    assert "column model_size" in caplog.text


def test_domains_that_are_called_like_sizes_stay():
    frame = pd.DataFrame(RATIOS, columns=["size", "params", "web"])
    frame.insert(0, "run", TABLE["run"])
    trials = read_trials(ratios=frame, metrics=TABLE[["run", "val_loss"]])
    assert trials.domains == ("size", "params", "web")
    assert list(name_fidelities(frame, "T").columns) == ["run", "size", "params", "web"]


@pytest.mark.parametrize("column", ["size", "Scale", "config.size"])
def test_sizes_in_words_are_refused_with_the_remedy(column):
    with pytest.raises(TrialsError, match="runs of several models .small 10, large 6"):
        read_trials(runs=table("small", "large", column))
    trials = read_trials(runs=table("small", "large", column), fidelities=["small", "large"])
    assert trials.levels == ("small", "large")


def test_other_things_that_are_called_kind_are_no_fidelities(caplog):
    frame = TABLE.assign(kind=["random", "grid"] * 8, cost=np.linspace(1, 2, 16))
    trials = read_trials(runs=frame)
    assert trials.levels == ("trained",)
    assert "'kind' holds neither kinds of trials" in caplog.text
    assert "--fidelities random,grid" in caplog.text
    assert len(read_trials(runs=frame, fidelities=["grid", "random"]).levels) == 2


def test_the_levels_of_a_column_of_fidelities_are_said(caplog):
    caplog.set_level("INFO")
    read_trials(runs=table("60M", "1B", "fidelity"))
    assert "'fidelity' tells models apart: 60M 10, 1B 6." in caplog.text


def test_budgets_that_differ_are_warned_of(caplog):
    frame = table(1e9, 1e10, "tokens").assign(run=range(16))
    assert len(read_trials(runs=frame).levels) == 1
    assert (
        "several budgets (1B 10, 10B 6 by 'tokens'), and all runs are taken as one" in caplog.text
    )
    assert "--fidelities 1B,10B" in caplog.text
    for given in (["1e9", "1e10"], ["1B", "10B"]):
        caplog.clear()
        assert counts(read_trials(runs=frame, fidelities=given)) == {"1B": SMALL, "10B": LARGE}
        assert "several budgets" not in caplog.text


@pytest.mark.parametrize("tokens", [1e9, np.linspace(1e9, 1.05e9, 16), np.linspace(1e9, 9e9, 16)])
def test_budgets_that_are_alike_or_all_different_are_no_fidelities(caplog, tokens):
    read_trials(runs=TABLE.assign(tokens=tokens))
    assert "several budgets" not in caplog.text


@pytest.mark.parametrize("column", ["model_size", "fidelity", "Size"])
def test_two_spellings_of_a_size_are_one_fidelity(column):
    frame = TABLE.assign(**{column: ["60M", "1B", "1b", "1000M"] * 4})
    assert set(read_trials(runs=frame).levels) == {"60M", "1B"}
    assert set(read_trials(runs=frame, fidelities=["60M", "1b"]).levels) == {"60M", "1b"}
    names = TABLE.assign(**{column: ["60M", "merged-1B", "merged-1b", "1b"] * 4})
    assert len(read_trials(runs=names).levels) == 4
