import numpy as np
import pytest

from mixopt.estimate import Z80, Z95
from mixopt.surrogates.calibration import (
    CriticalValues,
    calibrate,
    calibrate_few,
    calibrate_sum,
    correlate,
    rescale_partial_sums,
)


def test_normal_residuals_get_normal_intervals():
    rng = np.random.default_rng(0)
    critical_values = calibrate(rng.normal(size=(400, 5)), np.ones((400, 5)))
    assert critical_values.half80 == pytest.approx(Z80, rel=0.1)
    assert critical_values.half95 == pytest.approx(Z95, rel=0.1)
    assert critical_values.factor == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("n", [32, 128])
def test_intervals_hold_for_heavy_tails_and_wrong_deviations(n):
    """New residuals fall inside as often as they should, whatever the law said of itself."""
    rng = np.random.default_rng(0)
    inside80, inside95 = [], []
    for _ in range(60):
        size = np.array([0.3, 1.0, 3.0])  # each metric's deviations are wrong by another factor
        seen, new = (size * rng.standard_t(4, size=(k, 3)) for k in (n, 200))
        critical_values = calibrate(seen, np.ones((n, 3)))
        inside80.append((np.abs(new) <= critical_values.half80).mean())
        inside95.append((np.abs(new) <= critical_values.half95).mean())
    assert np.mean(inside80) == pytest.approx(0.80, abs=0.03)
    assert np.mean(inside95) == pytest.approx(0.95, abs=0.03)


def test_a_handful_of_runs_has_normal_quantiles_at_its_own_width():
    """Half of the deviations said: the largest of a few residuals would be no 80% interval."""
    residuals = 0.5 * np.random.default_rng(0).normal(size=(4, 300))
    critical_values = calibrate(residuals, np.ones((4, 300)))
    assert np.median(critical_values.half80) == pytest.approx(0.5 * Z80, rel=0.1)
    assert np.median(critical_values.half95) == pytest.approx(0.5 * Z95, rel=0.1)


def test_missing_residuals_and_perfect_fits():
    residuals = np.array([[0.1, np.nan], [-0.2, 0.1], [0.1, 0.3]])
    assert np.isfinite(calibrate(residuals, np.ones((3, 2))).half95).all()
    assert calibrate(np.zeros((5, 2)), np.ones((5, 2))).half95 == pytest.approx(Z95)


def test_a_sum_with_missing_parts_is_as_wide_as_the_whole():
    """Correlated parts, 40% of them missing: the scaled sums have the variance of whole ones."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 1))
    stds = np.tile(np.linspace(0.5, 2.0, 8), (4000, 1))
    whole = stds * (0.8 * common + 0.6 * rng.normal(size=(4000, 8)))
    parts = np.where(rng.random(whole.shape) < 0.4, np.nan, whole)
    scaled = rescale_partial_sums(np.nansum(parts, axis=1), parts, stds)
    known = np.isfinite(scaled)
    assert known.mean() > 0.5
    assert scaled[known].std() == pytest.approx(whole.sum(axis=1).std(), rel=0.06)
    assert np.allclose(rescale_partial_sums(whole.sum(1), whole, stds), whole.sum(1))
    nothing = np.full((3, 8), np.nan)
    assert np.isnan(rescale_partial_sums(np.zeros(3), nothing, stds[:3])).all()


def test_errors_that_metrics_share_are_correlated_and_few_runs_shrink_them():
    rng = np.random.default_rng(0)

    def errors(n):
        common = rng.normal(size=(n, 1))
        own = rng.normal(size=(n, 4))
        return np.hstack([np.sqrt(0.7) * common + np.sqrt(0.3) * own[:, :3], own[:, 3:]])

    many = correlate(errors(4000), np.ones((4000, 4)))
    assert many[:3, :3] == pytest.approx(0.7 + 0.3 * np.eye(3), abs=0.05)
    assert many[3, :3] == pytest.approx(0.0, abs=0.05)
    few = correlate(errors(8), np.ones((8, 4)))
    away = ~np.eye(4, dtype=bool)
    assert few[away].std() < many[away].std()
    assert (np.diag(few) == 1).all()


def test_missing_residuals_and_metrics_without_errors_have_no_correlation():
    residuals = np.array([[1.0, 0.0, np.nan], [-1.0, 0.0, -1.0], [2.0, 0.0, 1.0]])
    found = correlate(residuals, np.ones((3, 3)))
    assert np.isfinite(found).all()
    assert found[1].tolist() == [0, 1, 0]


@pytest.mark.parametrize("n", [12, 200])
def test_a_sum_of_correlated_errors_has_the_width_that_it_has(n):
    """Independent errors would make the sum of ten metrics a third as wide as it is."""
    rng = np.random.default_rng(1)
    draws, widths = [], []
    for _ in range(50):
        residuals = rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, 10))
        stds = np.full((n, 10), np.sqrt(1.09))
        widths.append(np.sqrt((stds[0] @ correlate(residuals, stds)) @ stds[0]))
        draws.append(residuals.sum(axis=1).std())
    assert np.mean(widths) == pytest.approx(np.sqrt(109), rel=0.1)
    assert np.mean(draws) == pytest.approx(np.mean(widths), rel=0.1)


def test_a_handful_of_residuals_moves_the_width_and_not_the_quantiles():
    metrics = CriticalValues(np.full(3, 1.0), np.full(3, 2.0))
    none = calibrate_few(np.full(3, np.nan), np.ones(3), metrics)
    assert none.half95[0] == pytest.approx(1.96, abs=0.01)
    assert none.half80[0] == pytest.approx(0.98, abs=0.01)
    small = calibrate_few(np.full(8, 0.1), np.ones(8), metrics)
    assert 0.65 < small.half95[0] / none.half95[0] < 0.75  # half of the weight is the metrics'
    wide = calibrate_few(np.full(8, 3.0), np.ones(8), metrics)
    assert wide.half95[0] > 2 * none.half95[0]


@pytest.mark.parametrize("n", [16, 64, 1000])
def test_residuals_of_a_sum_that_are_too_small_are_believed_as_far_as_there_are_many(n):
    metrics = CriticalValues(np.full(3, 1.0), np.full(3, 2.0))
    residuals = 0.5 * np.random.default_rng(n).normal(size=n)
    alone = calibrate(residuals[:, None], np.ones((n, 1)))
    found = calibrate_sum(residuals, np.ones(n), metrics)
    # eight pseudo-runs whose 95% is 1.96 standard deviations, and whose 80% is half of that
    share = n / (n + 8)
    for own, half, expected in ((alone.half95, found.half95, 1.96),
                                (alone.half80, found.half80, 0.98)):  # fmt: skip
        assert half**2 == pytest.approx(share * own**2 + (1 - share) * expected**2, rel=1e-3)
        assert own[0] < half[0] < expected
    none = calibrate_sum(np.full(8, np.nan), np.ones(8), metrics)
    assert (none.half80[0], none.half95[0]) == pytest.approx((0.98, 1.96), abs=0.01)
