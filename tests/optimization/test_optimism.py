from dataclasses import replace

import numpy as np
import pytest
from example_trials import DOMAINS, make_trials

import mixopt
from mixopt import Mixture, SearchSpace, Trials
from mixopt.errors import TrialsError
from mixopt.optimization.optimism import Optimism, measure_optimism, split_proposals

NATURAL = Mixture(dict.fromkeys(DOMAINS, 0.25))


@pytest.fixture(scope="module")
def earlier():
    return mixopt.fit(make_trials(24), surrogates="ridge_root")


def trained(earlier, misses):
    """Runs whose utility is off what is predicted by `misses`."""
    rng = np.random.default_rng(3)
    ratios = rng.dirichlet(np.full(len(DOMAINS), 3.0), len(misses))
    mean, _ = earlier.predict(ratios)
    scores = mean.copy()
    for row, miss in enumerate(misses):
        gradient = earlier.utility.gradient(mean[row : row + 1])[0]
        scores[row] += miss * gradient / (gradient @ gradient)
    ids = [f"p{i}" for i in range(len(misses))]
    return Trials.from_arrays(ratios, scores, domains=DOMAINS, ids=ids,
                              metrics=earlier.utility.metrics)  # fmt: skip


def test_proposals_below_their_predictions_lower_gains(earlier):
    found = measure_optimism(earlier, trained(earlier, [-1.1, -0.9, -1.0, -1.0]), NATURAL)
    assert found.raw == pytest.approx(-1.0)
    assert -1.0 < found.bias < -0.5
    mean, std = found.correct(np.array([1.2]), np.array([0.1]))
    assert mean[0] == pytest.approx(1.2 + found.bias)
    assert std[0] > 0.1


def test_one_small_miss_is_noise(earlier):
    _, std = earlier.predict_utility(trained(earlier, [0.0]).ratios())
    found = measure_optimism(earlier, trained(earlier, [-0.5 * std[0]]), NATURAL)
    assert found.bias == 0
    assert found.widening == 1


def test_scattered_proposals_widen(earlier):
    found = measure_optimism(earlier, trained(earlier, [-2.0, 2.0, -2.0, 2.0]), NATURAL)
    assert found.widening > 3
    assert found.bias == pytest.approx(0.0)


def test_a_slope_that_was_applied_is_no_optimism(earlier):
    """Gains that were halved when told are compared as they were told."""
    runs = trained(earlier, [0.0, 0.0])
    full = measure_optimism(earlier, runs, NATURAL)
    half = measure_optimism(earlier, runs, NATURAL, slope=0.5)
    gains = earlier.utility_difference(runs.ratios(), NATURAL.vector(DOMAINS))[0]
    assert full.raw == pytest.approx(0.0, abs=1e-9)
    assert half.raw == pytest.approx(0.5 * gains.mean())


def test_ids_are_of_runs():
    runs = make_trials(8)
    others, proposed = split_proposals(runs, [runs[2].id], "trained")
    assert (len(others), len(proposed)) == (7, 1)
    with pytest.raises(TrialsError, match="No trained run has the id 'nobody'"):
        split_proposals(runs, ["nobody"], "trained")


def test_a_run_of_another_fidelity_with_the_id_was_no_proposal():
    both = make_trials(8).labelled("60M") + make_trials(4, seed=1).labelled("1B")
    others, proposed = split_proposals(both, ["t1"], "1B")
    assert [(t.level, t.id) for t in proposed] == [("1B", "t1")]
    assert len(others) == 11
    assert ("60M", "t1") in [(t.level, t.id) for t in others]
    with pytest.raises(TrialsError, match="No 1B run has the id 't6'"):
        split_proposals(both, ["t6"], "1B")


def test_the_decision_is_corrected_and_says_so():
    surrogate = mixopt.fit(make_trials(24), surrogates="ridge_root")
    space = SearchSpace(DOMAINS, prior=NATURAL)
    plain = mixopt.propose(surrogate, space, seed=0)[0]
    optimism = Optimism(-5.0, 0.1, 2.0, -5.5, 3)
    lowered = mixopt.propose(surrogate, space, seed=0, optimism=optimism)[0]
    assert plain.decision.moves
    assert not lowered.decision.moves
    assert "3 runs of earlier proposals came out 5.500 below" in lowered.notes[0]


def test_a_table_of_proposals_with_another_order_of_domains_is_the_same(earlier):
    proposed = trained(earlier, [-1.1, -0.9, -1.0, -1.0])
    turned = Trials(list(proposed), proposed.metrics, proposed.domains[::-1])
    assert measure_optimism(earlier, turned, NATURAL) == measure_optimism(
        earlier, proposed, NATURAL
    )


def test_a_bias_is_in_the_unit_of_the_gains_that_it_corrects(earlier):
    """Standard deviations over fewer runs are another unit."""
    runs = trained(earlier, [-1.0, -1.0, -1.0])
    wide = replace(earlier.utility, coefficients=earlier.utility.coefficients / 3)
    own = measure_optimism(earlier, runs, NATURAL)
    other = measure_optimism(earlier, runs, NATURAL, utility=wide)
    assert other.raw == pytest.approx(own.raw / 3)
    assert other.bias == pytest.approx(own.bias / 3)
    assert other.bias_std == pytest.approx(own.bias_std / 3)
    assert other.widening == pytest.approx(own.widening)
