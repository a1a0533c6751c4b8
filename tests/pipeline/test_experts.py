import math

import pytest
import toy

from mixopt.config.training import PretrainedBaseConfig
from mixopt.errors import DivergedError
from mixopt.pipeline.experts import _warn_of_vocabulary, train_experts
from mixopt.training import trainer
from mixopt.training.outcome import TrainingOutcome
from mixopt.training.step_law import OptimizerHyperparameters
from mixopt.training.training_run import TrainingResult


def test_trained_experts_are_read_without_a_worker(toy_folder, monkeypatch):
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    experts = train_experts(toy.load(toy_folder).prepare())
    assert list(experts.results) == list(experts.compositions) == list(toy.WORDS)
    assert experts.failures == {}


def failing(monkeypatch, *names):
    real = trainer.train

    def train(*arguments, name, **options):
        if name in names:
            raise DivergedError("the loss was not finite at step 3.")
        return real(*arguments, name=name, **options)

    monkeypatch.setattr(trainer, "train", train)


def test_an_expert_that_diverges_is_set_aside(toy_folder, monkeypatch):
    training = toy.study_plain()["training"] | {"learning_rate": 9e-3}
    toy.write_study(toy_folder, training=training)
    failing(monkeypatch, "ships")
    experts = train_experts(toy.load(toy_folder).prepare())
    assert list(experts.results) == list(experts.compositions) == ["birds", "sums"]
    assert experts.failures == {"ships": "the loss was not finite at step 3."}
    failing(monkeypatch, "ships", "sums")
    toy.write_study(toy_folder, training=training | {"learning_rate": 8e-3})
    with pytest.raises(DivergedError, match="1 of 3 experts were trained without diverging"):
        train_experts(toy.load(toy_folder).prepare())


def test_a_base_that_begins_worse_than_chance_is_warned_of(toy_folder):
    """Its tokenizer's ids may be permuted: the model then sees other tokens than it was trained on."""
    context = toy.load(toy_folder).prepare()
    chance = math.log(len(context.corpora.tokenizer))
    base = PretrainedBaseConfig(kind="pretrained", path="base")
    context.config = context.config.model_copy(update={"base": base})

    def warn(loss):
        outcome = TrainingOutcome("birds", 0, 1, ((1, loss),), 0.0)
        step = OptimizerHyperparameters(0.0, 0, "given")
        _warn_of_vocabulary(context, TrainingResult(toy_folder, outcome, step, {}))
        return [w for w in context.callbacks.warnings if "worse than chance" in w]

    assert warn(chance - 0.5) == []
    assert len(warn(chance + 0.5)) == 1
