from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models_for_tests import family
from models_for_tests import make_corpus as make
from transformers import Trainer, TrainingArguments

from mixopt.baselines.doremi import DoReMiWeights
from mixopt.baselines.odm import Exp3Weights
from mixopt.config.training import TrainingConfig
from mixopt.errors import DivergedError
from mixopt.training import online_training
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.online_training import (
    OnlineSettings,
    by_domain,
    run_steps,
    token_losses,
    train_with_weights,
)
from mixopt.training.step_law import resolve_hyperparameters
from mixopt.training.trainer import _schedule

NAMES = ("birds", "ships", "sums")
DEVICE = Device("cpu", torch.float32)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online")
    return {name: make(folder, name)[0] for name in NAMES}


def settings(folder, steps=6, rate=3e-3, interval_s=1e9, seed=0, **more):
    config = TrainingConfig(
        tokens=steps * 6 * 32,
        learning_rate=rate,
        batch_tokens=6 * 32,
        device_batch=4,
        max_epochs=99,
        **more,
    )
    step = resolve_hyperparameters(config, 1000)
    plan = BatchPlan.of(config, step, 32, 1, vocabulary=300)
    manager = CheckpointManager(folder / "work", interval_s)
    return OnlineSettings("toy", config, step, plan, DEVICE, manager, seed)


def sequences(corpora):
    return DomainSequences(corpora, context=32, seed=0, max_epochs=99.0)


def test_losses_are_those_of_the_model(corpora):
    model = family("llama")
    tokens, _ = sequences(corpora).draw(np.full(3, 1 / 3), 3)
    with torch.no_grad():
        own = token_losses(model, tokens)
        half = token_losses(model, tokens, in_bfloat16=True)
        expected = model(input_ids=tokens, labels=tokens).loss
    assert own.shape == (3, 31)
    assert float(own.mean()) == pytest.approx(float(expected), abs=1e-5)
    assert half.dtype == torch.float32
    assert not torch.equal(half, own)
    assert float(half.mean()) == pytest.approx(float(expected), rel=2**-7)


def test_the_precision_of_the_training_is_that_of_its_losses(corpora, tmp_path, monkeypatch):
    asked, original = [], online_training.token_losses

    def spy(*args, **settings):
        asked.append(settings)
        return original(*args, **settings)

    monkeypatch.setattr(online_training, "token_losses", spy)
    for precision, place in (("auto", "a"), ("bfloat16", "b")):
        weights = Exp3Weights(np.full(3, 1 / 3), 100)
        of = settings(tmp_path / place, steps=1, mixed_precision=precision)
        train_with_weights(family("llama"), sequences(corpora), weights, of)
    halves = [each["in_bfloat16"] for each in asked]
    assert halves[0] is False
    assert halves[-1] is True


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "1-sqrt"])
def test_rates_and_decay_are_those_of_runs(tmp_path, schedule):
    more = {"schedule": schedule, "warmup_share": 0.2}
    more |= {} if schedule == "constant" else {"decay_share": 0.5}
    own = settings(tmp_path, steps=20, **more)
    model = family("qwen2")
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=20, learning_rate=own.step.learning_rate, report_to=[],
        use_cpu=True, warmup_steps=own.plan.warmup, weight_decay=own.config.weight_decay,
        **_schedule(own.config, 20, own.plan.warmup),
    )  # fmt: skip
    runs = Trainer(model=model, args=arguments)
    runs.create_optimizer_and_scheduler(20)
    rates = []
    for _ in range(20):
        rates.append(runs.optimizer.param_groups[0]["lr"])
        runs.optimizer.step()
        runs.lr_scheduler.step()
    shares = [own.rate_share(step) for step in range(20)]
    assert np.array(shares) * own.step.learning_rate == pytest.approx(np.array(rates), abs=1e-12)
    ours = own.make_optimizer(model).param_groups
    for group, theirs in zip(ours, runs.optimizer.param_groups, strict=True):
        assert group["weight_decay"] == theirs["weight_decay"]
        assert list(map(id, group["params"])) == list(map(id, theirs["params"]))
    assert ours[1]["params"]  # norms and biases
    assert [group["weight_decay"] for group in ours] == [0.1, 0.0]


def test_means_by_domain_know_what_was_not_read():
    found = by_domain(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3)
    assert found[[0, 2]].tolist() == [2.0, 5.0]
    assert np.isnan(found[1])


def test_the_weights_learn_from_the_excess_over_a_reference(corpora, tmp_path):
    """The reference is the model itself with one domain learnt: only there is an excess."""
    reference, model = family("llama"), family("llama")
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-2)
    batches = sequences(corpora)
    for _ in range(12):
        tokens, _ = batches.draw(np.array([0.0, 0.0, 1.0]), 6)
        token_losses(reference, tokens).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = DoReMiWeights(3, 1.0, 1e-4)
    path = train_with_weights(
        model,
        sequences(corpora),
        weights,
        settings(tmp_path, rate=1e-5),
        reference=reference.eval(),
    )
    assert path.shape == (6, 3)
    assert path[0].argmax() == 2  # the first batch is weighed with what was learnt from it
    assert path[-1].tolist() == weights.weights.tolist()


