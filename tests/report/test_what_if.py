import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import NATURAL, what_if

import mixopt
from mixopt import Estimate, Mixture, SearchSpace
from mixopt.decision import Decision
from mixopt.optimization.weight_space import WeightSpace
from mixopt.report.what_if import (
    MAX_NODES,
    MIN_NODES,
    Emulator,
    _choose_nodes,
    _cubic,
    _keep,
    _squared_distance,
    _usual,
    build_what_if,
)
from mixopt.surrogates.utility import utilities_by_capability


def test_outputs_name_the_columns_of_the_emulator():
    invented = what_if()
    columns = {place for o in invented.outputs for place in (o.mean, o.change, o.log_ratio)}
    assert columns == set(range(invented.emulator.offsets.size))


def test_the_change_is_certain_at_the_reference_and_less_certain_with_distance():
    invented = what_if()
    natural = NATURAL.vector(invented.domains)
    rows = np.stack([(1 - s) * natural + s * np.eye(3)[1] for s in (0.0, 0.01, 0.3)])
    for output in invented.outputs:
        _, _, std = invented.read(output, rows)
        assert std[0] == pytest.approx(0, abs=1e-12)
        assert 0 < std[1] < std[2]


def test_squared_distance_is_twice_the_squared_hellinger_distance():
    assert _squared_distance(np.sqrt([1.0, 0.0]), np.array([[0.0, 1.0]])) == pytest.approx([2.0])


def test_the_best_other_mixture_is_a_start_where_the_reference_is_kept(surrogate, space, proposals):
    weights = WeightSpace.of_domains(space)
    best = proposals[0]
    natural = best.comparisons[0].ratios
    moves = Decision(True, best.ratios, natural, Estimate(0.1, 0.2), None, 4)
    stays = replace(best, ratios=natural, decision=replace(moves, moves=False))
    kept = build_what_if(surrogate, weights, [stays])
    assert kept.starts["best other"] == best.ratios
    assert list(kept.starts)[:2] == ["proposal", "best other"]
    alone = replace(stays, decision=replace(stays.decision, candidate=natural))
    for other in (replace(best, decision=moves), alone):
        assert "best other" not in build_what_if(surrogate, weights, [other]).starts


def test_the_emulator_agrees_with_the_surrogate(surrogate, proposals, fitted_what_if):
    emulated = fitted_what_if
    natural = proposals[0].comparisons[0].ratios
    points = np.random.default_rng(1).dirichlet(np.ones(len(emulated.domains)), 100)
    columns = emulated.emulator.predict(points)
    gain, std = surrogate.utility_difference(points, natural.vector(emulated.domains))
    assert np.quantile(np.abs(columns[:, 0] - gain), 0.9) < 3 * emulated.error + 1e-6
    assert emulated.error < 0.1 * emulated.gain_std
    _, _, emulated_std = emulated.read(emulated.outputs[0], points)
    assert np.quantile(np.abs(emulated_std / std - 1), 0.9) < 2 * emulated.band_error + 1e-6
    assert emulated.band_error < 0.4
    mean, _ = surrogate.predict(points)
    for output in emulated.outputs:
        if output.kind == "metric":
            m = [f.metric.name for f in surrogate.metrics].index(output.name)
            assert np.corrcoef(columns[:, output.mean], mean[:, m])[0, 1] > 0.99


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05])
def test_standard_deviations_are_right_near_the_reference(
    surrogate, proposals, fitted_what_if, share
):
    """Changes and their errors are small there, so the emulator's error could exceed them."""
    natural = proposals[0].comparisons[0].ratios.vector(fitted_what_if.domains)
    away = np.random.default_rng(2).dirichlet(np.ones(3), 60)
    points = (1 - share) * natural + share * away
    _, std = surrogate.utility_difference(points, natural)
    _, _, emulated_std = fitted_what_if.read(fitted_what_if.outputs[0], points)
    assert (emulated_std > 0).all()
    assert np.median(np.abs(emulated_std / std - 1)) < 0.3


