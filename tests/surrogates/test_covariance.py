import numpy as np
import pytest

from mixopt.surrogates import covariance
from mixopt.surrogates import kernels as covariance_kernels
from mixopt.surrogates.covariance import ExactCovariance, LowRankCovariance, choose_centers
from mixopt.surrogates.gaussian_process import GaussianProcess
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.scaling_law_gp import ScalingLawGP


def kernel(a, b):
    return matern52(square_distances(a, b), 0.7)


def runs(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    points = np.sqrt(rng.dirichlet(np.ones(d), n))
    return points, rng.uniform(0.1, 0.3, n), rng.normal(size=n)


def both(points, diagonal, centers):
    exact = ExactCovariance(kernel(points, points), diagonal)
    some = points[centers]
    return exact, LowRankCovariance(kernel(some, some), kernel(some, points), diagonal)


def test_with_every_run_as_a_center_both_forms_agree():
    points, diagonal, z = runs()
    exact, low = both(points, diagonal, np.arange(len(points)))
    x = np.sqrt(np.random.default_rng(1).dirichlet(np.ones(3), 7))
    cross = kernel(x, points)
    assert cross @ low.coefficients(z) == pytest.approx(cross @ exact.coefficients(z), abs=1e-5)
    assert low.log_determinant == pytest.approx(exact.log_determinant, abs=1e-4)
    one, other = exact.directions(cross), low.directions(cross)
    assert low.explained(other) == pytest.approx(exact.explained(one), abs=1e-5)
    right = np.stack([z, diagonal], axis=1)
    shared = [half.T @ form.projections(right) for form, half in ((exact, one), (low, other))]
    assert shared[1] == pytest.approx(shared[0], abs=1e-5)


def test_low_rank_is_the_covariance_that_it_says():
    """Against dense algebra with K replaced by Φᵀ Φ."""
    points, diagonal, z = runs()
    centers = np.arange(0, 40, 4)
    _, low = both(points, diagonal, centers)
    some = points[centers]
    own = kernel(some, some) + covariance.JITTER * np.eye(10)
    dense = kernel(points, some) @ np.linalg.solve(own, kernel(some, points)) + np.diag(diagonal)
    right = np.stack([z, np.ones(40)], axis=1)
    assert low.gram(right) == pytest.approx(right.T @ np.linalg.solve(dense, right))
    assert low.log_determinant == pytest.approx(np.linalg.slogdet(dense)[1])
    x = np.sqrt(np.random.default_rng(1).dirichlet(np.ones(3), 5))
    cross = kernel(x, some)
    to_runs = cross @ np.linalg.solve(own, kernel(some, points))
    assert cross @ low.coefficients(z) == pytest.approx(to_runs @ np.linalg.solve(dense, z))
    explained = np.diag(to_runs @ np.linalg.solve(dense, to_runs.T))
    assert low.explained(low.directions(cross)) == pytest.approx(explained)
    assert low.compact().explained(low.directions(cross)) == pytest.approx(explained)


def test_centers_are_spread_seeded_and_all_runs_of_a_small_table():
    points, _, _ = runs(400)
    chosen = choose_centers(points, 20)
    assert len(set(chosen.tolist())) == 20
    assert (chosen == choose_centers(points, 20)).all()
    assert (chosen != choose_centers(points, 20, seed=1)).any()
    assert (choose_centers(points, 400) == np.arange(400)).all()
    farthest = np.sqrt(square_distances(points, points[chosen])).min(axis=1).max()
    first = np.sqrt(square_distances(points, points[:20])).min(axis=1).max()
    assert farthest < first


def test_repeats_are_one_center():
    points = np.tile(np.eye(3), (50, 1))
    assert len(choose_centers(points, 20)) == 3


@pytest.mark.parametrize("make", [ScalingLawGP, lambda: GaussianProcess("sqrt")])
def test_cost_is_linear_in_the_runs(make, monkeypatch):
    """Twice the runs give at most twice the kernel values: n x n covariances would give four times."""
    counts = []

    def counted(original):
        def count(square, *arguments):
            counts[-1] += square.size
            return original(square, *arguments)

        return count

    for module in ("gaussian_process", "residual_gp", "kernels"):
        where = f"mixopt.surrogates.{module}"
        for name in ("matern52", "matern52_slope", "matern52_with_slope"):
            if hasattr(__import__(where, fromlist=["x"]), name):
                original = getattr(covariance_kernels, name)
                monkeypatch.setattr(f"{where}.{name}", counted(original))
    monkeypatch.setattr("mixopt.surrogates.covariance.EXACT", 32)
    monkeypatch.setattr("mixopt.surrogates.gaussian_process.EXACT", 32)
    monkeypatch.setattr(choose_centers, "__defaults__", (32, 0))
    monkeypatch.setattr("mixopt.surrogates.gaussian_process.STEPS", 0)
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 400)
    scores = np.log(ratios[:, :1] + 0.1) + 0.05 * rng.normal(size=(400, 1))
    scores = (scores - scores.mean()) / scores.std()
    for n in (200, 400):
        counts.append(0)
        model = make().fit(ratios[:n], scores[:n], np.zeros((n, 1)))
        model.predict(ratios[:50])
    assert 0 < counts[1] <= 2.2 * counts[0]


@pytest.mark.parametrize("make", [ScalingLawGP, lambda: GaussianProcess("sqrt")])
def test_a_few_centers_predict_as_all_runs_do(make, monkeypatch):
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 300)
    scores = np.sin(4 * np.sqrt(ratios[:, :1])) + ratios[:, 1:2]
    scores = (scores - scores.mean()) / scores.std() + 0.1 * rng.normal(size=(300, 1))
    noise = np.zeros((200, 1))
    means, stds = [], []
    for most in (64, 256):
        monkeypatch.setattr(choose_centers, "__defaults__", (most, 0))
        model = make().fit(ratios[:200], scores[:200], noise)
        mean, std = model.predict(ratios[200:])
        means.append(mean)
        stds.append(std)
    error = [np.sqrt(np.square(mean - scores[200:]).mean()) for mean in means]
    assert error[0] < 1.05 * error[1]
    assert stds[0] == pytest.approx(stds[1], rel=0.1)