@pytest.mark.parametrize("device_batch", [4, 6])
def test_doremi_weighs_a_batch_with_the_weights_that_it_taught(corpora, tmp_path, device_batch):
    """One step is that of Adam on Σ α_i ℓ_i with the new α, and learns from the old model's losses."""
    own = settings(tmp_path, steps=1)
    own = replace(own, plan=replace(own.plan, device_batch=device_batch))
    model, other, reference = (family("llama") for _ in range(3))
    with torch.no_grad():
        next(iter(reference.parameters())).add_(0.1)
    tokens, domains = sequences(corpora).draw(np.full(3, 1 / 3), 6)
    losses = token_losses(other, tokens)
    excess = (losses.detach() - token_losses(reference, tokens).detach()).clamp(min=0).mean(dim=1)
    alpha = np.exp(20 * by_domain(excess.double().numpy(), domains, 3))
    alpha = 0.9 * alpha / alpha.sum() + 0.1 / 3
    shares = torch.tensor(alpha[domains] / alpha[domains].sum(), dtype=torch.float32)
    (losses.mean(dim=1) @ shares).backward()
    optimizer = own.make_optimizer(other)
    own.descend(other, optimizer, own.rate_share(0))
    weights = DoReMiWeights(3, 20.0, 0.1)
    path = train_with_weights(model, sequences(corpora), weights, own, reference=reference.eval())
    assert path[0] == pytest.approx(alpha, rel=1e-5)
    assert np.ptp(alpha) > 0.05
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    before = family("llama").parameters()
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_training_lowers_the_loss_and_follows_the_probabilities(corpora, tmp_path):
    model, batches = family("llama"), sequences(corpora)
    tokens, _ = sequences(corpora).draw(np.full(3, 1 / 3), 6)
    before = float(token_losses(model, tokens).detach().mean())
    weights = Exp3Weights(np.array([0.6, 0.3, 0.1]), 100)
    path = train_with_weights(model, batches, weights, settings(tmp_path, steps=10, rate=1e-2))
    assert float(token_losses(model, tokens).detach().mean()) < before
    assert path == pytest.approx(np.tile([0.6, 0.3, 0.1], (10, 1)))
    assert np.array(batches.state()["read"]) == pytest.approx([36, 18, 6], abs=1)


def with_dropout():
    model = family("gpt2")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    return model


def test_dropout_depends_on_the_seed_alone(corpora, tmp_path):
    def train(before, seed):
        model = with_dropout()
        torch.manual_seed(before)  # what the process did
        weights = DoReMiWeights(3, 1.0, 0.0)
        of = settings(tmp_path / f"{before}-{seed}", seed=seed)
        return train_with_weights(model, sequences(corpora), weights, of).tolist()

    assert train(1, 5) == train(2, 5) != train(3, 6)


def test_the_random_state_of_an_accelerator_is_kept(corpora, tmp_path, monkeypatch):
    states = iter(range(1, 10))
    restored = []
    card = SimpleNamespace(
        get_rng_state=lambda: torch.tensor([next(states)]),
        set_rng_state=lambda state: restored.append(state.item()),
    )
    monkeypatch.setattr(torch, "card", card, raising=False)
    device, of = Device("card", torch.float32), settings(tmp_path)
    of = replace(of, device=device, checkpoints=replace(of.checkpoints, interval_s=0))
    model = torch.nn.Linear(1, 1)

    def stop(number):
        if number == 3:
            raise KeyboardInterrupt
        return np.ones(1)

    with pytest.raises(KeyboardInterrupt):
        run_steps(stop, of, [model], [torch.optim.SGD(model.parameters())], [])
    run_steps(lambda _: np.ones(1), of, [model], [torch.optim.SGD(model.parameters())], [])
    assert restored == [3]  # of the last checkpoint


@pytest.mark.parametrize("make_model", [partial(family, "llama"), with_dropout])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(corpora, tmp_path, make_model):
    def start(folder, stop=None):
        model, weights = make_model(), Exp3Weights(np.full(3, 1 / 3), 0)
        batches = sequences(corpora)
        if stop is not None:
            draw = batches.draw

            def stopping(shares, n):
                if sum(batches.state()["read"]) >= stop * n:
                    raise KeyboardInterrupt
                return draw(shares, n)

            batches.draw = stopping
        path = train_with_weights(
            model, batches, weights, settings(folder, rate=1e-2, interval_s=0)
        )
        return path, [parameter.detach().clone() for parameter in model.parameters()]

    whole, trained = start(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "other", stop=4)
    path, again = start(tmp_path / "other")
    assert path.tolist() == whole.tolist()
    assert all(torch.equal(a, b) for a, b in zip(trained, again, strict=True))


def test_a_gradient_that_is_not_finite_ends_in_one_sentence(corpora, tmp_path):
    model = family("llama")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="gradient of 'toy' stopped being finite; lower"):
        train_with_weights(
            model, sequences(corpora), DoReMiWeights(3, 1.0, 0.0), settings(tmp_path)
        )
