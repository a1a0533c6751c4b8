"""What runs on a GPU, on an accelerator whose values are computed on the CPU: the same results.

A tensor that was left on the CPU, or one that is read before it is brought back, is an error here. The
Trainer of transformers does not run on this device, as it knows the devices by name.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import toy
from accelerator import DEVICE, Accelerator
from merging_for_tests import Fixed, choices, save_experts, save_model, texts
from models_for_tests import family, make_corpus, tokenizer

from mixopt.baselines.doremi import DoReMiWeights
from mixopt.config.benchmarks import GenerationConfig
from mixopt.config.training import TrainingConfig
from mixopt.evaluation.gradients import measure_slopes
from mixopt.evaluation.layerwise import scorer as layerwise_scorer
from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
from mixopt.evaluation.scorer import Scorer, batch_requests, model_inputs, token_logprobs
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.generation import GenerationTask
from mixopt.evaluation.text_perplexity import measure_perplexity
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.bilevel_training import TrainedPair
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.online_training import OnlineSettings, token_losses, train_with_weights
from mixopt.training.step_law import resolve_hyperparameters

CPU, THERE = Device("cpu", torch.float32), Device(DEVICE, torch.float32)
BF16 = 2.0**-8
"""Relative rounding error of bfloat16."""
WEIGHTS = [0.2, 0.3, 0.5]
DOMAINS = ("birds", "sums")


@pytest.fixture
def there(monkeypatch):
    # autocast, off in these tests, knows devices by name
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with Accelerator():
        yield


def scorer():
    return Scorer([Fixed([*choices(), *texts()])])


def lora_experts(folder):
    from peft import LoraConfig, get_peft_model

    opened = []
    for seed in range(3):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"])
        wrapped = get_peft_model(family("llama"), config)
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.05)
        wrapped.save_pretrained(str(folder / str(seed)))
        opened.append(open_expert(folder / str(seed)))
    return opened


def experts_of(kind, folder):
    return lora_experts(folder) if kind == "lora" else save_experts(folder, family("llama"))


def test_the_device_refuses_what_a_gpu_refuses(there):
    a, b = torch.ones(2, 2, device=DEVICE), torch.ones(2, 2)
    assert (a @ b.to(DEVICE)).cpu().tolist() == [[2.0, 2.0]] * 2
    assert (a * torch.tensor(3.0)).sum().item() == 12.0
    for use in (lambda: a + b, lambda: a @ b, lambda: torch.cat([a, b]), lambda: b.add_(a)):
        with pytest.raises(AssertionError, match="on a tensor of lazy and one of the CPU"):
            use()
    with pytest.raises(RuntimeError, match="numpy"):
        a.numpy()


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("resident", [True, False])
def test_merges_are_the_same(kind, resident, there, tmp_path):
    experts = experts_of(kind, tmp_path)
    expected = ModelMerger(family("llama"), experts).merge(WEIGHTS).state_dict()
    merger = ModelMerger(family("llama").to(DEVICE), experts, resident=resident)
    found = merger.merge(WEIGHTS)
    assert found.device.type == DEVICE
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor.cpu(), expected[name]), name
    assert merger.step_sizes() == pytest.approx(
        ModelMerger(family("llama"), experts).step_sizes(), rel=1e-6
    )


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_scores_are_the_same(name, there):
    expected = scorer().logprobs(family(name))
    assert scorer().logprobs(family(name).to(DEVICE)) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_scores_layer_by_layer_are_the_same(name, there, tmp_path):
    network = family(name)
    base, experts = save_model(tmp_path / "base", network), save_experts(tmp_path, network)
    rows = [WEIGHTS, [1.0, 0.0, 0.0]]

    def stream(device):
        return LayerwiseScorer(Checkpoint(base), experts, device, memory_bytes=1 << 30)

    expected = stream(CPU).logprobs(scorer(), rows)
    assert np.abs(stream(THERE).logprobs(scorer(), rows) - expected).max() < 5e-5


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_slopes_are_the_same(kind, there, tmp_path):
    experts = experts_of(kind, tmp_path)
    expected = measure_slopes(ModelMerger(family("llama"), experts), scorer(), WEIGHTS)
    merger = ModelMerger(family("llama").to(DEVICE), experts)
    found = measure_slopes(merger, scorer(), WEIGHTS)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    assert found.by_weight == pytest.approx(expected.by_weight, rel=1e-3, abs=1e-3)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accelerator")
    return {name: make_corpus(folder, name)[0] for name in DOMAINS}


def settings(folder, device):
    config = TrainingConfig(tokens=4 * 4 * 32, learning_rate=3e-3, batch_tokens=4 * 32,
                            device_batch=2, max_epochs=99)  # fmt: skip
    step = resolve_hyperparameters(config, 1000)
    plan = BatchPlan.of(config, step, 32, 1, vocabulary=300)
    return OnlineSettings("toy", config, step, plan, device, CheckpointManager(folder, 1e9))


def sequences(corpora):
    return DomainSequences(corpora, context=32, seed=0, max_epochs=99.0)


def test_training_with_weights_is_the_same(there, corpora, tmp_path):
    def train(device):
        model, reference = family("llama").to(device.name), family("llama", 1).to(device.name)
        path = train_with_weights(
            model, sequences(corpora), DoReMiWeights(2, 1.0, 1e-4),
            settings(tmp_path / device.name, device), reference=reference.eval(),
        )  # fmt: skip
        return path, {name: p.detach().cpu() for name, p in model.named_parameters()}

    expected, tensors = train(CPU)
    found, others = train(THERE)
    assert found == pytest.approx(expected, rel=1e-4)
    for name, tensor in tensors.items():
        assert torch.allclose(others[name], tensor, atol=1e-4), name


def test_a_pair_of_models_is_trained_the_same(there, corpora, tmp_path):
    def step(device):
        own = settings(tmp_path / device.name, device)
        models = family("llama").to(device.name), family("llama").to(device.name)

        def validation(model):
            tokens = torch.arange(1, 33)[None].to(model.device)
            loss = token_losses(model, tokens).mean()
            loss.backward()
            return loss

        pair = TrainedPair(*models, sequences(corpora), validation, own, 2)
        return [pair.step(np.array([0.3, 0.7]), 10.0, 1.0) for _ in range(3)]

    assert np.array(step(THERE)) == pytest.approx(np.array(step(CPU)), rel=1e-4)


def test_activations_that_are_spilled_come_back_to_the_device(there, tmp_path, monkeypatch):
    base = save_model(tmp_path / "base", family("llama"))
    experts = save_experts(tmp_path, family("llama"))
    stream = LayerwiseScorer(Checkpoint(base), experts, THERE, memory_bytes=1 << 30)
    rows = [WEIGHTS, [1.0, 0.0, 0.0]]
    expected = stream.logprobs(scorer(), rows)
    whole = layerwise_scorer.SweepPlan.of

    def always(batches, candidates, *_):
        plan = whole(batches, candidates, 1 << 40, 1, 0, 0)
        return layerwise_scorer.SweepPlan(plan.groups, plan.chunks, spilled=True)

    monkeypatch.setattr(layerwise_scorer.SweepPlan, "of", always)
    assert np.array_equal(stream.logprobs(scorer(), rows), expected)


@pytest.mark.parametrize("samples", [1, 3])
def test_texts_are_generated_the_same(samples, there, tmp_path):
    prompts = ("the small bird", "one and two make three but", "grey ship")
    toy.write_jsonl(tmp_path / "items.jsonl", [{"prompt": p, "target": "x"} for p in prompts])
    config = GenerationConfig(name="g", kind="generation", items=str(tmp_path / "items.jsonl"),
                              max_new_tokens=4, samples=samples)  # fmt: skip
    task = GenerationTask(config, TaskContext(tokenizer(), 32))
    expected = list(task._complete(family("llama")))
    assert len(expected) == samples * len(prompts)
    assert any(text for _, text in expected)
    assert list(task._complete(family("llama").to(DEVICE))) == expected


def test_perplexities_are_the_same(there):
    lines = ["a", "the small bird sings", "one two", "x" * 400]
    expected = list(measure_perplexity(family("llama"), tokenizer(), lines, 16))
    found = list(measure_perplexity(family("llama").to(DEVICE), tokenizer(), lines, 16))
    assert found == pytest.approx(expected, rel=1e-5)


def test_bfloat16_differs_from_float32_by_its_rounding(corpora):
    """Each logit is a sum that is rounded a few times on its way through three layers."""
    model = family("llama")
    tokens, _ = sequences(corpora).draw(np.full(2, 0.5), 6)
    with torch.no_grad():
        largest = float(model(input_ids=tokens).logits.abs().max())
        apart = token_losses(model, tokens, in_bfloat16=True) - token_losses(model, tokens)
        assert 0 < float(apart.abs().mean()) < BF16 * largest


def rounded_pair():
    """A model in bfloat16, as merges are scored on a GPU, and its weights in float32."""
    return family("llama").bfloat16(), family("llama").bfloat16().float()


def largest_logit(model, requests):
    with torch.no_grad():
        batches = batch_requests(requests, model, shared=False)
        return max(float(model(**model_inputs(model, b)).logits.abs().max()) for b in batches)


@pytest.mark.parametrize("shared", [False, True])
def test_whole_models_in_bfloat16_differ_by_its_rounding(shared):
    half, same = rounded_pair()
    for requests in (texts(), choices()):
        batches = zip(batch_requests(requests, half, shared=shared),
                      batch_requests(requests, same, shared=shared), strict=True)  # fmt: skip
        bound = BF16 * largest_logit(same, requests)
        with torch.no_grad():
            for one, other in batches:
                # every choice of these items shares its prompt, the texts have none
                assert (one.owner is not None) == (shared and requests[0].context != [0])
                differ = token_logprobs(half, one) - token_logprobs(same, other)
                assert 0 < float(differ.abs().mean()) < bound


def test_layers_in_bfloat16_differ_by_its_rounding(tmp_path):
    network, own = family("llama"), scorer()
    base, experts = save_model(tmp_path / "base", network), save_experts(tmp_path, network)
    stream = LayerwiseScorer(Checkpoint(base), experts, Device("cpu", torch.bfloat16),
                             memory_bytes=1 << 30)  # fmt: skip
    found = stream.logprobs(own, [WEIGHTS])[0]
    same = ModelMerger(network, experts).merge(WEIGHTS).bfloat16().float()
    differ = np.abs(found - scorer().logprobs(same))
    assert own.share_prompts
    assert 0 < differ.mean() < BF16 * largest_logit(same, own.requests)


def test_slopes_in_bfloat16_differ_by_its_rounding(tmp_path):
    half, same = rounded_pair()
    n_experts, own = 16, scorer()
    experts = save_experts(tmp_path, same, n_experts)
    weights = [1 / n_experts] * n_experts
    found = measure_slopes(ModelMerger(half, experts), own, weights)
    expected = measure_slopes(ModelMerger(same, experts), own, weights)
    apart = np.abs(found.losses - expected.losses) / own.n_targets
    assert 0 < apart.max() < BF16 * largest_logit(same, own.requests)
    # two roundings of each kind (weights, values) in each of three layers, there and back; the slopes
    # of many random experts have the gradient's relative error
    differ = np.linalg.norm(found.by_weight - expected.by_weight)
    assert 0 < differ < 12 * BF16 * np.linalg.norm(expected.by_weight)
