import pytest

from mixopt.surrogates.linear import LeastSquares, Ridge
from mixopt.surrogates.registry import SURROGATES, make_model


def test_arguments_choose_the_features():
    assert type(make_model("ridge_root")) is Ridge
    assert make_model("ridge_root")._features == "sqrt"
    assert type(make_model("linear_log")) is LeastSquares
    assert make_model("linear_log")._features == "log"


def test_only_models_that_draw_take_the_seed():
    assert [name for name, spec in SURROGATES.items() if spec.seeded] == ["trees"]
    assert make_model("trees", 5)._seed == 5


@pytest.mark.parametrize(
    ("name", "d", "least"),
    [("linear", 3, 6), ("linear", 10, 12), ("regmix", 3, 41), ("ridge", 9, 6)],
)
def test_least_number_of_trials(name, d, least):
    assert SURROGATES[name].min_trials(d) == least
