"""What the arena says of replays, on replays whose truth is known."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[2] / "studies" / "arena"))
goals = pytest.importorskip("goals")

OWN = "posterior, experts 1/2"
SPENT = {8: 6.0, 16: 14.0, 32: 30.0}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(goals, "DRAWS", 100)


def replays(said=0.3, error=0.1, gain=2.0):
    """Three worlds of forty utilities; the method's regret halves with each budget."""
    rng, rows = np.random.default_rng(0), []
    for world in "XYZ":
        for number in range(40):
            for budget, spent in SPENT.items():
                row = {"world": world, "utility": str(number), "budget": budget, "best": 3.0}
                own = row | {"method": OWN, "regret": 8 / budget, "move": True, "spent": spent}
                # the truth differs from what is said by both errors
                own |= {"gain": gain, "said_sd": said, "error": error,
                        "mean": gain + rng.normal() * np.hypot(0.3, 0.1)}  # fmt: skip
                rows.append(own)
                rows += [
                    row | {"method": name, "regret": factor * 8 / budget, "move": True,
                           "spent": float(budget), "gain": 1.0}
                    for name, factor in zip(goals.BASELINES, (2, 3, 4), strict=True)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def number(text, pattern):
    return float(re.search(pattern, text)[1])


def test_area_is_compared_with_the_best_baseline(capsys):
    goals.tell_area(replays(), OWN)
    printed = capsys.readouterr().out
    assert "ratio to surrogate on runs alone: 0.50 [0.50, 0.50]" in printed


def test_units_for_the_same_regret_are_read_between_budgets(capsys):
    goals.tell_tokens(replays(), OWN)
    first, second, third = capsys.readouterr().out.splitlines()
    assert "regret 1.00 with 6.0 units: surrogate on runs alone 16.0, " in first
    # between regrets of 1.5 at 16 units and .75 at 32
    assert "LightGBM on runs, as RegMix 26.7, " in first
    assert "regret 0.50 with 14.0 units: surrogate on runs alone 32.0, " in second
    assert "regret 0.25 with 30.0 units: surrogate on runs alone more than 32.0" in third


@pytest.mark.parametrize(("said", "rms", "inside"), [(0.3, 1.0, 0.8), (0.1, 2.24, 0.43)])
def test_intervals_hold_what_they_say(said, rms, inside, capsys):
    own = replays(said)
    goals.tell_calibration(own[own.method == OWN])
    printed = capsys.readouterr().out
    assert number(printed, r"square of z: ([\d.]+)") == pytest.approx(rms, rel=0.1)
    assert number(printed, r"inside 80%: ([\d.]+)") == pytest.approx(inside, abs=0.06)


@pytest.mark.parametrize(("gain", "lose", "sure"), [(2.0, 0, 0), (-0.15, 360, 0), (-1.0, 360, 360)])
def test_losses_are_tested_together(gain, lose, sure, capsys):
    own = replays(gain=gain)
    goals.tell_losses(own[own.method == OWN])
    first = capsys.readouterr().out.splitlines()[0]
    assert f"{lose} lose more than 0.1 spreads, {sure} of them at Holm 95%" in first


def test_one_sure_loss_among_others_is_found(capsys):
    own = replays()
    own = own[own.method == OWN].reset_index(drop=True)
    own.loc[5, "gain"] = -0.1 - 3.9 * 0.1  # p = 5e-5, below 5% by 360
    own.loc[6, "gain"] = -0.1 - 3.0 * 0.1  # p = 1e-3, above it
    goals.tell_losses(own)
    assert "2 lose more than 0.1 spreads, 1 of them" in capsys.readouterr().out
