import math

import numpy as np
import pytest
import torch
from merging_for_tests import Fixed, choices, texts
from models_for_tests import FAMILIES, SMALL, family, model, tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from mixopt import Metric
from mixopt.evaluation import scorer as scorer_module
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import ItemResults, Request


def naive(network, request):
    """One request alone, a full softmax in float64."""
    row = [*request.context, *request.target]
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([row[:-1]])).logits[0].double()
    table = logits.log_softmax(-1)
    start = len(request.context) - 1
    return [table[start + i, token].item() for i, token in enumerate(request.target)]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_batches_of_all_lengths_equal_one_at_a_time(architecture, monkeypatch):
    monkeypatch.setitem(scorer_module.BATCH_TOKENS, "cpu", 64)
    rng = np.random.default_rng(0)
    requests = [
        Request(rng.integers(1, 300, rng.integers(1, 9)).tolist(), rng.integers(1, 300, n).tolist())
        for n in rng.integers(1, 20, 23)
    ]
    network = model(architecture).eval()
    scorer = Scorer([Fixed(requests[:10]), Fixed(requests[10:])])
    flat = scorer.logprobs(network)
    expected = np.concatenate([naive(network, request) for request in requests])
    assert np.abs(flat - expected).max() < 1e-4
    assert scorer.count_tokens() == sum(len(r.context) + len(r.target) - 1 for r in requests)


def test_each_task_reads_its_own_part():
    class Named(Fixed):
        def __init__(self, name, requests):
            super().__init__(requests)
            self.metric = Metric(name)

    requests = [Request([0], [1, 2]), Request([0], [3])]
    scorer = Scorer([Named("x", requests[:1]), Named("y", requests[1:])])
    results = scorer.read(np.array([-1.0, -2.0, -5.0]))
    assert results["x"].values.tolist() == [-3.0]
    assert results["y"].values.tolist() == [-5.0]


def test_item_results_have_a_score_and_a_standard_error():
    results = ItemResults(np.array([1.0, 3.0]), np.ones(2))
    assert results.score == 2.0
    assert results.std_error == pytest.approx(1.0)


def test_uniform_model_has_log_vocabulary_bits():
    network = model()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    flat = Scorer([Fixed([Request([0], [5, 6, 7])])]).logprobs(network)
    assert flat == pytest.approx([-math.log(300)] * 3, abs=1e-5)
    assert len(tokenizer()) == 300


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_are_computed_once_for_all_choices_and_scored_the_same(name, caplog):
    caplog.set_level("INFO", "mixopt")
    requests = [*choices(), *texts()]
    network = family(name)
    shared, alone = Scorer([Fixed(requests)]), Scorer([Fixed(requests)], share_prompts=False)
    assert np.abs(shared.logprobs(network) - alone.logprobs(network)).max() < 1e-4
    expected = [naive(network, request) for request in requests[:6]]
    assert (
        np.abs(shared.logprobs(network)[: sum(map(len, expected))] - np.concatenate(expected)).max()
        < 1e-4
    )
    if "sliding_window" in FAMILIES[name]:
        assert "cannot share them (the scores would differ" in caplog.text
        assert shared.count_tokens() == alone.count_tokens()
    else:
        assert shared.count_tokens() < 0.7 * alone.count_tokens()


def test_models_that_take_no_mask_or_no_positions_are_not_asked_to(caplog, monkeypatch):
    caplog.set_level("INFO", "mixopt")
    network = family("llama")
    monkeypatch.setattr(network.config, "_attn_implementation", "flash_attention_2")
    scorer = Scorer([Fixed(choices())])
    monkeypatch.setattr(scorer_module, "score_batches", lambda *_: pytest.fail("tried"))
    scorer.batches(network, lambda _: pytest.fail("tried"))
    assert "takes no mask of one's own" in caplog.text
    bloom = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "bloom", vocab_size=300, hidden_size=32, n_layer=1, n_head=2))  # fmt: skip
    Scorer([Fixed(choices())]).batches(bloom, lambda _: pytest.fail("tried"))
    assert "takes no positions" in caplog.text


def test_only_scored_positions_reach_the_output_layer():
    network = family("llama")
    widths = []
    network.lm_head.register_forward_hook(lambda _, args, out: widths.append(out.shape[:2]))
    requests = [Request(list(range(1, 30)), [5, 6]), Request(list(range(1, 20)), [7])]
    Scorer([Fixed(requests)]).logprobs(network)
    assert widths == [(1, 3)]


def test_the_item_that_reaches_back_the_farthest_is_tried_too(monkeypatch):
    """Eight short choices make the longest row; one long prompt is what a window cuts."""
    rng = np.random.default_rng(0)

    def draw(n):
        return rng.integers(1, 300, n).tolist()

    short, long = draw(20), draw(90)
    requests = [Request(short, draw(12)) for _ in range(8)] + [
        Request(long, [c]) for c in (5, 6, 7)
    ]
    monkeypatch.setitem(SMALL, "max_position_embeddings", 256)
    monkeypatch.setitem(FAMILIES["mistral"], "sliding_window", 48)
    network = family("mistral")
    shared, alone = Scorer([Fixed(requests)]), Scorer([Fixed(requests)], share_prompts=False)
    assert np.abs(shared.logprobs(network) - alone.logprobs(network)).max() < 1e-4
    assert not shared.share_prompts


def test_a_model_that_fails_with_a_mask_is_scored_choice_by_choice(caplog):
    caplog.set_level("INFO", "mixopt")
    config = AutoConfig.for_model("falcon", vocab_size=300, hidden_size=32, num_hidden_layers=2,
                                  num_attention_heads=4, alibi=True)  # fmt: skip
    network = AutoModelForCausalLM.from_config(config).eval()
    shared, alone = Scorer([Fixed(choices())]), Scorer([Fixed(choices())], share_prompts=False)
    assert np.array_equal(shared.logprobs(network), alone.logprobs(network))
    assert "cannot share them" in caplog.text
