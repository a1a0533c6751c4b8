from types import SimpleNamespace

import pytest

from mixopt import Mixture
from mixopt.pipeline.confirmation import confirmation_of, trainable_lengths

LENGTHS = (10, 40)


def config(seeds):
    return SimpleNamespace(budget=SimpleNamespace(confirmation=seeds), run_lengths=LENGTHS)


@pytest.mark.parametrize(
    ("left", "found"), [(119, (0, 0)), (120, (60, 10)), (479, (60, 10)), (480, (240, 40))]
)
def test_it_takes_at_most_half_of_what_is_left_beside_the_experts(left, found):
    assert confirmation_of(config(3), LENGTHS, left) == found


def test_runs_of_a_smaller_budget_leave_a_shorter_one_or_none():
    assert confirmation_of(config(3), LENGTHS, 480, 240) == (240, 40)
    assert confirmation_of(config(3), LENGTHS, 480, 239) == (60, 10)
    assert confirmation_of(config(3), LENGTHS, 480, 59) == (0, 0)


def test_no_seed_or_no_budget_is_none():
    assert confirmation_of(config(0), LENGTHS, 10**6) == (0, 0)
    assert confirmation_of(SimpleNamespace(budget=None), LENGTHS, 10**6) == (0, 0)


@pytest.mark.parametrize(("tokens", "found"), [(32, LENGTHS), (31, (10,)), (1, (10,))])
def test_lengths_end_where_the_text_of_natural_does(tokens, found):
    corpora = SimpleNamespace(natural=Mixture({"a": 0.8, "b": 0.2}), counts={
        "a": SimpleNamespace(tokens=tokens), "b": SimpleNamespace(tokens=100)})  # fmt: skip
    study = SimpleNamespace(run_lengths=LENGTHS, domains=("a", "b"),
                            training=SimpleNamespace(max_epochs=1.0))  # fmt: skip
    assert trainable_lengths(SimpleNamespace(config=study, corpora=corpora)) == found
