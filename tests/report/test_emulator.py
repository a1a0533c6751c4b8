import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt.report.emulator import Emulator


def nodes_and_outputs(d, n=60):
    rng = np.random.default_rng(d)
    ratios = rng.dirichlet(np.ones(d), n)
    return ratios, np.stack([np.log(ratios[:, 0] + 0.1), ratios[:, 1] ** 2], axis=1)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_agrees_with_the_null_space_solution(d):
    """Wahba (1990): weights in the null space of the tail, then the tail by least squares."""
    ratios, outputs = nodes_and_outputs(d)
    roots = np.sqrt(ratios)
    distances = np.linalg.norm(roots[:, None] - roots[None], axis=2) ** 3
    shares = roots**2
    tail = np.hstack([roots, shares, np.log(shares + 0.01), np.log(shares + 0.1), np.ones((60, 1))])
    # ratios sum to one, so the constant is a combination of the other columns
    q, _ = np.linalg.qr(tail[:, :-1], mode="complete")
    null = q[:, np.linalg.matrix_rank(tail) :]
    weights = null @ np.linalg.solve(null.T @ distances @ null, null.T @ outputs)
    coefficients = np.linalg.lstsq(tail, outputs - distances @ weights, rcond=None)[0]
    points = np.random.default_rng(9).dirichlet(np.ones(d), 40)
    there, p = np.sqrt(points), points
    far = np.linalg.norm(there[:, None] - roots[None], axis=2) ** 3
    terms = np.hstack([there, p, np.log(p + 0.01), np.log(p + 0.1), np.ones((40, 1))])
    expected = far @ weights + terms @ coefficients
    assert np.allclose(Emulator.fit(ratios, outputs).predict(points), expected, atol=1e-5)


def test_exact_at_its_nodes():
    ratios, outputs = nodes_and_outputs(4)
    assert np.allclose(Emulator.fit(ratios, outputs).predict(ratios), outputs, atol=1e-6)


def test_sums_of_tail_terms_are_reproduced_everywhere():
    """Also at the corners and in many dimensions."""
    d = 12
    ratios, _ = nodes_and_outputs(d, 120)

    def model(rows):
        return (3 * np.sqrt(rows[:, :1]) - np.log(rows[:, 1:2] + 0.01) + 2 * rows[:, 2:3]
                + np.log(rows[:, 3:4] + 0.1))  # fmt: skip

    emulator = Emulator.fit(ratios, model(ratios))
    points = np.vstack([np.eye(d), np.full((1, d), 1 / d)])
    assert np.allclose(emulator.predict(points), model(points), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12))
def test_few_nodes_are_interpolated_too(n):
    ratios = np.random.default_rng(n).dirichlet(np.ones(6), n)
    outputs = ratios[:, :1]
    assert np.allclose(Emulator.fit(ratios, outputs).predict(ratios), outputs, atol=1e-6)


def test_written_coefficients_are_those_that_python_computes_with():
    emulator = Emulator.fit(*nodes_and_outputs(3))
    plain = emulator.to_dict()
    again = Emulator(*(np.array(plain[name]) for name in ("nodes", "weights", "slopes", "offsets")))
    point = np.array([[0.2, 0.3, 0.5]])
    assert np.array_equal(again.predict(point), emulator.predict(point))
    assert all(len(f"{v:e}".split("e")[0].rstrip("0")) <= 11 for v in emulator.offsets)
