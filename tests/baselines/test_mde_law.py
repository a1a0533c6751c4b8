import numpy as np
import pytest
from categorical_world import DOMAINS, RUN_TOKENS, World, make_problem

from mixopt.baselines.mde_law import MdeLaw
from mixopt.errors import TrialsError


def test_where_ensembles_are_exact_the_law_predicts_well():
    world = World(noise=0.005)
    found = MdeLaw(pool=128).recommend(make_problem(world))
    real = world.measure((found.ratios.vector(DOMAINS) @ world.tokens_by_domain)[None])[0]
    predicted = np.array([found.predicted[name] for name in ("code_loss", "books_loss", "right")])
    assert np.abs(predicted - real).max() < 0.05


def test_the_experts_are_paid_before_the_runs():
    world = World()
    found = MdeLaw(pool=32).recommend(make_problem(world, budget=world.tokens + 7 * RUN_TOKENS))
    assert len(world.trained) == 7
    assert found.tokens == world.tokens + 7 * RUN_TOKENS


def test_too_few_runs_with_a_score_end_in_one_sentence():
    world = World()
    world.fail = {1, 2}
    with pytest.raises(TrialsError, match="fitted to 5 runs with a score and needs 6"):
        MdeLaw(pool=32).recommend(make_problem(world, budget=world.tokens + 7 * RUN_TOKENS))


def test_the_law_is_of_the_ratios_that_runs_were_trained_on():
    """Experts that share half of their text make no run with more than half of a domain exactly."""

    class Anchored(World):
        def __init__(self):
            super().__init__()
            self.composition = 0.5 * np.eye(4) + 0.5 / 4

        def ensembles(self, weights):  # they tell nothing
            return np.ones((len(weights), 3))

        def measure(self, probabilities):  # linear in the ratios of the run
            ratios = probabilities @ np.linalg.pinv(self.tokens_by_domain)
            return 2 - ratios[:, 1:]

    world = Anchored()
    found = MdeLaw(pool=64).recommend(make_problem(world))
    real = 2 - found.ratios.vector(DOMAINS)[1:]
    predicted = np.array([found.predicted[name] for name in ("code_loss", "books_loss", "right")])
    assert np.abs(predicted - real).max() < 0.01
