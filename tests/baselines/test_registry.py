import pytest
from categorical_world import World, make_problem

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
