import numpy as np
import pytest
from categorical_world import DOMAINS, World, make_problem

from mixopt.baselines.op_mix import OpMix
from mixopt.errors import TrialsError


def test_it_scores_twenty_merges_and_trains_nothing():
    world = World()
    found = OpMix(restarts=2).recommend(make_problem(world, budget=world.tokens))
    assert (world.scored, world.trained) == (20, [])
    assert found.tokens == world.tokens


def test_the_old_mixture_in_the_probes_is_in_the_ratios():
    world = World()
    natural = np.array([0.5, 0.3, 0.15, 0.05])
    world.composition = 0.9 * np.eye(4) + 0.1 * natural
    problem = make_problem(world, weights=np.array([1.0, 0.0, 0.0]))
    found = OpMix(kl=0.0, restarts=2).recommend(problem).ratios.vector(DOMAINS)
    # no merge of these probes has less than a tenth of the old mixture
    assert (found >= 0.1 * natural - 1e-9).all()
    assert found[2] == pytest.approx(0.915, abs=0.02)


def test_too_few_merges_do_not_ask_for_a_budget():
    class Failing(World):
        def merges(self, weights):
            found = super().merges(weights)
            found[3:] = np.nan
            return found

    with pytest.raises(TrialsError, match="and 3 mixtures have a score; the messages before name"):
        OpMix(restarts=2).recommend(make_problem(Failing()))
