import math

import numpy as np
import pytest

from mixopt.baselines.odm import Exp3Weights


def test_the_probabilities_are_those_of_a_plain_loop():
    """The published recursion, domain by domain with floats."""
    rng, d = np.random.default_rng(0), 3
    weights = Exp3Weights(np.full(d, 1 / d), 0)
    rewards, probabilities, epsilon = [0.0] * d, [1 / d] * d, 1 / d
    for step in range(1, 30):
        losses = rng.uniform(1, 4, d)
        read = rng.dirichlet(np.ones(d))
        losses[step % d], read[step % d] = np.nan, 0.0
        for i in range(d):
            if losses[i] == losses[i]:
                rewards[i] += read[i] * losses[i] / 10 / probabilities[i]
        before, epsilon = epsilon, min(1 / d, math.sqrt(math.log(d) / (d * step)))
        total = sum(math.exp(r * before) for r in rewards)
        probabilities = [
            (1 - d * epsilon) * math.exp(r * before) / total + epsilon for r in rewards
        ]
        weights.update(losses, read)
        assert weights.weights == pytest.approx(probabilities)
        assert weights.weights.sum() == pytest.approx(1)


def test_the_warm_up_reads_the_start():
    start = np.array([0.7, 0.2, 0.1])
    weights = Exp3Weights(start, 5)
    for _ in range(5):
        weights.update(np.array([1.0, 2.0, 3.0]), weights.shares)
        assert weights.shares.tolist() == start.tolist()
    weights.update(np.array([1.0, 2.0, 3.0]), weights.shares)
    assert weights.shares.tolist() != start.tolist()


def test_the_domain_with_the_larger_loss_is_drawn_more():
    weights = Exp3Weights(np.full(2, 0.5), 0)
    for _ in range(400):
        weights.update(np.array([1.0, 3.0]), weights.shares)
    assert weights.weights[1] > weights.weights[0]


def test_a_state_is_restored():
    first, second = (Exp3Weights(np.full(3, 1 / 3), 1) for _ in range(2))
    for _ in range(8):
        first.update(np.array([1.0, 2.0, 3.0]), first.shares)
    second.restore(first.state())
    for each in (first, second):
        each.update(np.array([3.0, np.nan, 1.0]), np.array([0.6, 0.0, 0.4]))
    assert first.weights.tolist() == second.weights.tolist()


def test_the_expected_reward_does_not_depend_on_the_probability():
    """Batches of one domain, as in the authors' code, add up to what a mixed batch adds."""
    probabilities, losses = np.array([0.7, 0.2, 0.1]), np.array([1.0, 2.0, 3.0])
    mixed = Exp3Weights(probabilities, 100)
    mixed.update(losses, probabilities)
    expected = np.zeros(3)
    for index in range(3):
        single, own = Exp3Weights(probabilities, 100), np.full(3, np.nan)
        own[index] = losses[index]
        single.update(own, np.eye(3)[index])
        expected += probabilities[index] * np.array(single.state()["rewards"])
    assert mixed.state()["rewards"] == pytest.approx(expected)
    assert expected == pytest.approx(losses / 10)
