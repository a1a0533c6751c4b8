import numpy as np
import pytest

from mixopt import SearchSpace
from mixopt.errors import InfeasibleError
from mixopt.linear_limits import Row, explain_conflict


def test_a_row_of_one_value_is_an_equality():
    assert Row(np.ones(2), 0.3, 0.3, "web = 0.3").fixed
    assert not Row(np.ones(2), 0.3, 0.4, "web").fixed


def test_what_weights_of_experts_cannot_reach_is_a_conflict_too():
    space = SearchSpace(("a", "b"), lower={"a": 0.7})
    halves = np.array([[0.5, 0.5], [0.6, 0.4]])
    with pytest.raises(InfeasibleError, match="weighting of the experts meets a >= 0.7"):
        explain_conflict(space.rows, halves)
    explain_conflict(space.rows, np.eye(2))  # domains themselves can
