import pytest
import toy

from mixopt.errors import DivergedError
from mixopt.pipeline.experts import train_experts
from mixopt.training import training_run


def test_trained_experts_are_read_without_a_worker(toy_folder, monkeypatch):
    monkeypatch.setattr(training_run, "train", lambda *_, **__: pytest.fail("trained again"))
    experts = train_experts(toy.load(toy_folder).prepare())
    assert list(experts.results) == list(experts.compositions) == list(toy.WORDS)
    assert experts.failures == {}


def failing(monkeypatch, *names):
    real = training_run.train

    def train(*arguments, name, **options):
        if name in names:
            raise DivergedError("the loss was not finite at step 3.")
        return real(*arguments, name=name, **options)

    monkeypatch.setattr(training_run, "train", train)


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
