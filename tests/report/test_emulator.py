import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from mixopt.report.emulator import Emulator


def nodes_and_answers(d, n=60):
    rng = np.random.default_rng(d)
    ratios = rng.dirichlet(np.ones(d), n)
    return ratios, np.stack([np.log(ratios[:, 0] + 0.1), ratios[:, 1] ** 2], axis=1)


@pytest.mark.parametrize("d", [2, 3, 6, 25])
def test_the_same_as_scipy_s_cubic_interpolant(d):
    ratios, answers = nodes_and_answers(d)
    emulator = Emulator.through(ratios, answers)
    points = np.random.default_rng(9).dirichlet(np.ones(d), 40)
    reference = RBFInterpolator(np.sqrt(ratios), answers, kernel="cubic", degree=1)
    assert np.allclose(emulator.predict(points), reference(np.sqrt(points)), atol=2e-6)


def test_exact_at_its_nodes():
    ratios, answers = nodes_and_answers(4)
    assert np.allclose(Emulator.through(ratios, answers).predict(ratios), answers, atol=1e-6)


def test_what_is_linear_in_the_roots_is_so_everywhere():
    ratios, _ = nodes_and_answers(5)
    emulator = Emulator.through(ratios, np.sqrt(ratios)[:, :1] * 3 + 1)
    points = np.vstack([np.eye(5), np.full((1, 5), 0.2)])
    assert np.allclose(emulator.predict(points)[:, 0], 3 * np.sqrt(points[:, 0]) + 1, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12))
def test_few_nodes_still_make_a_formula(n):
    ratios = np.random.default_rng(n).dirichlet(np.ones(6), n)
    answers = ratios[:, :1]
    assert np.allclose(Emulator.through(ratios, answers).predict(ratios), answers, atol=1e-6)


def test_what_is_written_is_what_is_computed_with():
    emulator = Emulator.through(*nodes_and_answers(3))
    plain = emulator.to_dict()
    again = Emulator(*(np.array(plain[name]) for name in ("nodes", "weights", "slopes", "offsets")))
    point = np.array([[0.2, 0.3, 0.5]])
    assert np.array_equal(again.predict(point), emulator.predict(point))
    assert all(len(f"{v:e}".split("e")[0].rstrip("0")) <= 11 for v in emulator.offsets)
