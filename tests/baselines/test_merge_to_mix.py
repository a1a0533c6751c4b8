from itertools import combinations

import numpy as np
import pytest
from categorical_world import DOMAINS, World, make_problem

from mixopt.baselines.merge_to_mix import MergeToMix
from mixopt.errors import UserError


def test_it_is_the_best_of_all_subsets():
    world = World(seed=2)
    found = MergeToMix().recommend(make_problem(world))
    assert world.scored == 15
    problem = make_problem(world)
    best, least = None, np.inf
    for size in range(1, 5):
        for chosen in combinations(range(4), size):
            weights = np.isin(np.arange(4), chosen) / size
            loss = problem.loss(problem.merges(weights[None]))[0]
            if loss < least:
                best, least = weights, loss
    assert found.ratios.vector(DOMAINS) == pytest.approx(best)


def test_too_many_experts_end_in_one_sentence():
    with pytest.raises(UserError, match="every subset of the 4 experts, 15 merges, and at most 7"):
        MergeToMix(most_subsets=7).recommend(make_problem(World()))
