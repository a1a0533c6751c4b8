from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models_for_tests import family
from models_for_tests import make_corpus as make

from mixopt.baselines.scalebio import SourceWeights, take_step
from mixopt.config.training import TrainingConfig
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.bilevel_training import TrainedPair, plan_even_batches
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.online_training import OnlineSettings, run_steps, token_losses
from mixopt.training.step_law import resolve_hyperparameters

DEVICE = Device("cpu", torch.float32)
STEPS = 60


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bilevel")
    return {name: make(folder, name)[0] for name in ("birds", "sums")}


def open_pair(folder, corpora, validation, rate=5e-3):
    config = TrainingConfig(
        tokens=STEPS * 4 * 32, learning_rate=rate, batch_tokens=4 * 32, max_epochs=99
    )
    step = resolve_hyperparameters(config, 1000)
    plan = BatchPlan.of(config, step, 32, 1, vocabulary=300)
    settings = OnlineSettings("pair", config, step, plan, DEVICE, CheckpointManager(folder, 1e9))
    sequences = DomainSequences(corpora, context=32, seed=0, max_epochs=99.0)
    models = family("llama"), family("llama")
    return TrainedPair(*models, sequences, validation, settings, 2), settings


@pytest.mark.parametrize(("d", "batch"), [(2, 8), (3, 6), (5, 5), (11, 11)])
def test_batches_with_as_many_sequences_of_each_domain_read_the_tokens_asked_for(d, batch):
    plan = BatchPlan(8, 4, 2, 3, (100,))
    even = plan_even_batches(plan, d, 100 * 8 * 32, 32)
    assert even.sequences_per_step == batch
    assert abs(even.sequences - 100 * 8) <= batch / 2
    assert even.accumulation == -(-batch // 4)


def test_the_losses_are_those_before_the_step_and_the_models_part(corpora, tmp_path):
    calls = []

    def pull(model):
        calls.append(model)
        return torch.zeros(())

    pair, _ = open_pair(tmp_path, corpora, pull)
    tokens, domains = DomainSequences(corpora, context=32, seed=0, max_epochs=99.0).draw(
        np.full(2, 0.5), 4
    )
    with torch.no_grad():
        each = token_losses(pair.models[0], tokens).mean(dim=1).numpy()
    of_w, of_u = pair.step(np.array([0.5, 0.5]), 10.0, 1.0)
    expected = [each[domains == i].mean() for i in range(2)]
    assert of_w == pytest.approx(expected, abs=1e-5)
    assert of_u == pytest.approx(expected, abs=1e-5)
    assert calls == [pair.models[0]]  # u sees no validation text
    weights = [list(model.parameters())[1] for model in pair.models]
    assert torch.equal(
        *weights
    )  # the penalty cancels in Adam where there is no validation gradient


def test_the_source_that_resembles_the_validation_text_gains_weight(corpora, tmp_path):
    """Validation text is other text of `sums`."""
    other = DomainSequences({"sums": corpora["sums"]}, context=32, seed=5, max_epochs=99.0)

    def validation(model):
        tokens, _ = other.draw(np.ones(1), 4)
        loss = token_losses(model, tokens).mean()
        loss.backward()
        return loss.detach()

    pair, settings = open_pair(tmp_path, corpora, validation)
    weights = SourceWeights.uniform(2, 5e-2, 1.0)

    def step(number):
        take_step(pair, weights, number, STEPS)
        return weights.weights

    no_state = SimpleNamespace(state=dict, restore=lambda state: None)
    path = run_steps(step, settings, pair.models, pair.optimizers, [weights, no_state])
    assert path.shape == (STEPS, 2)
    assert path[-1][1] > 0.7
