"""What every method keeps: limits, seed, budget, a clean stop, and nothing trained twice."""

import numpy as np
import pytest
from categorical_world import (
    DOMAINS,
    ONLINE_STEPS,
    RUN_TOKENS,
    World,
    limited_space,
    make_problem,
    quick,
)

from mixopt.baselines.base import OnlineTraining
from mixopt.baselines.registry import METHODS, open_method, recommend
from mixopt.errors import ConfigError, MixoptError

NAMES = sorted(METHODS)


def least_budget(name, world):
    method = open_method(name)
    experts = world.tokens if method.need == "experts" else 0
    beside = world.count_validation_tokens(OnlineTraining(name, RUN_TOKENS))
    return method.least_tokens(len(DOMAINS), experts, RUN_TOKENS) + beside


def run(name, world, **options):
    return recommend(name, make_problem(world, **options), method=quick(open_method(name)))


@pytest.mark.parametrize("name", NAMES)
def test_the_mixture_meets_every_limit(name):
    space = limited_space()
    found = run(name, World(), space=space)
    assert space.contains(found.ratios.vector(DOMAINS))[0]
    assert tuple(found.ratios) == DOMAINS


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_mixture(name):
    first, again = (run(name, World(noise=0.01), seed=3) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extra", [0, 7 * RUN_TOKENS + 1])
def test_no_method_spends_more_than_its_budget(name, extra):
    world = World()
    experts = world.tokens if open_method(name).need == "experts" else 0
    budget = least_budget(name, world) + extra
    found = run(name, world, budget=budget)
    # what scalebio reads of the benchmarks is among them
    paid = experts + len(world.trained) * RUN_TOKENS + world.online_tokens
    assert found.tokens == paid
    assert paid <= budget


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_below_the_least_ends_in_one_sentence(name):
    world = World()
    least = least_budget(name, world)
    with pytest.raises(ConfigError, match=rf"'{name}' needs {least:,} tokens .* is {least - 1:,}"):
        run(name, world, budget=least - 1)
    assert not world.trained
    assert not world.scored
    assert not world.online_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_was_stopped_goes_on_without_training_twice(name):
    whole = World(noise=0.01)
    expected = run(name, whole)
    world = World(noise=0.01)
    world.stop_after = max(0, len(whole.trained) - 3)
    if len(whole.trained):
        with pytest.raises(KeyboardInterrupt):
            run(name, world)
    world.stop_after, world.stop_online_at = None, ONLINE_STEPS // 2
    if whole.online_tokens:
        with pytest.raises(KeyboardInterrupt):
            run(name, world)
    world.stop_online_at = None
    assert run(name, world) == expected
    assert len(world.trained) == len(whole.trained)
    assert world.online_tokens == whole.online_tokens


@pytest.mark.parametrize("name", [n for n in NAMES if open_method(n).need != "online"])
def test_a_run_that_fails_is_left_out(name):
    world = World()
    world.fail = {2, 3}
    found = run(name, world)
    assert np.isfinite(list(found.ratios.values())).all()


def test_nothing_usable_ends_in_one_sentence():
    world = World()
    world.fail = set(range(1, 99))
    with pytest.raises(MixoptError, match="None of the method's 20 runs has a score"):
        run("olmix", world, budget=20 * RUN_TOKENS)


@pytest.mark.parametrize("name", [n for n in NAMES if open_method(n).need != "online"])
def test_the_mixture_is_better_than_natural(name):
    world = World()
    found = run(name, world)
    problem = make_problem(world)
    rows = np.stack([found.ratios.vector(DOMAINS), problem.natural])
    mine, natural = problem.loss(world.measure(rows @ world.tokens_by_domain))
    assert mine < natural
