import numpy as np
import pytest

from mixopt.optimization.optimal_design import LENGTH, LINEAR, LOCAL, NOISE, OFFSET, choose_optimal
from mixopt.surrogates.kernels import matern52, square_distances


def kernel(pool):
    roots = np.sqrt(pool)
    centred = roots - roots.mean(axis=0)
    near = matern52(square_distances(roots, roots), LENGTH)
    return OFFSET + LINEAR * centred @ centred.T + LOCAL * near


def test_greedy_choice_is_that_of_the_posterior_variance():
    """Against the posterior written out: k(x,x) − k(x,S)(K + σ²I)⁻¹k(S,x) at every step."""
    pool = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 40)
    k = kernel(pool)
    chosen = []
    for _ in range(8):
        if chosen:
            gain = np.linalg.solve(
                k[np.ix_(chosen, chosen)] + NOISE * np.eye(len(chosen)), k[chosen]
            )
            variance = np.diag(k) - (k[:, chosen] * gain.T).sum(1)
        else:
            variance = np.diag(k).copy()
        variance[chosen] = -1
        chosen.append(int(variance.argmax()))
    assert choose_optimal(pool, 8).tolist() == chosen


def test_what_was_run_before_is_not_chosen_again():
    pool = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 40)
    first = choose_optimal(pool, 5)
    again = choose_optimal(pool, 5, seen=pool[first])
    assert not set(first.tolist()) & set(again.tolist())


def test_all_of_a_small_pool():
    pool = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    assert sorted(choose_optimal(pool, 9).tolist()) == [0, 1, 2, 3]


def test_a_design_tells_more_than_chance():
    """Mean posterior variance over the pool after 12 runs: below that of random choices."""
    pool = np.random.default_rng(0).dirichlet(np.full(6, 0.4), 200)
    k = kernel(pool)

    def left(rows):
        gain = np.linalg.solve(k[np.ix_(rows, rows)] + NOISE * np.eye(len(rows)), k[rows])
        return (np.diag(k) - (k[:, rows] * gain.T).sum(1)).mean()

    chance = [left(np.random.default_rng(s).permutation(200)[:12]) for s in range(20)]
    assert left(choose_optimal(pool, 12)) < np.quantile(chance, 0.1)
    assert left(choose_optimal(pool, 12)) == pytest.approx(left(choose_optimal(pool, 12)))
