from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt.decision import EquivalentTokens
from mixopt.optimization.equivalent_tokens import NaturalCurve
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.natural_curve import equivalent_tokens, natural_curve
from mixopt.surrogates.gain_model import GainModel, GainPrior

OTHER = np.array([0.2, 0.3, 0.5])
UNIT = 4000


@pytest.fixture(scope="module")
def gains(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("curve")
    toy.write_study(folder)
    study = toy.load(toy.copy_trained(trained_toy, folder))
    trials = study.search()
    return StudyGains(study.context, study.open_search(), study.open_policy(), trials)


def observe(gains, tokens, *, seeds=(0, 1), growth=1.0, ratios=None, gain=0.0, noise=0.01):
    """Runs whose every metric falls by `growth` spreads (at the tokens that count) by factor e."""
    rng = np.random.default_rng(0)
    unit = gains.objective.spreads * gains.objective.growth
    ratios = gains.natural if ratios is None else ratios
    return [
        Observation(
            ratios, seed, length,
            5.0 - unit * (growth * np.log(length) + gain + noise * rng.standard_normal(len(unit))),
        )
        for seed in seeds
        for length in tokens
    ]  # fmt: skip


def test_the_curve_is_natural_in_the_unit_of_gains(gains):
    posterior = gains.condition(None)
    rows = observe(gains, (1000, 2000, UNIT)) + observe(gains, (UNIT,), ratios=OTHER, growth=7.0)
    missing = Observation(gains.natural, 2, 8 * UNIT, np.full(len(gains.metrics), np.nan))
    curve = natural_curve(gains, posterior, [*rows, missing])
    assert isinstance(curve, NaturalCurve)
    assert curve.longest == UNIT
    assert curve.slope == pytest.approx([1.0], abs=0.05)


def test_a_gain_is_told_as_tokens_of_natural(gains):
    naturals = observe(gains, (1000, 2000, UNIT), seeds=range(8))
    others = observe(gains, (UNIT,), seeds=range(8), ratios=OTHER, gain=0.5)
    posterior = gains.condition(gains.observe([*naturals, *others]))
    found = equivalent_tokens(gains, posterior, OTHER, [*naturals, *others], seed=0)
    assert isinstance(found, EquivalentTokens)
    # not at the decision's tokens, for which natural was never trained
    assert gains.tokens == 20_000
    assert found.tokens == UNIT
    assert found.median == pytest.approx(UNIT * np.exp(0.5), rel=0.15)
    assert found.low < found.median < found.high
    again = equivalent_tokens(gains, posterior, OTHER, [*naturals, *others], seed=0)
    assert again == found


def test_without_runs_of_natural_nothing_is_said(gains):
    posterior = gains.condition(None)
    told = equivalent_tokens(gains, posterior, OTHER, [], seed=0)
    assert told == "no run of the natural mixture enters this decision"
    one = equivalent_tokens(gains, posterior, OTHER, observe(gains, (UNIT,)), seed=0)
    assert one == "the natural mixture was scored at one length only"


def test_the_curve_has_the_noise_of_metrics_that_share_it(monkeypatch):
    """Four metrics of one capability, with a correlation of their noise of .5."""
    natural = np.array([0.5, 0.5])
    model = GainModel(
        GainPrior(noise_within=0.5), natural, 1e5, np.ones(4), np.zeros(4, int), np.full(4, 0.2)
    )
    objective = SimpleNamespace(
        combinations=lambda: np.full((1, 4), 0.25), gains=lambda scores, other: other - scores
    )
    given = []
    monkeypatch.setattr(NaturalCurve, "measure", lambda *parts: given.append(parts))
    rows = [Observation(natural, 0, tokens, np.full(4, 3.0)) for tokens in (1000, 2000)]
    natural_curve(
        SimpleNamespace(objective=objective, natural=natural), model.condition(None), rows
    )
    assert given[0][-1] == pytest.approx([0.2 * np.sqrt(2.5 / 4)])
