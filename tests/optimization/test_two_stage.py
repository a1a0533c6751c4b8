from dataclasses import replace

import numpy as np
import pytest
from known_tables import rare, weak

import mixopt
from mixopt.errors import MixtureError
from mixopt.mixture import hellinger
from mixopt.optimization import two_stage
from mixopt.optimization.optimize import search_mixtures
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.two_stage import (
    BANDWIDTH,
    FLOOR,
    SAME,
    _apart,
    choose_by_neighbors,
    neighbor_utilities,
    note_far_neighbors,
)


@pytest.fixture(scope="module")
def known():
    return weak(32, 0.3, 0)


@pytest.fixture(scope="module")
def found(known):
    surrogate = mixopt.fit(known.trials, surrogates="ridge_root")
    return search_mixtures(surrogate, known.space, seed=0)


def test_a_measured_mixture_has_its_own_utility_where_runs_are_far_apart():
    runs = np.eye(3)
    utilities = np.array([1.0, -1.0, 0.5])
    # all are one apart, which is then the bandwidth
    weight = np.exp(-0.5)
    expected = (1.0 + weight * (-1.0 + 0.5)) / (1 + 2 * weight)
    assert neighbor_utilities(runs[:1], runs, utilities)[0] == pytest.approx(expected)


def test_near_runs_are_averaged_by_the_published_bandwidth():
    runs = np.array([[0.5, 0.5], [0.52, 0.48], [0.1, 0.9], [0.12, 0.88]])
    utilities = np.array([1.0, 3.0, 0.0, 0.0])
    weight = np.exp(-0.5 * (0.02 / BANDWIDTH) ** 2)
    expected = (1 + 3 * weight) / (1 + weight)
    assert neighbor_utilities(runs[:1], runs, utilities)[0] == pytest.approx(expected, abs=1e-6)


def test_far_from_all_runs_the_nearest_one_counts():
    runs = np.array([[0.9, 0.1, 0.0], [0.88, 0.12, 0.0]])
    assert neighbor_utilities(np.array([[0.0, 0.0, 1.0]]), runs, np.array([2.0, 2.0]))[0] == 2.0
    assert neighbor_utilities(np.array([[0.0, 0.0, 1.0]]), runs[:1], np.array([3.0]))[0] == 3.0


def test_the_floor_is_the_best_candidates_that_differ():
    ratios = np.random.default_rng(0).dirichlet(np.ones(3), 400)
    values = ratios[:, 0]
    floor = _apart(ratios, values)
    assert floor[0] == values.argmax()
    assert len(floor) <= FLOOR
    away = hellinger(ratios[floor], ratios[floor]) + np.eye(len(floor))
    assert away.min() > SAME
    assert (np.diff(values[floor]) <= 0).all()


def test_neighbors_choose_among_the_surrogates_best(known, found):
    weights = choose_by_neighbors(found)
    ratios = found.search.ratios(weights[None])
    runs = known.trials.ratios()
    pool = np.vstack([found.search.ratios(found.pool), runs])
    values = np.concatenate([found.values, found.surrogate.expected_utility(runs)])
    floor = pool[_apart(pool, values)]
    assert np.abs(floor - ratios).max(axis=1).min() < 1e-9
    measured = found.surrogate.observed_utilities(known.trials)
    order = neighbor_utilities(floor, runs, measured)
    assert neighbor_utilities(ratios, runs, measured)[0] == pytest.approx(order.max())


def test_runs_and_candidates_are_ordered_by_one_goal(known, monkeypatch):
    """By the chance of a gain, which is on another scale than the utility."""
    surrogate = mixopt.fit(known.trials, surrogates="ridge_root")
    found = search_mixtures(surrogate, known.space, seed=0, maximise="chance")
    runs = known.trials.ratios()
    reached = found.goal.values(runs)
    worse = found.values < reached.max()
    found = replace(found, pool=found.pool[worse], values=found.values[worse])
    monkeypatch.setattr(two_stage, "FLOOR", 1)
    chosen = found.search.ratios(choose_by_neighbors(found)[None])
    assert chosen[0] == pytest.approx(runs[reached.argmax()])


def test_the_choice_meets_the_outcome_constraint(known):
    surrogate = mixopt.fit(known.trials, surrogates="ridge_root")
    reference = mixopt.Mixture.from_vector(known.domains, known.natural)
    constraint = OutcomeConstraint(reference, 0.0, 0.5, (), "natural")
    found = search_mixtures(surrogate, known.space, seed=0, outcome_constraint=constraint)
    ratios = found.search.ratios(choose_by_neighbors(found)[None])
    assert constraint.met(surrogate, ratios)[0]


def test_a_proposal_by_neighbors_is_their_choice_or_natural():
    table = rare(24, 0.3, 1)
    surrogate = mixopt.fit(table.trials, surrogates="ridge_root")
    proposals = mixopt.propose(surrogate, table.space, seed=0, q=2, choose_by="neighbors")
    decision = proposals[0].decision
    assert decision is not None
    assert proposals[0].ratios == (decision.candidate if decision.moves else decision.kept)
    assert not proposals[0].support.extrapolates
    assert proposals[1].ratios != proposals[0].ratios


def test_runs_far_apart_are_said_to_be_too_few_for_neighbors(known):
    near = 0.9 * known.natural + 0.1 * known.trials.ratios()
    assert note_far_neighbors(near) == ()
    (note,) = note_far_neighbors(known.trials.ratios())
    # a repeat of a mixture is no neighbor
    assert note_far_neighbors(np.repeat(known.trials.ratios(), 2, axis=0)) == (note,)
    assert "choose_by: surrogate is better here" in note
    surrogate = mixopt.fit(known.trials, surrogates="ridge_root")
    proposal = mixopt.propose(surrogate, known.space, seed=0, choose_by="neighbors")[0]
    assert note in proposal.notes
    assert note not in mixopt.propose(surrogate, known.space, seed=0)[0].notes


def test_the_usual_distance_needs_no_matrix_of_all_runs(monkeypatch):
    runs = np.random.default_rng(0).dirichlet(np.ones(3), 41)
    apart = 0.5 * np.abs(runs[:, None] - runs[None]).sum(axis=2) + 9 * np.eye(41)
    rows = []

    def count(first, second):
        rows.append(len(first))
        return distances(first, second)

    distances = two_stage._total_variation
    monkeypatch.setattr(two_stage, "_total_variation", count)
    monkeypatch.setattr(two_stage, "CHUNK", 41 * 4)
    assert two_stage._usual_distance(runs) == pytest.approx(np.median(apart.min(axis=1)))
    assert max(rows) == 4


def test_an_unknown_way_to_choose_is_refused(known):
    surrogate = mixopt.fit(known.trials, surrogates="ridge_root")
    with pytest.raises(MixtureError, match="choose_by='neighbours' is no way to choose.*neighbors"):
        mixopt.propose(surrogate, known.space, choose_by="neighbours")
