import numpy as np
import pytest
from categorical_world import DOMAINS, World, make_problem

from mixopt.baselines.points import Points


@pytest.mark.parametrize("seed", range(6))
def test_the_soup_is_never_worse_than_the_best_model_alone(seed):
    world = World(seed)
    problem = make_problem(world)
    found = Points().recommend(problem)
    chosen = found.ratios.vector(DOMAINS)
    inside = chosen > 1e-9
    assert chosen[inside] == pytest.approx(1 / inside.sum())
    alone = problem.loss(world.merges(np.eye(4)))
    assert problem.loss(world.merges(chosen[None]))[0] <= alone.min() + 1e-12


def test_a_merge_that_could_not_be_scored_is_not_added():
    world = World()
    merges = world.merges

    def lose_averages(weights):
        scores = merges(weights)
        scores[np.asarray(weights).max(axis=1) < 1] = np.nan
        return scores

    world.merges = lose_averages
    found = Points().recommend(make_problem(world))
    assert max(found.ratios.values()) == 1.0