def test_starting_mixtures_are_nodes(surrogate, fitted_what_if):
    starts, domains = fitted_what_if.starts, fitted_what_if.domains
    assert list(starts) == ["proposal", "natural", "uniform", "best seen"]
    for name, mixture in starts.items():
        (columns,) = fitted_what_if.emulator.predict(mixture.vector(domains)[None])
        expected = surrogate.estimate_gain(mixture, starts["natural"]).mean
        assert columns[0] == pytest.approx(expected, abs=5e-3), name
    (at_natural,) = fitted_what_if.emulator.predict(starts["natural"].vector(domains)[None])
    assert at_natural[0] == pytest.approx(0, abs=1e-5)


def test_capabilities_are_outputs_if_there_are_several(fitted_what_if):
    kinds = [output.kind for output in fitted_what_if.outputs]
    assert kinds == ["utility", "capability", "capability", "metric", "metric"]


def test_capabilities_that_count_come_first(runs):
    first, second = dict.fromkeys(metric.capability for metric in runs.search_metrics)
    space = mixopt.SearchSpace(tuple(runs.domains))
    for weights in ({first: 0.0}, {second: 0.0}):
        surrogate = mixopt.fit(runs[:16], target="utility", capability_weights=weights)
        proposals = mixopt.propose(surrogate, space, seed=0)
        emulated = build_what_if(surrogate, WeightSpace.of_domains(space), proposals)
        names = [output.name for output in emulated.outputs if output.kind == "capability"]
        assert names[-1] in weights
        assert len(names) == 2


@pytest.mark.parametrize("normalise", ["z", "rank"])
def test_capabilities_are_in_the_scale_of_the_search(runs, normalise):
    trials = runs[:16]
    scales = {metric.name: 0.5 for metric in trials.search_metrics}
    surrogate = mixopt.fit(trials, target="utility", normalise=normalise, scales=scales)
    space = mixopt.SearchSpace(tuple(runs.domains))
    proposals = mixopt.propose(surrogate, space, seed=0)
    emulated = build_what_if(surrogate, WeightSpace.of_domains(space), proposals)
    parts = utilities_by_capability(trials, trials.search_metrics, {}, normalise, scales)
    best = proposals[0].ratios.vector(emulated.domains)[None]
    natural = emulated.sqrt_reference[None] ** 2
    here, there = (surrogate.predict(rows)[0] for rows in (best, natural))
    for output in emulated.outputs:
        if output.kind == "capability":
            expected = parts[output.name].of(here) - parts[output.name].of(there)
            _, change, _ = emulated.read(output, best)
            assert change == pytest.approx(expected, abs=1e-3), output.name


def test_absurd_corners_do_not_spoil_the_emulator():
    """As of domains that the target run would read hundreds of times, as a whole mixture."""
    d = 12
    ratios, _ = nodes_and_outputs(d, 200)
    ratios = np.vstack([ratios, np.eye(d)])
    gains = np.log(ratios[:, :1] + 0.1) + ratios[:, 1:2] ** 2
    gains[-2:] = -150.0
    kept = _usual(gains[:, 0])
    assert kept[:-2].all()
    assert not kept[-2:].any()
    points = np.random.default_rng(9).dirichlet(np.ones(d), 100)
    expected = np.log(points[:, 0] + 0.1) + points[:, 1] ** 2

    def miss(rows):
        predicted = Emulator.fit(ratios[rows], gains[rows]).predict(points)[:, 0]
        return np.quantile(np.abs(predicted - expected), 0.95)

    assert miss(kept) < 0.05 < 10 * miss(kept) < miss(np.full(len(ratios), True))
    assert _usual(np.zeros(3)).all()


def test_starting_mixtures_that_coincide_keep_no_other_node():
    gains = np.array([0.0, -150.0, 0.1, 0.2, 0.3])
    natural, other = [0.5, 0.5], [0.9, 0.1]
    assert _keep(gains, np.array([natural, natural])).tolist() == [True, False, True, True, True]
    assert _keep(gains, np.array([natural, other])).all()


def test_many_domains_have_as_many_nodes_as_few():
    d, rng = 400, np.random.default_rng(0)
    names = [f"d{i}" for i in range(d)]
    surrogate = SimpleNamespace(
        domains=names, trials=SimpleNamespace(ratios=lambda: rng.dirichlet(np.ones(d), 9))
    )
    start = Mixture({name: float(name == "d399") for name in names})
    space = WeightSpace.of_domains(SearchSpace(names))
    nodes = _choose_nodes(surrogate, space, [Mixture.uniform(names), start], 2, rng)
    assert MIN_NODES <= len(nodes) <= MAX_NODES
    assert nodes[:, -1].max() == 1  # what moves most has its corner


