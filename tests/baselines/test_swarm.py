import numpy as np
import pytest
from categorical_world import World, make_problem

from mixopt.baselines.swarm import drop_failed, list_own_domains, train_swarm
from mixopt.errors import RunError


def test_runs_so_far_come_first():
    known = np.eye(4)[:1]
    problem = make_problem(World(), run_ratios=known, run_scores=np.ones((1, 3)))
    ratios, scores = train_swarm(problem, np.eye(4)[1:3])
    assert ratios.tolist() == np.eye(4)[:3].tolist()
    assert scores[0].tolist() == [1, 1, 1]
    assert problem.spent == 2000
    assert len(train_swarm(problem, np.empty((0, 4)))[0]) == 1


def test_runs_without_any_score_are_left_out():
    losses = np.array([[1.0, np.nan], [np.nan, np.nan]])
    ratios, kept = drop_failed(np.eye(2), losses)
    assert ratios.tolist() == [[1, 0]]
    assert kept[0, 0] == 1
    with pytest.raises(RunError, match="None of the method's 1 runs"):
        drop_failed(np.eye(2)[:1], losses[1:])


def test_metrics_belong_to_domains_by_name():
    assert list_own_domains(make_problem(World())) == [2, 3, None]
