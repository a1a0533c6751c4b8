import numpy as np
import pytest
from categorical_world import DOMAINS, RUN_TOKENS, World, make_problem

from mixopt.baselines.olmix import Olmix

CODE = np.array([1.0, 0.0, 0.0])


def test_the_penalty_decides_how_far_it_moves():
    near = Olmix(kl=100.0, restarts=3).recommend(make_problem(World(), weights=CODE))
    far = Olmix(kl=0.0, restarts=3).recommend(make_problem(World(), weights=CODE))
    assert near.ratios["code"] == pytest.approx(0.15, abs=0.01)
    assert far.ratios["code"] > 0.9


def test_runs_so_far_are_fitted_too_and_cost_nothing():
    world = World()
    known = np.random.default_rng(0).dirichlet(np.ones(4), 8)
    problem = make_problem(
        world, budget=5 * RUN_TOKENS, run_ratios=known,
        run_scores=world.measure(known @ world.tokens_by_domain),
    )  # fmt: skip
    found = Olmix(restarts=3).recommend(problem)
    assert found.tokens == 5 * RUN_TOKENS
    real = world.measure((found.ratios.vector(DOMAINS) @ world.tokens_by_domain)[None])[0]
    assert abs(found.predicted["code_loss"] - real[0]) < 0.25


def test_natural_is_the_first_run():
    world = World()
    problem = make_problem(world)
    Olmix(restarts=1).recommend(problem)
    assert world.trained[0] == pytest.approx(problem.natural)
    assert len(world.trained) == problem.budget_tokens // RUN_TOKENS
