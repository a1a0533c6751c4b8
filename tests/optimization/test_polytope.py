import numpy as np
import pytest

from mixopt.optimization.polytope import (
    bisect,
    find_implied_equalities,
    linear_constraints,
    project_in_turn,
)


def test_projection_brings_points_to_the_border_and_keeps_the_sum():
    normals, offsets = np.array([[1.0, 0, 0], [0, -1.0, 0]]), np.array([0.2, -0.5])
    points = np.array([[0.0, 0.7, 0.3], [0.3, 0.4, 0.3]])
    near = project_in_turn(points, normals, offsets)
    assert (near @ normals.T >= offsets - 1e-6).all()
    assert near.sum(axis=1) == pytest.approx(1)
    assert near[1] == pytest.approx(points[1])


def test_bisection_stops_at_the_border():
    ends = bisect(np.zeros(2), np.array([[1.0, 1.0], [0.1, 0.1]]), lambda p: p.sum(axis=1) <= 1)
    assert ends == pytest.approx(np.array([[0.5, 0.5], [0.1, 0.1]]), abs=1e-9)


def test_rows_become_constraints():
    normals = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    rows = linear_constraints(normals, np.array([1.0, 0.2, -np.inf]), np.array([1.0, 0.6, 0.7]))
    assert [row["type"] for row in rows] == ["eq", "ineq", "ineq", "ineq"]
    point = np.array([0.3, 0.6])
    assert [row["fun"](point) for row in rows] == pytest.approx([-0.1, 0.1, 0.3, 0.1])


@pytest.mark.parametrize(("offsets", "implied"), [
    ([0, 0, 0, 0.7, 0.3], [False, False, True, True, True]),  # lower limits that sum to 1
    ([0, 0, 0, 0.6, 0.3], [False] * 5),
    ([0, 0, 0, 1, 0], [False, True, True, True, True]),
    ([0, 0, 0, 1, 0.1], [False] * 5),  # no point at all
])  # fmt: skip
def test_half_spaces_that_others_make_equalities(offsets, implied):
    normals = np.vstack([np.eye(3), np.eye(3)[:2]])
    found = find_implied_equalities(normals, np.array(offsets), np.ones((1, 3)), np.ones(1))
    assert found.tolist() == implied
