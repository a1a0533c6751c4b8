from types import SimpleNamespace

import pytest
import torch
import toy
from models_for_tests import build, family, tokenizer

from mixopt.config.benchmarks import GenerationConfig
from mixopt.evaluation.tasks import generation
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.generation import GenerationTask
from mixopt.evaluation.tasks.left_padding import find_batching, pad_left

PROMPTS = [[0, 5, 9], [0, 5, 9, 20, 7, 7, 31, 4, 90, 12]]


def rwkv():
    """A network whose state remembers the padding."""
    network = build("rwkv", 0, 300, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2,
                    context_length=64).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return network


def test_prompts_are_padded_on_the_left():
    tokens, mask = pad_left([[5], [1, 2, 3]], 9)
    assert tokens.tolist() == [[9, 9, 5], [1, 2, 3]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_models_that_heed_the_mask(name, dtype):
    assert find_batching(family(name).to(dtype), PROMPTS, 0) == "mixed"


def test_a_model_whose_cache_takes_one_prompt(caplog):
    caplog.set_level("INFO")
    for prompts in (PROMPTS, PROMPTS[:1] * 2):
        assert find_batching(rwkv(), prompts, 0) == "single"
    assert "RwkvForCausalLM generates with one prompt at a time" in caplog.text


class Fake:
    """Predicts other tokens where it reads padding (0 before a first token above 0), or fails."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, fails=False):
        self.fails = fails

    def generate(self, tokens, *, attention_mask, **settings):
        if self.fails and not attention_mask.all():
            raise RuntimeError("no mask")
        return SimpleNamespace(
            logits=[torch.nn.functional.one_hot(tokens[:, 0] % 3, 5).float()] * 2
        )


@pytest.mark.parametrize("fails", [True, False])
def test_a_model_that_reads_padding_has_prompts_of_one_length(caplog, fails):
    caplog.set_level("INFO")
    prompts = [[4, 7], [4, 7, 8, 9]]
    assert find_batching(Fake(fails), prompts, 0) == "alike"
    assert "Fake generates with prompts of one length together" in caplog.text
    assert find_batching(Fake(fails), prompts[:1] * 2, 0) == "mixed"  # nothing is padded


@pytest.mark.parametrize(
    ("batching", "sizes"), [("mixed", [2, 2, 1]), ("alike", [2, 1, 2]), ("single", [1] * 5)]
)
def test_batches_are_of_prompts_that_may_be_together(monkeypatch, batching, sizes):
    monkeypatch.setattr(generation, "find_batching", lambda *_: batching)
    task = GenerationTask.__new__(GenerationTask)
    task._context = TaskContext(tokenizer(), 32)
    task._prompts = [[0] * length for length in (5, 2, 2, 5, 2)]
    batches = list(task._batch(family("llama"), 2))
    assert sorted(place for batch in batches for place in batch) == [0, 1, 2, 3, 4]
    assert [len(batch) for batch in batches] == sizes


def test_what_a_recurrent_model_writes_does_not_depend_on_its_batch(tmp_path):
    prompts = [
        "the owl",
        "one and two make three but a ship",
        "grey sea",
        "the small bird sings and",
    ]
    rows = [{"prompt": prompt, "target": "x"} for prompt in prompts]

    def complete(rows):
        path = toy.write_jsonl(tmp_path / "g.jsonl", rows)
        config = GenerationConfig(name="g", kind="generation", items=str(path), max_new_tokens=8,
                                  stop=["never"])  # fmt: skip
        task = GenerationTask(config, TaskContext(tokenizer(), 32))
        return dict(task._complete(rwkv()))

    together = complete(rows)
    assert [together[i] for i in range(4)] == [complete([row] * 2)[0] for row in rows]
