from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import toy

from mixopt.pipeline.gains import StudyGains
from mixopt.pipeline.merge_check import NEIGHBOURS, check_by_merges
from mixopt.surrogates.metric_arrays import signs


@pytest.fixture(scope="module")
def gains(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("merges")
    toy.write_study(
        folder, search={"rounds": [8], "natural": {"birds": 0.8, "ships": 0.1, "sums": 0.1}}
    )
    study = toy.load(toy.copy_trained(trained_toy, folder))
    return StudyGains(study.context, study.open_search(), study.open_policy(), study.search())


@pytest.mark.parametrize("unit", ["z", "raw"])
def test_gains_are_those_of_merges_over_the_merge_of_natural(gains, unit):
    own = copy(gains)
    own.objective = replace(gains.objective, unit=unit)
    candidate, worse = np.full(3, 1 / 3), np.array([[1.0, 0.0, 0.0]])
    check = check_by_merges(own, candidate, worse)

    def scores(row):
        weights = gains.search.space.weights_for(row)[0].tolist()
        results = gains.search.evaluator.score(weights)["merged"]
        return np.array([results[metric.name].score for metric in gains.metrics])

    objective = own.objective
    grown = gains.growth if unit == "z" else 1.0  # raw gains are stated as they are
    standardized = (scores(candidate) - scores(gains.natural)) * signs(objective.metrics)
    expected = objective.combinations()[0] * grown @ (standardized / objective.spreads)
    assert check.gain.mean == pytest.approx(expected)
    assert check.gain.mean > 0
    assert check.gain.std_error > 0
    assert (check.better, check.neighbours) == (0, 1)


def test_few_neighbours_are_merged(gains):
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 9)
    assert check_by_merges(gains, rows[0], rows[1:]).neighbours == NEIGHBOURS
    assert check_by_merges(gains, rows[0], rows[:0]).neighbours == 0
