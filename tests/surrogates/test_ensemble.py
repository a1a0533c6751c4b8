import numpy as np
import pytest

from mixopt.merging.ensemble import Ensemble
from mixopt.surrogates import ensemble
from mixopt.surrogates.ensemble import EnsembleModel, QuadraticLosses, response_weights

LN2 = np.log(2)


def make(k=3, seed=0, chunk=None):
    """Two benchmarks of three and five items, 4 tokens an item, two bytes a token."""
    rng = np.random.default_rng(seed)
    items = np.repeat(np.arange(8), 4)
    metrics = (items >= 3).astype(int)
    logprobs = -rng.gamma(2.0, size=(k, 32)).astype(np.float32)
    sizes = np.full(8, 8.0)
    weights = 1 / LN2 / np.bincount(metrics, minlength=2)[metrics] / 2
    return logprobs, weights, metrics, items, sizes


def test_losses_are_bits_per_byte_of_the_mixed_probabilities():
    logprobs, weights, metrics, items, sizes = make()
    model = EnsembleModel.of(logprobs, weights, metrics, items, sizes)
    w = np.array([0.2, 0.5, 0.3])
    bits = -Ensemble(list(logprobs)).mix(w.tolist()) / LN2
    expected = [bits[metrics == m].sum() / (2 * (metrics == m).sum()) for m in (0, 1)]
    assert model.losses(w) == pytest.approx(expected, rel=1e-6)


def test_jacobian_is_that_of_finite_differences(monkeypatch):
    monkeypatch.setattr(ensemble, "CHUNK", 5)
    model = EnsembleModel.of(*make())
    w = np.array([0.2, 0.5, 0.3])
    _, jacobian = model.losses_and_jacobian(w)
    for place, step in enumerate(1e-2 * np.eye(3)):
        difference = (model.losses(w + step) - model.losses(w - step)) / 2e-2
        assert jacobian[:, place] == pytest.approx(difference, rel=2e-3)


def test_curvature_is_that_of_finite_differences_and_the_expansion_is_near(monkeypatch):
    monkeypatch.setattr(ensemble, "CHUNK", 5)
    model = EnsembleModel.of(*make())
    w = np.array([0.2, 0.5, 0.3])
    losses, slopes = model.losses_and_jacobian(w)
    curvature = model.curvature(w)
    assert curvature == pytest.approx(curvature.transpose(0, 2, 1))
    for place, step in enumerate(1e-2 * np.eye(3)):
        there, here = (model.losses_and_jacobian(w + sign * step)[1] for sign in (1, -1))
        assert curvature[:, :, place] == pytest.approx((there - here) / 2e-2, rel=5e-3)
    near = QuadraticLosses(w, losses, slopes, curvature)
    moved = w + [0.02, -0.03, 0.01]
    exact, exact_slopes = model.losses_and_jacobian(moved)
    found, found_slopes = near.losses_and_jacobian(moved)
    assert found == pytest.approx(exact, abs=1e-4)
    assert np.abs(found_slopes - exact_slopes).max() < 0.02 * np.abs(exact_slopes).max()
    assert np.array_equal(near.losses(w), losses)


def test_curvature_is_finite_where_no_weighted_expert_allows_a_token():
    logprobs, *rest = make()
    logprobs[0, 3] = -np.inf
    model = EnsembleModel.of(logprobs, *rest)
    assert np.isfinite(model.curvature(np.array([1.0, 0, 0]))).all()


def test_tokens_without_weight_do_not_count():
    logprobs, weights, metrics, items, sizes = make()
    weights[::2] = 0
    model = EnsembleModel.of(logprobs, weights, metrics, items, sizes)
    assert model.probabilities.shape == (3, 16)
    logprobs[:, ::2] = -50
    again = EnsembleModel.of(logprobs, weights, metrics, items, sizes)
    w = np.full(3, 1 / 3)
    assert np.array_equal(model.losses(w), again.losses(w))


def test_a_token_that_no_weighted_expert_allows_costs_a_finite_loss():
    logprobs, *rest = make()
    logprobs[0, 3] = -np.inf
    losses, jacobian = EnsembleModel.of(logprobs, *rest).losses_and_jacobian(np.array([1.0, 0, 0]))
    assert np.isfinite(losses).all()
    assert losses[0] > 5
    assert np.isfinite(jacobian).all()


def test_resampled_items_keep_the_loss_on_average_and_spread_like_it():
    logprobs, weights, metrics, items, sizes = make(seed=1)
    model = EnsembleModel.of(logprobs, weights, metrics, items, sizes)
    w, rng = np.full(3, 1 / 3), np.random.default_rng(0)
    draws = np.stack([model.resample(rng).losses(w) for _ in range(800)])
    assert draws.mean(axis=0) == pytest.approx(model.losses(w), rel=0.03)
    bits = -Ensemble(list(logprobs)).mix(w.tolist()) / LN2
    by_item = np.add.reduceat(bits, np.arange(0, 32, 4)) / 8
    expected = [by_item[:3].std() / 3**0.5, by_item[3:].std() / 5**0.5]
    assert draws.std(axis=0) == pytest.approx(expected, rel=0.1)


def test_response_weights():
    w = response_weights(np.array([[0.25, 0.75, 0.0]]), 0.5)
    assert w[0] == pytest.approx(np.array([0.5, 0.75**0.5, 0]) / (0.5 + 0.75**0.5))
    assert response_weights(w, 2.0)[0] == pytest.approx([0.25, 0.75, 0])
