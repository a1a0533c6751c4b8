import numpy as np
import pytest
from pages import NATURAL, report

from mixopt.report.data import distance_from


def test_the_first_proposal_is_the_best():
    data = report()
    assert data.best is data.proposals[0]


def test_answers_name_columns_that_the_emulator_has():
    asked = report().what_if
    columns = {place for a in asked.answers for place in (a.mean, a.change, a.spread)}
    assert columns == set(range(asked.emulator.offsets.size))


def test_nothing_is_unsure_at_the_reference_and_everything_away_from_it():
    asked = report().what_if
    natural = NATURAL.vector(asked.domains)
    rows = np.stack([(1 - s) * natural + s * np.eye(3)[1] for s in (0.0, 0.01, 0.3)])
    for answer in asked.answers:
        _, _, std = asked.read(answer, rows)
        assert std[0] == pytest.approx(0, abs=1e-12)
        assert 0 < std[1] < std[2]


def test_distance_is_that_of_hellinger_twice():
    assert distance_from(np.sqrt([1.0, 0.0]), np.array([[0.0, 1.0]])) == pytest.approx([2.0])
