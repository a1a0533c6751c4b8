import pytest
from categorical_world import EXPERT_TOKENS, RUN_TOKENS, World, make_problem

from mixopt.baselines.registry import METHODS, open_method, recommend
from mixopt.errors import ConfigError


def test_every_method_names_its_source_and_what_it_needs():
    for name in METHODS:
        method = open_method(name)
        assert method.source
        assert method.need in ("experts", "runs", "online")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="no method 'olmx'.*olmix"):
        recommend("olmx", make_problem(World()))


@pytest.mark.parametrize(("name", "budget", "runs"), [
    ("olmix", 2 * RUN_TOKENS, 5),
    ("doremi", RUN_TOKENS, 2),
    ("scalebio", 3 * RUN_TOKENS, 4),  # its two runs, and the benchmarks' text
    ("mde-law", 4 * EXPERT_TOKENS + RUN_TOKENS, 6),  # beside the experts
])  # fmt: skip
def test_a_budget_below_the_least_names_the_field_and_its_value(name, budget, runs):
    with pytest.raises(ConfigError, match=rf"in a study search.method_runs: {runs}\)"):
        recommend(name, make_problem(World(), budget=budget))


def test_the_least_of_scalebio_names_the_text_of_benchmarks():
    with pytest.raises(
        ConfigError, match=r"needs 3,850 .*, 1,850 of them the benchmarks' text, and"
    ):
        recommend("scalebio", make_problem(World(), budget=2 * RUN_TOKENS))
