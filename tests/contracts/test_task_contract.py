"""What every kind of benchmark must do, and what their item results promise."""

import numpy as np
import pytest
import toy
from models_for_tests import tokenizer

from mixopt.config.benchmarks import BlankPerplexityConfig, ChoiceLossConfig, MultipleChoiceConfig
from mixopt.config.loader import load_study
from mixopt.evaluation.tasks.base import ItemResults, TaskContext, ratio_std_error
from mixopt.evaluation.tasks.registry import KINDS, build_task

BY_MODEL = {"generation", "harness"}
"""Kinds that need a whole model; their own tests say what they promise."""


@pytest.fixture(params=sorted(set(KINDS) - BY_MODEL))
def task(request, tmp_path):
    recipes = [*load_study(toy.write_study(tmp_path)).benchmarks, *write_others(tmp_path)]
    recipe = next(recipe for recipe in recipes if recipe.kind == request.param)
    return build_task(recipe, TaskContext(tokenizer(), 32))


def write_others(folder):
    """Kinds that the toy study has none of."""
    choice = {"prompt": "the", "choices": ["small owl", "ship"], "answer": 0}
    items = str(toy.write_jsonl(folder / "choice.jsonl", [choice] * 3))
    blank = {"statement": "the old ____ sings", "choices": ["owl", "ship"], "answer": 0}
    blanks = str(toy.write_jsonl(folder / "blank.jsonl", [blank] * 3))
    return [
        ChoiceLossConfig(name="c", kind="choice_loss", items=items),
        BlankPerplexityConfig(name="b", kind="blank_perplexity", items=blanks),
    ]


def lengths(task):
    return np.array([len(request.target) for request in task.requests], dtype=float)


def test_requests_fit_the_context_and_have_something_to_score(task):
    assert task.requests
    for request in task.requests:
        assert request.target
        assert request.context
        assert len(request.context) + len(request.target) <= 32 + 1


def test_results_are_one_per_item_and_finite(task):
    rng = np.random.default_rng(0)
    results = task.read(-rng.uniform(0, 5, len(task.requests)))
    assert results.values.shape == results.sizes.shape
    assert len(results.values) >= 2
    assert np.isfinite(results.values).all()
    assert (results.sizes > 0).all()
    assert np.isfinite(results.std_error)


def test_starts_divide_the_requests_among_the_items(task):
    assert task.starts[0] == 0
    assert np.diff([*task.starts, len(task.requests)]).min() >= 1
    assert len(task.starts) == len(task.read(-lengths(task)).values)


def test_likelier_text_scores_better_where_lower_is_better(task):
    if task.metric.better == "higher":
        pytest.skip("accuracy depends on the order of choices, not on their level")
    near = task.read(-0.1 * lengths(task))
    far = task.read(-3.0 * lengths(task))
    assert near.score < far.score


def test_the_loss_falls_where_the_text_is_likelier(task):
    near, far = (task.loss_weights @ (-level * lengths(task)) for level in (0.1, 3.0))
    assert 0 < near < far
    assert task.loss_weights.shape == (len(task.requests),)
    if task.metric.better == "lower":
        assert near == pytest.approx(task.read(-0.1 * lengths(task)).score)


def test_layout_changes_with_what_decides_the_results(tmp_path):
    """Mended answers must not be served with the scores of the wrong ones."""
    layouts = []
    for answer in (0, 1):
        rows = [{"prompt": "a", "choices": ["x", "y"], "answer": answer}] * 2
        toy.write_jsonl(tmp_path / "m.jsonl", rows)
        recipe = MultipleChoiceConfig(
            name="m", kind="multiple_choice", items=str(tmp_path / "m.jsonl")
        )
        layouts.append(repr(build_task(recipe, TaskContext(tokenizer(), 32)).layout))
    assert layouts[0] != layouts[1]


def test_std_error_agrees_with_the_bootstrap():
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 500, 200).astype(float)
    values = sizes * 2 + rng.normal(size=200) * sizes * 0.3
    picks = rng.integers(0, 200, (4000, 200))
    bootstrap = (values[picks].sum(axis=1) / sizes[picks].sum(axis=1)).std()
    assert ratio_std_error(values, sizes) == pytest.approx(bootstrap, rel=0.07)


def test_paired_difference_is_surer_than_two_scores_apart():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=100)
    one = ItemResults(hard + 2, np.ones(100))
    other = ItemResults(hard + 1.9 + 0.01 * rng.normal(size=100), np.ones(100))
    difference, error = one.minus(other)
    assert difference == pytest.approx(0.1, abs=0.01)
    assert error < 0.05 * np.hypot(one.std_error, other.std_error)
