from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt.errors import UserError
from mixopt.pipeline.gains import metrics_that_choose
from mixopt.pipeline.method_problem import StudyTrainer


def test_no_checkpoint_of_a_decaying_rate_is_a_run_of_its_length():
    training = SimpleNamespace(tokens=4000, decays=True, schedule="cosine")
    context = SimpleNamespace(config=SimpleNamespace(training=training))
    trainer = StudyTrainer(context, None, (), np.ones(0))
    with pytest.raises(
        UserError, match="schedule cosine, a decaying .* is not a finished run; set it"
    ):
        trainer.train_lengths(np.eye(2))


@pytest.mark.slow
def test_a_run_that_would_read_a_domain_too_often_is_refused(toy_folder):
    training = toy.study_plain()["training"] | {
        "tokens": 20_000,
        "expert_tokens": 4000,
        "max_epochs": 1,
    }
    study = toy.load(toy_folder, toy.write_study(toy_folder, training=training))
    study.prepare()
    search = study.open_search()
    metrics = metrics_that_choose(search)
    available = study.context.corpora.available_tokens
    name = min(available, key=lambda each: available[each])
    place = study.config.domains.index(name)
    assert available[name] < study.config.training.tokens
    trainer = StudyTrainer(study.context, search, metrics, np.ones(len(metrics)))
    scores = trainer.train(np.vstack([np.full(3, 1 / 3), np.eye(3)[place]]))
    assert np.isnan(scores).all(axis=1).tolist() == [False, True]
    assert trainer.refused == 1
    assert len(trainer.observations) == 1  # what was not begun is no run
    assert trainer.lost == []
