import numpy as np
import pytest
import toy

from mixopt.evaluation.scored_items import AllItems
from mixopt.pipeline.evaluators import open_evaluator

CORNER, INSIDE = (0.0, 1.0, 0.0), (0.2, 0.3, 0.5)


@pytest.fixture(scope="module")
def evaluator(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("items"))
    context = toy.load(folder, trained_toy / "toy.yaml").prepare()
    return open_evaluator(context, tuple(toy.WORDS))


def test_a_single_expert_needs_no_forward_pass(evaluator):
    items = evaluator.items
    assert isinstance(items, AllItems)
    assert not items.needs_forward_pass(CORNER)
    assert items.needs_forward_pass(INSIDE)
    assert items.needs_forward_pass((0.0, 0.0, 0.0))  # the base


def test_scores_of_a_single_expert_are_read_from_its_own_log_probabilities(evaluator):
    names = [metric.name for metric in evaluator.scorer.metrics]
    scores = evaluator.items.read(CORNER, names, evaluator.scorer, np.empty(0, np.float32))
    expected = evaluator.scorer.read(evaluator.expert_logprobs[1])
    for name, result in scores.results["merged"].items():
        assert (result.values == expected[name].values).all()
    some = evaluator.items.read(CORNER, names[:1], evaluator.scorer, np.empty(0, np.float32))
    assert list(some.results["merged"]) == names[:1]


def test_a_job_names_what_it_builds(evaluator):
    job = evaluator.items.job([INSIDE], evaluator.names, "a candidate")
    assert job.arguments == (evaluator.names, [INSIDE])
    assert [artifact.reference for artifact in job.artifacts] == [
        evaluator.items.cache.artifact(INSIDE).reference
    ]
    assert evaluator.items.flops_per_score == evaluator.flops_per_score
