import re
from types import SimpleNamespace

import numpy as np
import pytest

from mixopt.decision import CHANCE
from mixopt.estimate import Estimate
from mixopt.optimization.objective import Objective
from mixopt.pipeline import advice
from mixopt.surrogates.gain_model import GainModel, GainPrior, Mixtures, Runs
from mixopt.trial import Metric

PRIOR = GainPrior()
NATURAL, ROW = np.array([0.7, 0.3]), np.array([0.5, 0.5])
EXPERT = 1000.0
NOISE = 0.5


def ask(monkeypatch, proxy_gain, tokens=4000, lengths=(2000, 4000), spread=1.0, row=ROW, **changes):
    """Return the advice on a candidate of a study of one metric, and its model and gain."""
    monkeypatch.setattr(advice, "trainable_lengths", lambda _: lengths)
    monkeypatch.setattr(advice, "has_text", lambda *_: True)
    objective = Objective(
        (Metric("loss"),), np.full(1, spread), np.ones(1), {},
        growth=PRIOR.growth_to(tokens / EXPERT), **changes,
    )  # fmt: skip
    model = GainModel(
        PRIOR, NATURAL, EXPERT, objective.spreads, np.zeros(1, int), np.full(1, NOISE)
    )
    gains = SimpleNamespace(objective=objective, kept=NATURAL, keeps_natural=True)
    context = SimpleNamespace(config=SimpleNamespace(domains=("a", "b")))
    chosen = Mixtures(row[None], np.array([float(tokens)]), np.full((1, 1), proxy_gain))
    mean, covariance = model.condition(None).gains(chosen, objective.combinations())
    gain = Estimate(float(mean[0, 0]), float(np.sqrt(covariance.item())))
    said = advice.advise_runs(context, gains, model.condition(None), chosen, gain)
    return said, model, chosen, objective


def chance_after(model, chosen, objective, n_runs, length):
    """Return the chance of a gain after runs that measure what is expected."""
    at = chosen.pick([0] * n_runs, np.full(n_runs, float(length)))
    expected = model.condition(None).gains(at)[0]
    runs = Runs(at.ratios, at.tokens, at.proxy_gains, expected, np.arange(n_runs))
    mean, covariance = model.condition(runs if n_runs else None).gains(
        chosen, objective.combinations()
    )
    return Estimate(float(mean[0, 0]), float(np.sqrt(covariance.item()))).chance


def test_so_many_runs_make_the_chance_what_a_move_needs(monkeypatch):
    said, *known = ask(monkeypatch, 0.08)
    start, _, rest = said.partition(" about ")
    assert start == "If the gain is +0.080,"
    found = re.fullmatch(
        r"(\d+) new runs each of it and of the natural mixture are needed to decide \(runs of 4,000 "
        r"tokens, of which a difference has a noise of (.+) sd of a benchmark\)\.", rest,
    )  # fmt: skip
    n_runs = int(found[1])
    assert float(found[2]) == pytest.approx(NOISE / PRIOR.growth_to(4), abs=5e-4)
    assert chance_after(*known, n_runs, 4000) >= CHANCE > chance_after(*known, n_runs - 1, 4000)
    # the shorter ones take more tokens in all
    assert chance_after(*known, 2 * n_runs, 2000) < CHANCE


def test_runs_that_are_too_short_cannot_tell(monkeypatch):
    said, *known = ask(monkeypatch, 0.05, tokens=64_000)
    assert said == (
        "Runs of up to 4,000 tokens cannot tell a gain of +0.050 at 64,000 tokens, whatever their "
        "number: longer ones are needed."
    )
    assert chance_after(*known, 300, 4000) < CHANCE


@pytest.mark.parametrize(("changes", "unit"), [
    ({}, "0.02 sd of a benchmark"), ({"unit": "raw"}, "0.25 of utility"),
])  # fmt: skip
def test_what_counts_as_none_needs_no_runs(monkeypatch, changes, unit):
    said, *_ = ask(monkeypatch, 0.005, spread=8.0, **changes)
    assert said == f"A gain of at most {unit} counts as none."
    said, *_ = ask(monkeypatch, -0.1, **changes)
    assert said == "No candidate is expected to be better than the natural mixture."


def test_without_another_candidate_there_is_no_advice(monkeypatch):
    assert ask(monkeypatch, 0.0, row=NATURAL)[0] == ""
