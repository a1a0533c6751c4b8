"""The arena's comparison of all methods, on the toy study in place of a world of shared texts."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import toy

sys.path.append(str(Path(__file__).parents[2] / "studies" / "arena"))
compare = pytest.importorskip("compare")

DOMAINS = ("birds", "ships", "sums")
UTILITY = {"birds": 0.7, "ships": 0.3}
WORLD = SimpleNamespace(name="toy", domains=DOMAINS, natural=dict.fromkeys(DOMAINS, 1 / 3))
RUN = 4000


class ToyScale:
    """What `Scale` is, with the toy study."""

    unit, small = RUN, True

    def __init__(self, folder):
        self.folder, self.opened = folder, []

    def open_study(self, world, out, name, **sections):
        self.opened.append((name, dict(sections)))
        search = {"rounds": [6], "natural": dict(WORLD.natural)} | sections.pop("search", {})
        training = toy.study_plain()["training"] | sections.pop("training", {})
        target = {"tokens": max(20_000, training["tokens"]), "max_repetition": 99}
        training["max_epochs"] = 99
        path = toy.write_study(
            self.folder, search=search, training=training, target=target, **sections
        )
        return toy.load(self.folder, path)


@pytest.fixture
def arena(tmp_path, trained_toy, monkeypatch):
    toy.write_study(tmp_path)
    toy.copy_trained(trained_toy, tmp_path)
    utility = compare.Utility("mean", UTILITY)
    monkeypatch.setattr(compare, "asked", lambda _: {"mean": utility})
    monkeypatch.setattr(compare, "weigh", lambda *_: UTILITY | {"sums": 0.0})
    monkeypatch.setattr(compare, "OWNER", {name: name for name in DOMAINS})
    monkeypatch.setattr(compare, "BUDGETS", {"1x": 6, "4x": 7})
    monkeypatch.setattr(compare, "LENGTH", 1)
    monkeypatch.setattr("ask.DRAWS", 500)
    return ToyScale(tmp_path)


def options(**changes):
    wanted = {"utilities": None, "budgets": ["1x"], "methods": [], "seeds": [0, 1],
              "truth_seeds": [2000], "part": "0/1"}  # fmt: skip
    return argparse.Namespace(**wanted | changes)


@pytest.mark.slow
def test_methods_are_asked_once_trained_and_told(arena, tmp_path):
    path = tmp_path / "toy.json"
    methods = ["natural", "heuristic", "runs", "points", "odm", "mde-law"]
    wanted = options(methods=methods)
    rows = list(compare.advise(WORLD, tmp_path, arena, wanted, path))
    # natural and the heuristic draw nothing
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("natural", 0), ("heuristic", 0),
        *((name, seed) for name in methods[2:] for seed in (0, 1)),
    ]  # fmt: skip
    by_method = {row["method"]: row for row in rows}
    assert by_method["natural"]["judged"] == pytest.approx(0, abs=1e-9)
    assert by_method["heuristic"]["ratios"]["birds"] == pytest.approx((0.7 + 1 / 3) / 2)
    assert by_method["runs"]["units"] == 6
    assert by_method["points"]["units"] == pytest.approx(6)  # longer experts, the same tokens
    assert by_method["odm"]["units"] == 6  # a longer training
    assert "needs 36,000 tokens" in by_method["mde-law"]["why"]  # 3 experts and 6 runs
    first, second = (row["ratios"] for row in rows if row["method"] == "odm")
    assert first != second  # the seed changes the order of the text
    # what is asked is not asked again
    assert not list(compare.advise(WORLD, tmp_path, arena, wanted, path))
    found, table = json.loads(path.read_text()), tmp_path / "toy.csv"
    compare.train(WORLD, tmp_path, arena, found, wanted, table)
    gains = compare.read_gains(WORLD, tmp_path)
    assert len(gains) == len(rows) - 2
    assert gains.real.notna().all()
    assert gains[gains.method == "natural"].real.item() == pytest.approx(0)
    shown = compare.tabulate(gains, 60.0)
    assert set(shown.method) == set(methods) - {"mde-law"}
    assert (shown.regret >= 0).all()


@pytest.mark.slow
def test_scalebio_is_as_long_as_its_budget_pays_for_with_the_text_of_benchmarks(arena, tmp_path):
    wanted = options(methods=["scalebio", "doremi"], budgets=["1x", "4x"], seeds=[0])
    rows = list(compare.advise(WORLD, tmp_path, arena, wanted, tmp_path / "toy.json"))
    lengths = {}
    for row in rows:
        own = [sections["training"]["tokens"] for name, sections in arena.opened
               if name == row["method"] and "training" in sections]  # fmt: skip
        lengths[row["method"], row["budget"]] = own[0 if row["budget"] == "1x" else 1]
        assert row["units"] <= compare.BUDGETS[row["budget"]]
        assert row["units"] == pytest.approx(
            compare.BUDGETS[row["budget"]], rel=0.15
        )  # whole steps
    assert lengths["doremi", "1x"] == 6 * RUN // 2
    # its two models read less than the budget, of which the benchmarks' text takes the rest
    assert lengths["scalebio", "1x"] < lengths["scalebio", "4x"] < 7 * RUN // 2


@pytest.mark.slow
def test_a_budget_of_scalebio_below_one_step_says_what_a_step_costs(arena, tmp_path, monkeypatch):
    monkeypatch.setattr(arena, "unit", 50)
    wanted = options(methods=["scalebio"], seeds=[0])
    (row,) = compare.advise(WORLD, tmp_path, arena, wanted, tmp_path / "toy.json")
    assert "tokens for one step and its budget is 300; raise it" in row["why"]


def frame():
    """Two problems, of which one is trained; in both the second method gains more."""
    rows = [
        ("A", "mean", "1x", "olmix", 0, 1.0, 0.8), ("A", "mean", "1x", "olmix", 1, 0.0, 0.6),
        ("A", "mean", "1x", "mixopt", 0, 1.5, 1.0), ("A", "mean", "4x", "olmix", 0, 2.0, 1.0),
        ("B", "mean", "1x", "olmix", 0, np.nan, 0.2), ("B", "mean", "1x", "mixopt", 0, 9.0, 0.5),
    ]  # fmt: skip
    columns = ["world", "utility", "budget", "method", "seed", "real", "judged"]
    return pd.DataFrame(rows, columns=columns).assign(units=8.0, minutes=1.0)


def test_the_table_takes_seeds_first_and_real_gains_where_all_are_trained():
    shown = compare.tabulate(frame(), 30.0).set_index(["budget", "method"])
    olmix, mixopt = shown.loc[("1x", "olmix")], shown.loc[("1x", "mixopt")]
    assert olmix.real == pytest.approx(0.5)  # of A alone, the mean of its seeds
    assert olmix.judged == pytest.approx((0.7 + 0.2) / 2)
    # in A against the 2.0 of four times the budget; in B, not trained throughout, by judged gains
    assert olmix.regret == pytest.approx(((2.0 - 0.5) + (0.5 - 0.2)) / 2)
    assert mixopt.regret == pytest.approx(((2.0 - 1.5) + 0.0) / 2)
    assert (mixopt["rank"], olmix["rank"]) == (1, 2)
    assert (olmix.low, olmix.high) == (2, 2)
    assert olmix.minutes == pytest.approx(1 + 8 * 30 / 60)
    assert np.isnan(shown.loc[("4x", "olmix")].se)  # one problem has no standard error
