import numpy as np
import pytest

from mixopt.optimization.equivalent_tokens import (
    DRIFT_SD,
    FARTHEST,
    NaturalCurve,
    _beyond,
    find_equivalent_tokens,
)

LENGTHS = np.array([250.0, 500, 1000, 4000])


def law(tokens, rates=(1.0,)):
    """Utilities of natural that follow a power law (`l x c`)."""
    return np.multiply.outer(3 * (1 - (tokens / 1000.0) ** -0.1), np.array(rates))


def curve(utilities, lengths=LENGTHS, noise=0.01):
    found = NaturalCurve.measure(
        [lengths] * len(utilities), utilities, np.full(utilities[0].shape[1], noise)
    )
    assert isinstance(found, NaturalCurve)
    return found


def sure(gain, n=2000):
    return np.full((n, 1), float(gain))


def test_slope_and_error_are_those_of_least_squares_over_late_lengths():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((40, 4, 1))
    # what a seed changes at all lengths cancels
    offsets = 5 * rng.standard_normal((40, 1, 1))
    rows = 0.7 * np.log(LENGTHS)[:, None] + noise + offsets
    rows[:, :2] += 9  # lengths below a quarter of the longest do not count
    found = curve(list(rows), noise=0.1 * 2**0.5)
    slopes = (rows[:, 3] - rows[:, 2]) / np.log(4)
    assert found.slope == pytest.approx(slopes.mean(axis=0))
    assert found.std_error == pytest.approx(slopes.std(axis=0, ddof=1) / 40**0.5, rel=0.1)
    assert found.longest == 4000
    assert found.freedom == 41


def test_of_one_run_the_noise_of_seeds_is_all_that_is_known():
    one = curve([law(LENGTHS)], noise=0.2)
    # two lengths a factor of four apart, whose noise is correlated by 1/e
    assert one.std_error == pytest.approx(
        [0.1414 * (2 * (1 - np.exp(-1))) ** 0.5 / np.log(4)], rel=0.01
    )
    assert one.freedom == 2
    two = curve([law(LENGTHS)] * 2, noise=0.2)
    assert two.std_error < one.std_error


def test_the_slope_of_a_run_that_ends_early_drifts_from_its_own_middle():
    """Two runs with one slope and no noise: what is left of the error is the drift."""
    far, near = np.array([1.0, 4, 16]), np.array([1.0, 4])
    found = NaturalCurve.measure([far, near], [np.log(far)[:, None], np.log(near)[:, None]],
                                 np.zeros(1))  # fmt: skip
    # the window's middle is at 8; that of (4, 16) is there, and that of (1, 4) two doublings below
    assert found.std_error == pytest.approx([np.log(2) * DRIFT_SD * (0 + 2) / 2])


@pytest.mark.parametrize(
    ("tokens", "why"),
    [([], "no run of the natural mixture"), ([np.array([1000.0])] * 2, "at one length only"),
     # two lengths of different runs make no slope
     ([np.array([500.0]), np.array([1000.0])], "at one length only"),
     # the short run's lengths tell nothing of the slope at the long one's end
     ([np.array([500.0, 1000.0]), np.array([8000.0])], "near its longest was scored at two lengths")],
)  # fmt: skip
def test_without_two_lengths_nothing_is_said(tokens, why):
    found = NaturalCurve.measure(tokens, [law(each) for each in tokens], np.array([0.1]))
    assert isinstance(found, str)
    assert why in found


def test_a_length_that_was_rounded_to_whole_steps_is_in_the_window():
    """Runs of 1M tokens and of 4M, in steps of 2,048: a quarter of the long one is 999,936."""
    lengths = np.array([249_856.0, 499_712.0, 999_424.0, 3_999_744.0])
    found = curve([0.7 * np.log(lengths)[:, None]], lengths)
    assert found.slope == pytest.approx([0.7])
    usual = curve([0.7 * np.log(LENGTHS)[:, None]])
    assert found.std_error == pytest.approx(usual.std_error, rel=0.05)


def test_a_long_run_alone_in_the_window_is_compared_with_the_length_before():
    """Natural for 8 times `training.tokens`: the slope is known, with its drift on the way."""
    lengths = np.array([250.0, 500, 1000, 8000])
    rows = 0.7 * np.log(lengths)[:, None]
    rows[:2] += 9
    found = NaturalCurve.measure([lengths, lengths[:3]], [rows, rows[:3]], np.array([1e-6]))
    assert found.slope == pytest.approx([0.7])
    assert found.longest == 8000
    # the middle of three doublings lies half a doubling before that of two
    assert found.std_error == pytest.approx([0.7 * 0.3 * np.log(2) / 2], rel=1e-3)
    shorter = curve([0.7 * np.log(LENGTHS)[:, None]], noise=1e-6)
    assert shorter.std_error < 1e-5


