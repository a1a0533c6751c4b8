import numpy as np
import pytest
from categorical_world import World, make_problem

from mixopt.baselines.d_optimal import RIDGE, DOptimal, choose_d_optimal, features


def test_each_row_raises_the_determinant_most():
    terms = np.random.default_rng(0).normal(size=(12, 3))
    chosen = choose_d_optimal(terms, 5)
    rows = np.column_stack([np.ones(12), terms])
    assert chosen[0] == 0
    for place in range(1, 5):

        def information(index, before=tuple(chosen[:place])):
            own = rows[[*before, index]]
            return np.linalg.slogdet(own.T @ own + RIDGE * np.eye(4))[1]

        others = [i for i in range(12) if i not in chosen[:place]]
        assert chosen[place] == max(others, key=information)


def test_features_are_ratios_epochs_entropy_and_border():
    found = features(np.array([[0.5, 0.5, 0.0, 0.0]]), np.array([2.0, 4.0, 1.0, 1.0]))[0]
    assert found[:8].tolist() == [0.5, 0.5, 0, 0, 1.0, 2.0, 0, 0]
    assert found[8] == pytest.approx(0.5)  # log 2 ÷ log 4
    assert found[9] == 0.5


def test_at_most_sixteen_runs_are_trained():
    world = World()
    found = DOptimal(pool=64).recommend(make_problem(world, budget=40_000))
    assert len(world.trained) == 16
    assert found.tokens == 16_000
