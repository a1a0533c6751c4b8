import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt.report.emulator import Emulator


def nodes_and_answers(d, n=60):
    rng = np.random.default_rng(d)
    ratios = rng.dirichlet(np.ones(d), n)
    return ratios, np.stack([np.log(ratios[:, 0] + 0.1), ratios[:, 1] ** 2], axis=1)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_the_same_as_the_textbook_s_system_solved_otherwise(d):
    """Wahba's way: the tail by generalised least squares, then the weights from what it leaves."""
    ratios, answers = nodes_and_answers(d)
    roots = np.sqrt(ratios)
    distances = np.linalg.norm(roots[:, None] - roots[None], axis=2) ** 3
    shares = roots**2
    tail = np.hstack([roots, shares, np.log(shares + 0.01), np.log(shares + 0.1), np.ones((60, 1))])
    q, r = np.linalg.qr(
        tail[:, :-1], mode="complete"
    )  # shares sum to one: the constant is among them
    null = q[:, np.linalg.matrix_rank(tail) :]
    weights = null @ np.linalg.solve(null.T @ distances @ null, null.T @ answers)
    own = np.linalg.lstsq(tail, answers - distances @ weights, rcond=None)[0]
    points = np.random.default_rng(9).dirichlet(np.ones(d), 40)
    there, p = np.sqrt(points), points
    far = np.linalg.norm(there[:, None] - roots[None], axis=2) ** 3
    terms = np.hstack([there, p, np.log(p + 0.01), np.log(p + 0.1), np.ones((40, 1))])
    expected = far @ weights + terms @ own
    assert np.allclose(Emulator.through(ratios, answers).predict(points), expected, atol=1e-5)


def test_exact_at_its_nodes():
    ratios, answers = nodes_and_answers(4)
    assert np.allclose(Emulator.through(ratios, answers).predict(ratios), answers, atol=1e-6)


def test_what_each_share_does_by_itself_is_exact_everywhere():
    """Sums of the terms, as the laws nearly are, up to the corners and in many dimensions."""
    d = 12
    ratios, _ = nodes_and_answers(d, 120)

    def law(rows):
        return (3 * np.sqrt(rows[:, :1]) - np.log(rows[:, 1:2] + 0.01) + 2 * rows[:, 2:3]
                + np.log(rows[:, 3:4] + 0.1))  # fmt: skip

    emulator = Emulator.through(ratios, law(ratios))
    points = np.vstack([np.eye(d), np.full((1, d), 1 / d)])
    assert np.allclose(emulator.predict(points), law(points), atol=1e-4)


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