def test_a_gain_is_inverted_on_the_line_and_beyond_it():
    line = curve([0.5 * np.log(LENGTHS)[:, None]] * 9, noise=1e-6)
    rng = np.random.default_rng(0)
    less = find_equivalent_tokens(line, sure(-0.5 * np.log(2)), 4000, rng)
    assert [less.low, less.median, less.high] == pytest.approx([2000] * 3, rel=1e-3)
    inside = find_equivalent_tokens(line, sure(0.5 * np.log(3)), 1000, rng)
    assert [inside.low, inside.median, inside.high] == pytest.approx([3000] * 3, rel=1e-3)
    assert inside.tokens == 1000
    beyond = find_equivalent_tokens(line, sure(0.5 * np.log(2)), 4000, rng)
    assert beyond.median == pytest.approx(8000, rel=0.01)
    assert 6000 < beyond.low < 7500 < 8500 < beyond.high < 12000


def test_drifting_slopes_integrate_to_the_line():
    kappa, ends = np.array([-0.4, 0.3]), np.array([3.0, 3.0])
    grid = np.linspace(0, np.log(3), 20_001)
    for k, end in zip(kappa, ends, strict=True):
        area = np.trapezoid(np.exp(k * grid), grid)
        assert _beyond(np.array([area]), np.array([k])) == pytest.approx([end], rel=1e-6)
    assert _beyond(np.array([-1.0, 0.5]), np.zeros(2)) == pytest.approx(np.exp([-1.0, 0.5]))
    assert _beyond(np.array([3.0]), np.array([-0.5])) == [np.inf]


def test_what_cannot_be_said_says_why():
    rng = np.random.default_rng(0)
    flat = curve([0 * law(LENGTHS), 0.01 * law(LENGTHS)], noise=0.5)
    assert "does not visibly grow" in find_equivalent_tokens(flat, sure(0.1), 4000, rng)
    line = curve([0.5 * np.log(LENGTHS)[:, None]] * 3, noise=1e-6)
    far = find_equivalent_tokens(line, sure(0.5 * np.log(FARTHEST)), 4000, rng)
    assert (
        far
        == "its upper end is beyond 4 times the longest run of the natural mixture, 4,000 tokens"
    )


def test_for_the_worst_capability_the_one_that_grows_least_decides():
    both = curve([law(LENGTHS, (1.0, 0.25))] * 5, noise=1e-6)
    slow = curve([law(LENGTHS, (0.25,))] * 5, noise=1e-6)
    gains = np.tile([0.05, 0.3], (500, 1))
    rng = [np.random.default_rng(0) for _ in range(2)]
    found = find_equivalent_tokens(both, gains, 1000, rng[0])
    alone = find_equivalent_tokens(slow, sure(0.05, 500), 1000, rng[1])
    assert found.median == pytest.approx(alone.median, rel=1e-3)
    lost = find_equivalent_tokens(both, np.tile([-0.1, 0.3], (500, 1)), 4000, rng[0])
    assert lost.median == pytest.approx(4000 * np.exp(-0.1 / both.slope[0]), rel=1e-3)


def test_intervals_hold_the_truth_of_a_simulated_law():
    """Two seeds of natural, noisy; the true T_eq follows from the law without noise."""
    rng, inside, said = np.random.default_rng(0), 0, 0
    for _ in range(400):
        noise = 0.03 * rng.standard_normal((2, 4, 1)) + 0.1 * rng.standard_normal((2, 1, 1))
        found = curve(list(law(LENGTHS) + noise), noise=0.03 * 2**0.5)
        truth = float(np.exp(rng.uniform(np.log(800), np.log(6000))))
        gain = float(law(np.array([truth]))[0, 0] - law(np.array([2000.0]))[0, 0])
        error = 0.05
        draws = gain + error * rng.standard_normal() + error * rng.standard_normal((1000, 1))
        told = find_equivalent_tokens(found, draws, 2000, rng)
        if isinstance(told, str):
            continue
        said += 1
        inside += told.low <= truth <= told.high
    assert said > 200
    assert 0.92 <= inside / said <= 0.99
