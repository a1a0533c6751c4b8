import numpy as np
import pytest
from categorical_world import DOMAINS, METRICS, NATURAL, RUN_TOKENS, World, make_problem

from mixopt.baselines.projektor import (
    Projektor,
    PseudoQuadratic,
    _to_simplex,
    descend_on_simplex,
    project,
    terms,
)
from mixopt.baselines.transport import Transport, TransportError
from mixopt.errors import RunError, UserError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_space import SearchSpace


def test_the_projection_is_exact_for_losses_linear_in_the_logarithm():
    def loss(tokens):
        return 4 - 0.3 * np.log(tokens)

    short, long = project((1000, 1500), 10_000)
    assert short * loss(1000) + long * loss(1500) == pytest.approx(loss(10_000))
    assert project((1000, 1500), 1500) == (0, 1)
    with pytest.raises(UserError, match="two lengths and has 1,000 and 1,000 tokens"):
        project((1000, 1000), 10_000)


def test_gradients_of_the_law_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    law = PseudoQuadratic(rng.normal(size=(14, 2)))
    samples = Transport(World().samples())
    p, step = np.array([0.1, 0.2, 0.4, 0.3]), 1e-5
    _, gradients = law.losses(p, *samples.distance(p))
    for i, j in ((0, 1), (2, 3), (1, 3)):
        along = np.zeros(4)
        along[i], along[j] = step, -step
        high, low = (law.losses(q, *samples.distance(q))[0] for q in (p + along, p - along))
        rise = gradients[:, i] - gradients[:, j]
        assert rise == pytest.approx((high - low) / (2 * step), rel=1e-3, abs=1e-4)


def test_on_mixtures_that_were_not_run_the_law_beats_a_quadratic_in_ratios_alone():
    """The loss depends on the distance, which a quadratic can only follow roughly."""
    rng, world = np.random.default_rng(1), World()
    ratios = rng.dirichlet(np.ones(4), 60)
    distances = Transport(world.samples()).distances(ratios)
    losses = (2 + (1 + ratios[:, 0]) * distances)[:, None]
    law = PseudoQuadratic.fit(ratios[:20], distances[:20], losses[:20])
    error = np.abs(law.predict(ratios[20:], distances[20:]) - losses[20:]).mean()
    plain = np.hstack([ratios, ratios**2, np.ones((60, 1))])
    solved, *_ = np.linalg.lstsq(plain[:20], losses[:20])
    assert error < 0.5 * np.abs(plain[20:] @ solved - losses[20:]).mean()
    assert terms(ratios, distances).shape == (60, 14)


def test_a_metric_with_few_scores_is_told():
    ratios, distances = np.random.default_rng(0).dirichlet(np.ones(4), 9), np.arange(9.0)
    losses = np.full((9, 1), np.nan)
    losses[:3] = 1
    with pytest.raises(RunError, match="3 runs with a score and needs 4"):
        PseudoQuadratic.fit(ratios, distances, losses)


def test_descent_ends_where_the_function_is_least():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS))
    best = np.array([0.6, 0.4, 0.0, 0.0])
    outside = np.array([0.7, 0.5, -0.1, -0.1])

    def measure(p):
        return float(((p - outside) ** 2).sum()), 2 * (p - outside)

    found = descend_on_simplex(measure, space, np.full(4, 0.25), 200)
    assert found == pytest.approx(best, abs=1e-3)
    assert _to_simplex(outside) == pytest.approx(best)


def test_descent_goes_round_where_the_distance_is_not_known():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS))
    aim = np.array([0.5, 0.4, 0.1, 0.0])

    def measure(p):
        if p[3] < 0.05:
            raise TransportError("did not converge")
        return float(((p - aim) ** 2).sum()), 2 * (p - aim)

    found = descend_on_simplex(measure, space, np.full(4, 0.25), 200)
    assert measure(found)[0] < 0.25 * measure(np.full(4, 0.25))[0]
    with pytest.raises(TransportError):
        descend_on_simplex(measure, space, aim, 200)


def test_expected_losses_are_at_the_length_of_the_target():
    world = World()
    short = Projektor().recommend(make_problem(world, target_tokens=RUN_TOKENS))
    long = Projektor().recommend(make_problem(World(), target_tokens=16 * RUN_TOKENS))
    # every doubling lowers a loss by .02 and more
    assert long.predicted["code_loss"] < short.predicted["code_loss"] - 0.05
    assert set(long.predicted) == {metric.name for metric in METRICS}


def test_both_lengths_are_shrunk_alike():
    """The projected losses are linear in the ratios, and what hides it at each length cancels out.

    A penalty of its own for each length would leave a part of it, times the weights of the projection.
    """
    world, target = World(), 4 * RUN_TOKENS
    short, long = project((RUN_TOKENS // 2, RUN_TOKENS), target)

    def projected(ratios):
        return 2 + ratios @ np.array([[0.4], [0.2], [-0.3], [0.1]]) * np.ones((1, len(METRICS)))

    def train_lengths(ratios):
        rng = np.random.default_rng(len(ratios))
        first = projected(ratios) + 0.3 * rng.standard_normal((len(ratios), len(METRICS)))
        scores = np.stack([first, (projected(ratios) - short * first) / long])
        # the last metric is a share of right answers
        scores[:, :, 2] = 1 - scores[:, :, 2]
        return (RUN_TOKENS // 2, RUN_TOKENS), scores

    world.train_lengths = train_lengths
    problem = make_problem(world, budget=24 * RUN_TOKENS, target_tokens=target)
    found = Projektor(steps=5).recommend(problem)
    expected = projected(found.ratios.vector(DOMAINS)[None])[0]
    assert list(found.predicted.values()) == pytest.approx(
        [*expected[:2], 1 - expected[2]], abs=1e-2
    )
    assert found.ratios["code"] == pytest.approx(1, abs=1e-6)  # a plane's least is a corner


def test_text_is_needed():
    with pytest.raises(UserError, match="compares samples of text and there is none"):
        Projektor().recommend(make_problem(World(), open_samples=None))


def test_natural_is_trained_first_where_a_limit_forbids_it():
    world, space = World(), SearchSpace(DOMAINS, prior=NATURAL, upper={"web:a": 0.4})
    problem = make_problem(world, space=space)
    found = Projektor(steps=5).recommend(problem)
    assert world.trained[0] == pytest.approx(problem.natural)
    assert all(space.contains(np.array(world.trained[1:]), tolerance=1e-6))
    assert space.contains(found.ratios.vector(DOMAINS), tolerance=1e-6)[0]
