import numpy as np
import pytest
from scipy.optimize import nnls

from mixopt.surrogates import mariner as module
from mixopt.surrogates.mariner import Mariner, Shape, columns, slopes

D = 5


def epochs_of(ratios, means):
    return ratios / means


def law(ratios, means, floor=-3.0, shape=None):
    """Two metrics: one that gains from domains, one that is harmed by the last."""
    design = columns(epochs_of(ratios, means), shape or Shape(1.0, 0.7, 1.0))
    benefits = np.array([[1.0, 0.6, 0.3, 0.0, 0.1], [0.4, 0.2, 0.0, 0.3, 0.1]])
    harms = np.array([[0.0] * 5, [0.0, 0.0, 0.0, 0.0, 0.5]])
    inner = 1.5 + design @ np.hstack([benefits, harms]).T
    return floor + np.exp(inner)


def runs(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(D), n)


@pytest.fixture(scope="module")
def fitted():
    ratios = runs(80)
    scores = law(ratios, ratios.mean(0))
    center, scale = scores.mean(0), scores.std(0)
    model = Mariner().fit(ratios, (scores - center) / scale, np.zeros(scores.shape))
    return model, ratios, center, scale


def test_recovers_its_own_law(fitted):
    model, ratios, center, scale = fitted
    fresh = runs(300, seed=1)
    truth = (law(fresh, ratios.mean(0)) - center) / scale
    assert np.sqrt(np.square(model.predict(fresh)[0] - truth).mean()) < 0.05


def test_coefficients_are_not_negative_and_predictions_stay_above_the_floor(fitted):
    model, *_ = fitted
    for one in model._laws:
        assert (one.coefficients >= 0).all()
    floors = np.array([one.floor for one in model._laws])
    assert (model.mean(np.eye(D)) > floors).all()


def test_more_of_a_domain_without_harm_never_costs(fitted):
    """The law is monotone in each benefit where no threshold is passed."""
    model, *_ = fitted
    one = model._laws[0]
    more = np.linspace(0.01, 0.6, 30)
    benefit = columns(more[:, None] * np.ones(D), one.shape)[:, :D] @ one.coefficients[:D]
    assert (np.diff(benefit) <= 1e-12).all()


def metric_of(ratios, z, noise=0.0):
    epochs = ratios / ratios.mean(0)
    regressors = module._Regressors(epochs)
    return module._Metric(z, np.full(len(z), noise), np.arange(len(z)) % 4, regressors)


def test_is_non_negative_least_squares_with_a_ridge():
    ratios = runs(30)
    z = law(ratios, ratios.mean(0))[:, 0]
    shape, rows = Shape(ridge=0.1), np.arange(30) < 25
    part = module._Part(rows, z, np.zeros(30), np.ones(30))
    found = metric_of(ratios, z).solve(shape, 1.5, part)
    design = columns(ratios / ratios.mean(0), shape)[rows]
    target = np.log(z[rows] - found.floor)
    x = np.vstack([design - design.mean(0), np.sqrt(0.1) * np.eye(2 * D)])
    expected, _ = nnls(x, np.concatenate([target - target.mean(), np.zeros(2 * D)]))
    assert found.coefficients == pytest.approx(expected, abs=1e-8)
    assert found.intercept == pytest.approx(target.mean())


def test_a_far_floor_makes_the_law_additive():
    """For large κ the second difference over two domains vanishes beside the first ones."""
    ratios = runs(40)
    z = law(ratios, ratios.mean(0))[:, 0]
    metric = metric_of(ratios, (z - z.mean()) / z.std())
    points = columns(np.array([[1, 1], [2, 1], [1, 2], [2, 2]]) @ np.eye(2, D), Shape())
    interactions = []
    for gap in (1.2, 100.0):
        one = metric.solve(Shape(), gap, metric.runs)
        value = one.floor + one.above_floor(points)
        first = abs(value[1] - value[0]) + abs(value[2] - value[0])
        interactions.append(abs(value[3] - value[1] - value[2] + value[0]) / first)
    assert interactions[1] < 0.02 < interactions[0]


def test_slopes_are_the_derivatives_of_the_columns():
    epochs, step = np.array([[0.3, 2.0], [5.0, 0.01]]), 1e-7
    shape = Shape(0.5, 0.5, 1.0)
    numeric = (columns(epochs + step, shape) - columns(epochs - step, shape)) / (2 * step)
    assert slopes(epochs, shape) == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def test_the_floor_is_below_the_best_score_by_the_noise():
    z, floors = np.array([0.5, 0.2, -0.7, 0.0]), []
    for noise in (0.0, 4.0):
        metric = metric_of(runs(4), z, noise)
        floors.append(metric.solve(Shape(), 1.5, metric.runs).floor)
    assert floors == pytest.approx([-1.5 * 0.7, -3 * 2.0])


def test_the_shape_of_the_lowest_error_is_chosen_and_no_extreme_gap(monkeypatch):
    """A large κ over-extrapolates, so it is replaced."""
    wanted = Shape(0.25, 0.3, 5.0, 0.1)
    metric = metric_of(runs(8), np.arange(8.0))

    def error(tried, gap):
        away = sum(getattr(tried, n) != getattr(wanted, n) for n in module.GRID)
        return away - gap

    monkeypatch.setattr(metric, "error", error)
    assert module.choose([metric]) == (wanted, module.USUAL_GAP)


def test_metrics_share_the_shape_and_factors():
    ratios = runs(40)
    z = law(ratios, ratios.mean(0))
    model = Mariner().fit(ratios, (z - z.mean(0)) / z.std(0), np.zeros(z.shape))
    assert model._laws[0].shape == model._laws[1].shape
    again = model.refit(ratios, (z - z.mean(0)) / z.std(0), np.zeros(z.shape))
    assert again._laws[0].shape == model._laws[0].shape


def test_scores_that_do_not_differ_are_predicted_as_they_are():
    ratios = runs(12)
    mean, std = Mariner().fit(ratios, np.full((12, 1), 0.4), np.zeros((12, 1))).predict(ratios)
    assert mean == pytest.approx(0.4)
    assert np.isfinite(std).all()
