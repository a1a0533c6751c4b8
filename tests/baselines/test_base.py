import numpy as np
import pytest
from categorical_world import (
    DOMAINS,
    METRICS,
    ONLINE_STEPS,
    READ_EACH_STEP,
    RUN_TOKENS,
    World,
    make_problem,
)

from mixopt import SearchSpace
from mixopt.baselines.base import OnlineTraining, Problem, Recommendation
from mixopt.baselines.scalebio import ScaleBio
from mixopt.errors import RunError, UserError


def test_losses_turn_shares_of_right_answers_and_back():
    problem = make_problem(World())
    scores = np.array([[2.0, 1.0, 0.7]])
    assert problem.losses(scores)[0] == pytest.approx([2.0, 1.0, 0.3])
    assert np.allclose(problem.scores(problem.losses(scores)), scores)
    assert problem.loss(scores)[0] == pytest.approx(0.5 * 2.0 + 0.3 * 1.0 + 0.2 * 0.3)


def test_experts_are_paid_once_and_runs_each_time():
    world = World()
    problem = make_problem(world, budget=world.tokens + 3 * RUN_TOKENS)
    problem.ensembles(np.eye(4))
    problem.merges(np.eye(4))
    assert problem.spent == world.tokens
    assert problem.affordable_runs == 3
    problem.train(np.eye(4)[:2])
    assert problem.spent == world.tokens + 2 * RUN_TOKENS


def test_what_the_budget_does_not_pay_for_is_not_trained():
    world = World()
    problem = make_problem(world, budget=1500)
    with pytest.raises(RunError, match="2 runs cost 2,000 tokens and 1,500 of the method's budget"):
        problem.train(np.eye(4)[:2])
    with pytest.raises(RunError, match="The training of odm cost 1,501 tokens and 1,500"):
        problem.train_online(OnlineTraining("odm", 1501))
    assert not world.trained
    assert problem.spent == 0


def test_runs_that_were_not_begun_cost_nothing():
    world = World()
    world.refuse = lambda row: row[2] > 0.9
    problem = make_problem(world, budget=9 * RUN_TOKENS)
    assert np.isnan(problem.train(np.eye(4))).any(axis=1).tolist() == [False, False, True, False]
    assert problem.spent == 3 * RUN_TOKENS
    problem.train_lengths(np.eye(4)[2:3])
    assert problem.spent == 3 * RUN_TOKENS


def test_text_of_benchmarks_that_is_trained_on_is_paid_from_the_budget():
    beside = ONLINE_STEPS * READ_EACH_STEP
    problem = make_problem(World(), budget=2 * RUN_TOKENS + beside)
    found = ScaleBio().recommend(problem)
    assert found.tokens == problem.spent == 2 * RUN_TOKENS + beside
    world = World()
    with pytest.raises(
        RunError, match="of scalebio, with the benchmarks' text that it reads, cost"
    ):
        ScaleBio().recommend(make_problem(world, budget=2 * RUN_TOKENS + beside - 1))
    assert not world.online_tokens


def test_without_experts_one_sentence_says_so():
    space = SearchSpace(DOMAINS)
    problem = Problem(space, METRICS, np.full(3, 1 / 3), World(), 1000)
    with pytest.raises(UserError, match="combines experts and there are none; train experts first"):
        problem.merges(np.eye(4))


def test_a_recommendation_is_moved_inside_the_limits_and_read_back():
    problem = make_problem(World(), space=SearchSpace(DOMAINS, upper={"code": 0.4}))
    found = problem.recommend(
        np.array([0.0, 0.0, 1.0, 0.0]), np.array([1.0, 2.0, 0.25]), np.full((2, 4), 0.25)
    )
    assert found.ratios["code"] == pytest.approx(0.4)
    assert found.predicted == {"code_loss": 1.0, "books_loss": 2.0, "right": 0.75}
    assert Recommendation.from_dict(found.to_dict()) == found
