import numpy as np
import pytest
import torch
from merging_for_tests import Fixed, choices, save_experts, texts
from models_for_tests import family

from mixopt import Metric
from mixopt.evaluation import scorer as scorer_module
from mixopt.evaluation.gradients import measure_slopes
from mixopt.evaluation.scorer import Scorer, batch_requests, token_logprobs
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger


class RightChoices(Fixed):
    """A task whose loss is that of the first of four choices alone."""

    metric = Metric("choices", "higher")

    @property
    def loss_weights(self):
        weights = np.zeros(len(self.requests))
        weights[::4] = -1.0
        return weights


@pytest.fixture
def scorer():
    return Scorer([Fixed(texts()), RightChoices(choices())])


def losses(merger, scorer, weights):
    return scorer.losses(scorer.logprobs(merger.merge(weights)))


def check(merger, scorer, weights):
    """Slopes against central differences."""
    measured = measure_slopes(merger, scorer, weights)
    assert measured.losses == pytest.approx(losses(merger, scorer, weights), rel=1e-5)
    for index, step in enumerate(2e-3 * np.eye(len(weights))):
        sides = [losses(merger, scorer, np.array(weights) + sign * step) for sign in (1, -1)]
        assert measured.by_weight[:, index] == pytest.approx(
            (sides[0] - sides[1]) / 4e-3, rel=2e-2, abs=5e-2
        )
    return measured


# a mixture of experts jumps where a token is routed otherwise: its experts stay near the base
@pytest.mark.parametrize(("name", "size"), [("llama", 5e-3), ("gpt2", 5e-3), ("mixtral", 2e-4)])
def test_slopes_are_the_derivatives(name, size, tmp_path, scorer):
    network = family(name)
    merger = ModelMerger(network, save_experts(tmp_path, network, size=size))
    measured = check(merger, scorer, [0.2, 0.3, 0.5])
    assert np.abs(measured.by_weight).max() > 200 * size
    # three passes over what the losses stand on: the texts and one choice in four
    assert 0.5 < measured.passes < 3.5
    assert all(parameter.grad is None for parameter in network.parameters())


def test_slopes_of_lora_experts(tmp_path, scorer):
    from peft import LoraConfig, get_peft_model

    folders = []
    for seed in range(2):
        torch.manual_seed(seed)
        wrapped = get_peft_model(
            family("llama"), LoraConfig(r=4, target_modules=["q_proj", "up_proj"])
        )
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.05)
        wrapped.save_pretrained(str(tmp_path / str(seed)))
        folders.append(tmp_path / str(seed))
    network = family("llama")
    merger = ModelMerger(network, [open_expert(folder) for folder in folders])
    check(merger, scorer, [0.4, 0.6])
    moved = {n for n, p in network.named_parameters() if p.requires_grad}
    assert all(n.split(".")[-2] in ("q_proj", "up_proj") for n in moved)


def test_gradients_of_many_batches_are_summed_in_float32(tmp_path, monkeypatch):
    """Sums in bfloat16, the type of the model, would keep three digits."""
    monkeypatch.setitem(scorer_module.BATCH_TOKENS, "cpu", 100)
    network = family("llama").to(torch.bfloat16)
    merger = ModelMerger(network, save_experts(tmp_path, network))
    task = Fixed(texts(count=60))
    measured = measure_slopes(merger, Scorer([task]), [0.2, 0.3, 0.5])
    expected, batches = np.zeros(3), batch_requests(task.requests, network, shared=False, share=0.5)
    for batch in batches:
        (-token_logprobs(network, batch).sum()).backward()
        for name, parameter in network.named_parameters():
            expected += merger.project(name, parameter.grad)
            parameter.grad = None
    assert len(batches) > 20
    assert measured.by_weight[0] == pytest.approx(expected, rel=1e-4, abs=1e-4 * max(abs(expected)))


def test_merging_goes_on_after_slopes(tmp_path, scorer):
    network = family("llama")
    merger = ModelMerger(network, save_experts(tmp_path, network))
    before = scorer.logprobs(merger.merge([0.5, 0.5, 0.0]))
    measure_slopes(merger, scorer, [0.1, 0.1, 0.8])
    assert np.array_equal(scorer.logprobs(merger.merge([0.5, 0.5, 0.0])), before)
