import numpy as np
import pytest

from mixopt.surrogates import kernel_expansions
from mixopt.surrogates.kernel_expansions import Expansions
from mixopt.surrogates.kernels import matern52, square_distances


def example():
    rng = np.random.default_rng(0)
    points, pulls = rng.normal(size=(6, 3)), rng.normal(size=(4, 6))
    return points, pulls, rng.uniform(0.5, 2, size=(4, 3)), rng.normal(size=(5, 3))


def test_values_are_the_sums_one_by_one():
    points, pulls, stretches, x = example()
    by_hand = np.stack([
        matern52(square_distances(x * s, points * s), 1.0) @ a
        for s, a in zip(stretches, pulls, strict=True)
    ])  # fmt: skip
    assert Expansions(points, pulls, stretches).values(x) == pytest.approx(by_hand)


def test_chunks_change_nothing(monkeypatch):
    points, pulls, stretches, x = example()
    weights = np.ones((4, 5))
    whole = Expansions(points, pulls, stretches)
    values, slopes = whole.values(x), whole.slopes(x, weights)
    monkeypatch.setattr(kernel_expansions, "CHUNK", 1)
    assert whole.values(x) == pytest.approx(values)
    assert whole.slopes(x, weights) == pytest.approx(slopes)
