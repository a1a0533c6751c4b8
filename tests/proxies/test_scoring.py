import math

import numpy as np
import pytest
import torch
from proxies.models_for_tests import model, tokenizer

from mixopt import Metric
from mixopt.proxies import scoring
from mixopt.proxies.scoring import Scorer, to_scores
from mixopt.proxies.tasks import ItemResults, Request


class Fixed:
    """A task whose results are the log-probabilities themselves, summed by request."""

    metric = Metric("fixed")
    truncated = 0

    def __init__(self, requests):
        self.requests = requests

    def read(self, logprobs):
        return ItemResults(np.array([part.sum() for part in logprobs]), np.ones(len(logprobs)))


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
    monkeypatch.setitem(scoring.BATCH_TOKENS, "cpu", 64)
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
    assert scorer.tokens == sum(len(r.context) + len(r.target) - 1 for r in requests)


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


def test_scores_carry_standard_errors():
    scores = to_scores({"x": ItemResults(np.array([1.0, 3.0]), np.ones(2))})
    assert scores["x"].value == 2.0
    assert scores["x"].std_error == pytest.approx(1.0)


def test_uniform_model_has_log_vocabulary_bits():
    network = model()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    flat = Scorer([Fixed([Request([0], [5, 6, 7])])]).logprobs(network)
    assert flat == pytest.approx([-math.log(300)] * 3, abs=1e-5)
    assert len(tokenizer()) == 300
