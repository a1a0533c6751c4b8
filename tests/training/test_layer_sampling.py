import numpy as np
import pytest
import torch
from models_for_tests import family
from models_for_tests import make_corpus as make

from mixopt.config.training import TrainingConfig
from mixopt.errors import UserError
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.bilevel_training import TrainedPair
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.layer_sampling import LayerSampler
from mixopt.training.online_training import OnlineSettings, run_steps, token_losses
from mixopt.training.step_law import resolve_hyperparameters

STEPS = 6


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    return {name: make(folder, name)[0] for name in ("birds", "sums")}


class Pair:
    """Two models that train one of three layers, drawn every two steps."""

    def __init__(self, folder, corpora, interval=1e9):
        config = TrainingConfig(
            tokens=STEPS * 4 * 32, learning_rate=1e-2, batch_tokens=4 * 32, max_epochs=99
        )
        step = resolve_hyperparameters(config, 1000)
        plan = BatchPlan.of(config, step, 32, 1, vocabulary=300)
        device = Device("cpu", torch.float32)
        manager = CheckpointManager(folder, interval)
        self.settings = OnlineSettings("pair", config, step, plan, device, manager)
        self.sequences = DomainSequences(corpora, context=32, seed=0, max_epochs=99.0)
        self.models = family("llama"), family("llama")
        self.layers = LayerSampler(self.models, 1, seed=3, period=2)

        def validation(model):
            # of `sums` alone, the same at each step
            tokens = torch.from_numpy(corpora["sums"].read(0, 64).reshape(2, 32))
            loss = token_losses(model, tokens).mean()
            loss.backward()
            return loss.detach()

        self.pair = TrainedPair(
            *self.models, self.sequences, validation, self.settings, 2, self.layers
        )

    def run(self, stop=None):
        def step(number):
            if number == stop:
                raise KeyboardInterrupt
            self.pair.step(np.full(2, 0.5), 10.0, 1.0)
            return np.full(2, 0.5)

        others = [self.sequences, self.layers]
        return run_steps(step, self.settings, self.models, self.pair.optimizers, others)

    def blocks(self):
        return [
            [
                torch.cat([p.detach().flatten() for p in block.parameters()])
                for block in m.model.layers
            ]
            for m in self.models
        ]


def test_one_step_changes_the_drawn_layers_of_both_models_alone(corpora, tmp_path):
    found = Pair(tmp_path, corpora)
    for _ in range(4):
        (drawn,) = found.layers.drawn
        before = found.blocks()
        heads = [m.get_output_embeddings().weight.detach().clone() for m in found.models]
        found.pair.step(np.full(2, 0.5), 10.0, 1.0)
        for old, new in zip(before, found.blocks(), strict=True):
            moved = [not torch.equal(a, b) for a, b in zip(old, new, strict=True)]
            assert moved == [index == drawn for index in range(3)]
        for model, head in zip(found.models, heads, strict=True):
            assert not torch.equal(model.get_output_embeddings().weight, head)
            assert all(parameter.requires_grad for parameter in model.parameters())


def test_moments_are_kept_of_what_is_trained_alone(corpora, tmp_path):
    found = Pair(tmp_path, corpora)
    for _ in range(STEPS):
        (drawn,) = found.layers.drawn
        found.pair.step(np.full(2, 0.5), 10.0, 1.0)
        for model, optimizer in zip(found.models, found.pair.optimizers, strict=True):
            with_moments = set(map(id, optimizer.state))
            for index, block in enumerate(model.model.layers):
                kept = {id(parameter) in with_moments for parameter in block.parameters()}
                assert kept == {index == drawn}


def test_every_layer_is_drawn_in_time():
    layers = LayerSampler([family("llama")], 2, seed=0, period=2)
    drawn = set()
    for step in range(20):
        before = layers.drawn
        with layers.step([]):
            pass
        if step % 2 == 0:
            assert layers.drawn == before
        drawn |= set(before)
    assert drawn == {0, 1, 2}


def test_a_training_that_was_stopped_ends_where_another_would(corpora, tmp_path):
    whole = Pair(tmp_path / "a", corpora)
    whole.run()
    first = Pair(tmp_path / "b", corpora, interval=0)
    with pytest.raises(KeyboardInterrupt):
        first.run(stop=3)
    again = Pair(tmp_path / "b", corpora, interval=0)
    again.run()
    for expected, found in zip(whole.blocks(), again.blocks(), strict=True):
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a, b)


def test_wrong_numbers_of_layers_are_told():
    with pytest.raises(UserError, match="lisa_layers is 4 and the model has 3 layers"):
        LayerSampler([family("llama")], 4, seed=0)
    with pytest.raises(UserError, match="needs a model with a list of layers"):
        LayerSampler([torch.nn.Linear(2, 2)], 1, seed=0)
