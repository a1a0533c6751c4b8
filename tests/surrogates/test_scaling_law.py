import numpy as np
import pytest

from mixopt.surrogates import scaling_law
from mixopt.surrogates.scaling_law import (
    N_SCALARS,
    evaluate,
    evaluate_values,
    fit_scaling_law,
    gradient,
)
from mixopt.surrogates.scaling_law_gp import ScalingLawGP


def random_parameters(m=2, d=4, seed=0):
    rng = np.random.default_rng(seed)
    scalars = np.tile([-2.0, 1.0, -3.0, np.log(0.4), 0.1], (m, 1))
    return np.hstack([scalars, rng.normal(size=(m, d))]) + 0.05 * rng.normal(
        size=(m, N_SCALARS + d)
    )


def test_the_law_by_hand():
    theta = np.array([[-1.0, 0.5, np.log(0.1), np.log(0.7), np.log(0.9), 0.2, -0.3]])
    r = np.array([[0.25, 0.75]])
    inside = np.exp(0.2) * 0.25**0.9 + np.exp(-0.3) * 0.75**0.9 + 0.1
    assert evaluate(theta, r)[0][0, 0] == pytest.approx(-1 + (np.exp(0.5) * inside) ** -0.7)


def test_jacobian_is_the_derivative():
    theta, step = random_parameters(), 1e-6
    ratios = np.vstack([np.random.default_rng(1).dirichlet(np.ones(4), 5), [[0.0, 0.5, 0.5, 0.0]]])
    _, jacobian = evaluate(theta, ratios)
    for p in range(theta.shape[1]):
        unit = step * np.eye(theta.shape[1])[p]
        numeric = (evaluate(theta + unit, ratios)[0] - evaluate(theta - unit, ratios)[0]) / (
            2 * step
        )
        assert jacobian[..., p] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def test_values_alone_are_the_same_and_need_no_jacobian(monkeypatch):
    theta = random_parameters(m=3)
    ratios = np.vstack([np.random.default_rng(1).dirichlet(np.ones(4), 11), [[0, 0.5, 0.5, 0]]])
    expected = evaluate(theta, ratios)[0]
    monkeypatch.setattr(scaling_law, "CHUNK", 5 * 3 * 4)  # slices of 5, 5 and 2 mixtures
    assert (evaluate_values(theta, ratios) == expected).all()


def test_a_model_of_many_processes_is_evaluated_in_slices(monkeypatch):
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 20)
    model = ScalingLawGP().fit(ratios, rng.normal(size=(20, 2)), np.zeros((20, 2)))
    largest = 0

    def count(parameters, part, logs):
        nonlocal largest
        largest = max(largest, len(parameters) * part.size)
        return worths(parameters, part, logs)

    worths = scaling_law._worths
    monkeypatch.setattr(scaling_law, "_worths", count)
    monkeypatch.setattr(scaling_law, "CHUNK", 1000)
    fresh = rng.dirichlet(np.ones(4), 500)
    model.mean(fresh)
    model.budget_effect(fresh, np.full(500, 0.5))
    assert 0 < largest <= 1000


def test_slopes_by_the_ratios():
    theta, step = random_parameters(), 1e-6
    ratios = np.random.default_rng(1).dirichlet(np.full(4, 5.0), 3)
    weights = np.random.default_rng(2).normal(size=(3, 2))
    numeric = np.stack([
        ((evaluate(theta, ratios + step * u)[0] - evaluate(theta, ratios - step * u)[0]).T * weights)
        .sum(axis=1) / (2 * step) for u in np.eye(4)
    ], axis=1)  # fmt: skip
    assert gradient(theta, ratios, weights, 1e-9) == pytest.approx(numeric, rel=1e-5)


def test_recovers_what_a_domain_is_worth():
    """Runs from the law itself: log-worths come back up to the factor that A carries."""
    truth = random_parameters(m=3, seed=3)
    ratios = np.random.default_rng(1).dirichlet(np.ones(4), 120)
    scores = evaluate(truth, ratios)[0].T
    z = (scores - scores.mean(0)) / scores.std(0)
    z = z + 0.02 * np.random.default_rng(2).normal(size=z.shape)
    law = fit_scaling_law(ratios, z, np.zeros(z.shape))
    for found, real in zip(law.parameters, truth, strict=True):
        worth, expected = found[N_SCALARS:], real[N_SCALARS:]
        assert worth - worth.mean() == pytest.approx(expected - expected.mean(), abs=0.35)
    assert law.noise == pytest.approx(0.02**2, rel=4)


def test_metrics_with_few_scores_lean_on_the_others():
    """A fourth metric with 5 of 60 scores is predicted better beside its likes than alone."""
    truth = np.tile(random_parameters(m=1, seed=4), (4, 1))
    ratios = np.random.default_rng(1).dirichlet(np.ones(4), 60)
    z = evaluate(truth, ratios)[0].T
    z = (z - z.mean(0)) / z.std(0)
    extra = np.zeros(z.shape)
    extra[5:, 3] = np.inf
    together = fit_scaling_law(ratios, z, extra)
    alone = fit_scaling_law(ratios, z[:, 3:], extra[:, 3:])
    errors = [
        np.square(evaluate(law.parameters[-1:], ratios)[0][0] - z[:, 3]).mean()
        for law in (together, alone)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_a_refit_starts_where_the_first_ended():
    ratios = np.random.default_rng(1).dirichlet(np.ones(4), 60)
    z = evaluate(random_parameters(seed=5), ratios)[0].T
    z = (z - z.mean(0)) / z.std(0)
    first = fit_scaling_law(ratios, z, np.zeros(z.shape))
    again = fit_scaling_law(ratios, z, np.zeros(z.shape), first)
    before, _ = evaluate(first.parameters, ratios)
    after, _ = evaluate(again.parameters, ratios)
    assert after == pytest.approx(before, abs=0.02)
    assert scaling_law.REFIT_ROUNDS < scaling_law.EM_ROUNDS
