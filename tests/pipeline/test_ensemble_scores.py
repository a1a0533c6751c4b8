import numpy as np
import pytest
import toy

from mixopt.pipeline.ensemble_scores import ensemble_losses, ensemble_scores, scored_by_ensembles


@pytest.fixture(scope="module")
def study(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("ensemble_scores")
    toy.write_study(folder)
    return toy.load(toy.copy_trained(trained_toy, folder))


def test_ensembles_score_natural_as_the_evaluator_does(study):
    search = study.open_search()
    metrics = scored_by_ensembles(search)
    scores = ensemble_scores(search, metrics, np.eye(3))
    alone = search.score_experts()
    for row, name in zip(scores, ("birds", "ships", "sums"), strict=True):
        for metric, score in zip(metrics, row, strict=True):
            assert score == pytest.approx(alone[name][metric.name], abs=1e-4)


def test_losses_of_an_expert_are_those_that_the_scorer_reads(study):
    search = study.open_search()
    metrics = scored_by_ensembles(search)
    model, scorer = ensemble_losses(search, metrics), search.evaluator.scorer
    for place, logprobs in enumerate(search.evaluator.expert_logprobs):
        read = scorer.losses_by_name(logprobs)
        losses = model.losses(np.eye(3)[place])
        assert losses == pytest.approx([read[metric.name] for metric in metrics], rel=1e-4)
