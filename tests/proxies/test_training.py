import random

import numpy as np
import pytest
import torch
import toy
from proxies.models_for_tests import model, tokenizer
from safetensors.torch import load_file

from mixopt import Mixture
from mixopt.errors import DivergedError
from mixopt.proxies import training
from mixopt.proxies.corpus import MixtureDataset, open_corpus
from mixopt.proxies.models import Device, Step
from mixopt.proxies.training import Plan, save_expert, train
from mixopt.recipe import ExpertTraining, FilesText, Optimisation

CPU = Device("cpu", torch.float32)
CONTEXT = 32


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("corpora"), random.Random(0)
    made = {}
    for name in ("birds", "sums"):
        path = toy.write_jsonl(
            folder / f"{name}.jsonl", [{"text": toy.text(name, rng)} for _ in range(60)]
        )
        made[name] = open_corpus(FilesText(paths=[str(path)]), tokenizer(), name=name, cache=folder)
    return made


def run(corpora, tmp_path, recipe, *, seed=0, rate=1e-2, network=None):
    step = Step(rate, 256, "test")
    plan = Plan.of(recipe, step, CONTEXT, 1)
    dataset = MixtureDataset(
        corpora,
        Mixture({"birds": 1.0, "sums": 0.0}),
        sequences=plan.sequences,
        context=CONTEXT,
        seed=seed,
    )
    network = network or model()
    outcome = train(
        network, dataset, recipe, step, plan, name="birds", scratch=tmp_path, device=CPU, seed=seed
    )
    return network, outcome


def test_plan_comes_close_to_the_tokens_asked_for():
    plan = Plan.of(Optimisation(tokens=100_000), Step(1, 2048, ""), 256, 1)
    assert (plan.sequences_per_step, plan.steps, plan.sequences) == (8, 49, 392)
    split = Plan.of(Optimisation(tokens=100_000, device_batch=2), Step(1, 2048, ""), 256, 2)
    assert (split.device_batch, split.accumulation, split.sequences_per_step) == (2, 2, 8)


def test_training_learns_and_counts(corpora, tmp_path):
    _, outcome = run(corpora, tmp_path, Optimisation(tokens=8000))
    assert outcome.losses[-1][1] < 0.7 * outcome.losses[0][1]
    assert outcome.tokens == 31 * 256
    parameters = sum(p.numel() for p in model().parameters())
    assert outcome.flops == 6 * parameters * outcome.tokens


def test_same_seed_same_weights_to_the_last_digit(corpora, tmp_path):
    recipe = ExpertTraining(tokens=4000, average_checkpoints=2)
    first, _ = run(corpora, tmp_path / "a", recipe)
    second, _ = run(corpora, tmp_path / "b", recipe)
    other, _ = run(corpora, tmp_path / "c", recipe, seed=1)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_rate_is_constant_after_the_warm_up(corpora, tmp_path, monkeypatch):
    rates = []

    class Spy(training._Watcher):
        def on_step_end(self, args, state, control, **kwargs):
            rates.append(kwargs["optimizer"].param_groups[0]["lr"])
            super().on_step_end(args, state, control, **kwargs)

    monkeypatch.setattr(training, "_Watcher", Spy)
    run(corpora, tmp_path, Optimisation(tokens=8000, warmup_share=0.2))
    assert rates[0] < 1e-2
    assert np.allclose(rates[7:], 1e-2)


def test_average_is_the_mean_of_the_last_checkpoints(corpora, tmp_path, monkeypatch):
    seen = []
    load = training._load_mean

    def spy(network, folders):
        seen.extend((folder.name, load_file(folder / "model.safetensors")) for folder in folders)
        load(network, folders)

    monkeypatch.setattr(training, "_load_mean", spy)
    recipe = ExpertTraining(tokens=8000, average_checkpoints=3, average_share=0.3)
    network, outcome = run(corpora, tmp_path, recipe)
    assert [name for name, _ in seen][-1] == f"checkpoint-{outcome.steps}"  # the newest is in
    assert len(seen) == 3
    state = network.state_dict()
    for key in seen[0][1]:
        mean = np.mean([tensors[key].double().numpy() for _, tensors in seen], axis=0)
        assert np.abs(state[key].numpy() - mean).max() < 1e-6
    assert list(tmp_path.glob("checkpoint-*")) == []


def test_one_checkpoint_is_the_last_alone():
    assert training._averaged_steps(ExpertTraining(tokens=1, average_checkpoints=1), 10) == []
    assert training._averaged_steps(Optimisation(tokens=1), 10) == []
    steps = training._averaged_steps(
        ExpertTraining(tokens=1, average_checkpoints=4, average_share=0.4), 100
    )
    assert steps == [70, 80, 90, 100]


def test_loss_that_is_not_finite_names_run_and_step(corpora, tmp_path):
    network = model()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"loss of 'birds' stopped being finite at step 1;"):
        run(corpora, tmp_path, Optimisation(tokens=2000), network=network)


def test_expert_is_saved_in_float32_whatever_it_was_trained_in(tmp_path):
    network = model().to(torch.bfloat16)
    save_expert(network, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert set(tensors) == {name for name, _ in network.named_parameters()}


def test_accumulated_batches_train_the_same_model(corpora, tmp_path):
    whole, _ = run(corpora, tmp_path / "a", Optimisation(tokens=4000))
    split, _ = run(corpora, tmp_path / "b", Optimisation(tokens=4000, device_batch=2))
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)