def test_distances_of_many_nodes_hold_no_array_of_all_domains():
    nodes = np.random.default_rng(0).dirichlet(np.ones(300), 200)
    tracemalloc.start()
    found = _cubic(nodes, nodes[:50])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * found.nbytes
    by_hand = np.linalg.norm(nodes[7] - nodes[9]) ** 3
    assert found[7, 9] == pytest.approx(by_hand)


def test_bounds_and_constraints_are_those_of_the_space(fitted_what_if):
    assert fitted_what_if.upper[0] == 0.7
    assert len(fitted_what_if.constraints) == 1
    assert "ends" in fitted_what_if.constraints[0]
    assert (fitted_what_if.feasible[:, 0] <= 0.7 + 1e-9).all()


def nodes_and_outputs(d, n=60):
    rng = np.random.default_rng(d)
    ratios = rng.dirichlet(np.ones(d), n)
    return ratios, np.stack([np.log(ratios[:, 0] + 0.1), ratios[:, 1] ** 2], axis=1)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_agrees_with_the_null_space_solution(d):
    """Wahba (1990): weights in the null space of the tail, then the tail by least squares."""
    ratios, outputs = nodes_and_outputs(d)
    roots = np.sqrt(ratios)
    distances = np.linalg.norm(roots[:, None] - roots[None], axis=2) ** 3
    shares = roots**2
    tail = np.hstack([roots, shares, np.log(shares + 0.01), np.log(shares + 0.1), np.ones((60, 1))])
    # ratios sum to one, so the constant is a combination of the other columns
    q, _ = np.linalg.qr(tail[:, :-1], mode="complete")
    null = q[:, np.linalg.matrix_rank(tail) :]
    weights = null @ np.linalg.solve(null.T @ distances @ null, null.T @ outputs)
    coefficients = np.linalg.lstsq(tail, outputs - distances @ weights, rcond=None)[0]
    points = np.random.default_rng(9).dirichlet(np.ones(d), 40)
    there, p = np.sqrt(points), points
    far = np.linalg.norm(there[:, None] - roots[None], axis=2) ** 3
    terms = np.hstack([there, p, np.log(p + 0.01), np.log(p + 0.1), np.ones((40, 1))])
    expected = far @ weights + terms @ coefficients
    assert np.allclose(Emulator.fit(ratios, outputs).predict(points), expected, atol=1e-5)


def test_exact_at_its_nodes():
    ratios, outputs = nodes_and_outputs(4)
    assert np.allclose(Emulator.fit(ratios, outputs).predict(ratios), outputs, atol=1e-6)


def test_sums_of_tail_terms_are_reproduced_everywhere():
    """Also at the corners and in many dimensions."""
    d = 12
    ratios, _ = nodes_and_outputs(d, 120)

    def model(rows):
        return (3 * np.sqrt(rows[:, :1]) - np.log(rows[:, 1:2] + 0.01) + 2 * rows[:, 2:3]
                + np.log(rows[:, 3:4] + 0.1))  # fmt: skip

    emulator = Emulator.fit(ratios, model(ratios))
    points = np.vstack([np.eye(d), np.full((1, d), 1 / d)])
    assert np.allclose(emulator.predict(points), model(points), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12))
def test_few_nodes_are_interpolated_too(n):
    ratios = np.random.default_rng(n).dirichlet(np.ones(6), n)
    outputs = ratios[:, :1]
    assert np.allclose(Emulator.fit(ratios, outputs).predict(ratios), outputs, atol=1e-6)


def test_written_coefficients_are_those_that_python_computes_with():
    emulator = Emulator.fit(*nodes_and_outputs(3))
    plain = emulator.to_dict()
    again = Emulator(*(np.array(plain[name]) for name in ("nodes", "weights", "slopes", "offsets")))
    point = np.array([[0.2, 0.3, 0.5]])
    assert np.array_equal(again.predict(point), emulator.predict(point))
    assert all(len(f"{v:e}".split("e")[0].rstrip("0")) <= 11 for v in emulator.offsets)
