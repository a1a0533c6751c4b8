from dataclasses import replace

import numpy as np
import pytest

from mixopt import Metric
from mixopt.errors import TrialsError
from mixopt.optimization.objective import Objective, draw_around

METRICS = (
    Metric("loss", "lower", capability="code"),
    Metric("accuracy", "higher", capability="code"),
    Metric("other", "lower", capability="law"),
)
SCORES = np.random.default_rng(0).normal([3, 0.5, 2], [0.2, 0.05, 0.4], size=(400, 3))


def measure(noise=(0.0, 0.0, 0.0), **options):
    return Objective.measure(METRICS, SCORES, np.array(noise), **options)


def test_spreads_are_those_of_the_middle_and_corners_do_not_set_them():
    assert measure().spreads == pytest.approx([0.2, 0.05, 0.4], rel=0.15)
    wild = SCORES.copy()
    wild[:10] = [30, 0.1, 20]
    assert Objective.measure(METRICS, wild, np.zeros(3)).spreads == pytest.approx(
        measure().spreads, rel=0.1
    )


def test_gains_are_positive_where_better():
    objective = measure()
    gains = objective.gains(np.array([[2.8, 0.55, 2.4]]), np.array([3.0, 0.5, 2.0]))
    assert gains[0] == pytest.approx([1, 1, -1], rel=0.15)


def test_metrics_share_their_capability_by_trust_and_capabilities_their_weights():
    objective = measure(noise=(0.0, 0.05, 0.0), weights={"law": 3.0})
    assert objective.trust == pytest.approx([1, 0.5, 1], abs=0.1)
    assert objective.combinations()[0] == pytest.approx([0.25 * 2 / 3, 0.25 / 3, 0.75], abs=0.02)
    assert objective.capability("code").sum() == pytest.approx(1)


def test_an_accuracy_that_is_mostly_noise_has_the_trust_of_its_loss_in_a_search():
    objective = replace(measure(noise=(5.0, 1.0, 0.0)), loss_trust=np.array([0.9, 0.8, 0.7]))
    assert objective.trust[:2].max() < 0.01
    assert objective.search_trust == pytest.approx([objective.trust[0], 0.8, 1.0])
    assert objective.searched_by_loss == ("accuracy",)
    clear = replace(objective, trust=np.ones(3))
    assert clear.searched_by_loss == ()


def test_a_capability_without_weight_or_signal_does_not_count():
    assert measure(weights={"law": 0.0}).capabilities == ["code"]
    flat = SCORES.copy()
    flat[:, 2] = 2.0
    objective = Objective.measure(METRICS, flat, np.zeros(3))
    assert objective.capabilities == ["code"]
    assert objective.combinations()[0, 2] == 0


def test_gains_are_told_in_the_spread_at_the_tokens_that_count():
    grown, plain = measure(growth=2.5), measure()
    assert grown.combinations() * 2.5 == pytest.approx(plain.combinations())
    assert grown.spreads == pytest.approx(plain.spreads)
    losses = METRICS[::2]
    raw = Objective.measure(losses, SCORES[:, ::2], np.zeros(2), unit="raw", growth=2.5)
    native = Objective.measure(losses, SCORES[:, ::2], np.zeros(2), unit="raw")
    assert raw.combinations() == pytest.approx(native.combinations())


def test_utility_is_the_gain():
    reference = np.array([3.0, 0.5, 2.0])
    for worst in (False, True):
        objective = measure(worst=worst)
        combined = objective.gains(SCORES, reference) @ objective.combinations().T
        assert objective.utility(reference).of(SCORES) == pytest.approx(combined.min(axis=1))
        assert objective.utility(reference).of(reference[None])[0] == 0


def test_raw_units_are_those_of_the_metrics():
    with pytest.raises(TrialsError, match="lower and some higher"):
        measure(unit="raw")
    losses = METRICS[::2]
    objective = Objective.measure(losses, SCORES[:, ::2], np.zeros(2), unit="raw")
    gains = objective.gains(np.array([[2.5, 2.0]]), np.array([3.0, 2.0]))
    assert gains @ objective.capability("code") == pytest.approx([0.5])
    assert gains @ objective.combinations()[0] == pytest.approx([0.25], rel=1e-6)


def test_benchmarks_that_do_not_separate_mixtures_are_refused():
    with pytest.raises(TrialsError, match="No benchmark's score differs"):
        Objective.measure(METRICS, np.ones((5, 3)), np.zeros(3))


def test_draws_lie_around_natural_and_reach_small_domains():
    natural = np.array([0.9, 0.09, 0.01])
    draws = draw_around(natural, 4000, np.random.default_rng(0))
    assert draws.sum(axis=1) == pytest.approx(1)
    assert draws.mean(axis=0)[2] > 0.01
    assert draws.mean(axis=0)[0] > draws.mean(axis=0)[1] > draws.mean(axis=0)[2]


@pytest.mark.parametrize("worst", [False, True])
def test_a_usual_gain_is_one_spread_in_every_metric(worst):
    assert measure(growth=2.5, worst=worst).usual_gain == pytest.approx(1)
    shares = (Metric("accuracy", "higher"),)
    raw = Objective.measure(
        shares, SCORES[:, 1:2], np.zeros(1), unit="raw", growth=2.5, worst=worst
    )
    assert raw.usual_gain == pytest.approx(2.5 * raw.spreads[0])


def test_the_worst_capability_is_one_that_is_trusted():
    """As in the utility of a surrogate; all are still told."""
    objective = measure(noise=(0.0, 0.0, 2.0), worst=True)
    assert objective.capabilities == ["code", "law"]
    assert objective.counted == ["code"]
    assert len(objective.combinations()) == 1
    assert list(objective.utility(np.array([3, 0.5, 2])).parts) == ["code"]
    doubted = measure(noise=(2.0, 2.0, 2.0), worst=True)
    assert doubted.counted == ["code", "law"]
    assert measure(noise=(0.0, 0.0, 2.0)).counted == ["code", "law"]
