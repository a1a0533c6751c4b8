import numpy as np
import pytest

from mixopt.evaluation.tasks.base import Request
from mixopt.evaluation.tasks.target import TargetTask
from mixopt.trials import Metric


def test_bits_of_each_target_and_their_bytes():
    built = [(Request([0], [1]), 2, False), (Request([0], [1, 2]), 6, True)]
    task = TargetTask(Metric("m"), iter(built))
    assert (task.starts, task.truncated, task.layout) == ([0, 1], 1, ([2.0, 6.0],))
    results = task.read(np.array([-2.0, -4.0]))
    assert results.score == pytest.approx(6 / np.log(2) / 8)
    assert task.loss_weights @ np.array([-2.0, -4.0]) == pytest.approx(results.score)
