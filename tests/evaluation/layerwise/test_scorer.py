import weakref

import numpy as np
import pytest
import torch
import toy
from merging_for_tests import Fixed, choices, save_experts, save_model, texts
from models_for_tests import FAMILIES, build, family, tokenizer

from mixopt.config.benchmarks import MultipleChoiceConfig
from mixopt.errors import ModelError
from mixopt.evaluation.layerwise import scorer as layerwise_scorer
from mixopt.evaluation.layerwise.meta_model import LayerwiseError
from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
from mixopt.evaluation.scorer import Scorer, batch_requests
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.registry import build_task
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.device import Device

CPU = Device("cpu", torch.float32)
ROWS = [[0.2, 0.3, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
REQUESTS = [*choices(), *texts()]


def stream_of(folder, network, *, memory_bytes=1 << 30, k=3):
    base = save_model(folder / "base", network)
    experts = save_experts(folder, network, k)
    return LayerwiseScorer(Checkpoint(base), experts, CPU, memory_bytes=memory_bytes)


def in_memory(stream, network, rows=ROWS):
    merger = ModelMerger(network, stream.experts)
    return np.stack([Scorer([Fixed(REQUESTS)]).logprobs(merger.merge(row)) for row in rows])


@pytest.mark.parametrize("name", FAMILIES)
def test_layer_by_layer_scores_as_the_whole_model(name, tmp_path):
    network = family(name)
    stream = stream_of(tmp_path, network)
    scorer = Scorer([Fixed(REQUESTS)])
    found, expected = stream.logprobs(scorer, ROWS), in_memory(stream, network)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(expected[0] - expected[2]).mean() > 0.1  # the candidates do differ
    # layers that look only so far back cannot tell far tokens of another branch from hidden ones
    assert scorer.share_prompts == ("sliding_window" not in FAMILIES[name])


def test_an_item_of_8000_tokens_scores_as_under_the_whole_model(tmp_path):
    fields = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
              "num_attention_heads": 1, "num_key_value_heads": 1,
              "max_position_embeddings": 8192}  # fmt: skip
    network = build("llama", 0, 300, pad_token_id=None, **fields).eval()
    rng = np.random.default_rng(0)
    words = " ".join(f"{word} bird" for word in rng.choice(["the", "small", "green", "tree"], 3000))
    prompt = tokenizer().decode(tokenizer()(words)["input_ids"][:8000])
    row = {"prompt": prompt, "choices": ["sings", "flies away"], "answer": 0}
    items = toy.write_jsonl(tmp_path / "long.jsonl", [row, row | {"prompt": "the bird"}])
    config = MultipleChoiceConfig(name="long", kind="multiple_choice", items=str(items))
    task = build_task(config, TaskContext(tokenizer(), 8192))
    assert task.truncated == 0
    assert max(len(request.context) for request in task.requests) > 7900
    stream = stream_of(tmp_path, network, k=2)
    merged = ModelMerger(network, stream.experts).merge([0.3, 0.7])
    resident = Scorer([task], share_prompts=False).logprobs(merged)
    scorer = Scorer([task])
    assert np.abs(stream.logprobs(scorer, [[0.3, 0.7]])[0] - resident).max() < 1e-5
    assert scorer.share_prompts


def test_little_memory_gives_the_same(tmp_path, monkeypatch):
    network = family("llama")
    stream = stream_of(tmp_path, network)
    expected = stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS)
    monkeypatch.setattr(layerwise_scorer, "LOGIT_BYTES", 100 * 1024)  # the vocabulary in pieces too
    plans = []
    planned = LayerwiseScorer._plan

    def spy(self, batches, candidates):
        plans.append(planned(self, batches, candidates))
        return plans[-1]

    monkeypatch.setattr(LayerwiseScorer, "_plan", spy)
    largest = max(b.tokens.numel() for b in batch_requests(REQUESTS, network, shared=True))
    width = 4 * 32
    stream.memory_bytes = (
        stream._working_bytes() + (layerwise_scorer.IN_FLIGHT + 2) * width * largest
    )
    again = stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS)
    assert np.abs(again - expected).max() < 1e-5
    assert len(plans[0].groups) * len(plans[0].chunks) > 1 or plans[0].spilled


def test_spilled_gives_the_same(tmp_path, monkeypatch):
    network = family("llama")
    stream = stream_of(tmp_path, network)
    expected = stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS)
    whole = layerwise_scorer.SweepPlan.of

    def always(batches, candidates, *_):
        plan = whole(batches, candidates, 1 << 40, 1, 0, 0)
        return layerwise_scorer.SweepPlan(plan.groups, plan.chunks, spilled=True)

    monkeypatch.setattr(layerwise_scorer.SweepPlan, "of", always)
    assert np.array_equal(stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS), expected)


def test_every_layer_of_every_expert_is_read_once_however_many_candidates(tmp_path, monkeypatch):
    stream = stream_of(tmp_path, family("llama"))
    scorer = Scorer([Fixed(texts())])
    stream.logprobs(scorer, ROWS[:1])  # whether prompts are shared has been tried
    reads = []
    read = Checkpoint.read
    monkeypatch.setattr(
        Checkpoint, "read", lambda self, n, rows=None: reads.append(n) or read(self, n, rows)
    )
    stream.logprobs(scorer, ROWS * 4)
    inside = [name for name in reads if ".layers." in name]
    assert len(inside) == len(set(inside)) * 4  # the base and three experts


def test_an_expert_that_no_candidate_weights_is_not_read(tmp_path, monkeypatch):
    stream = stream_of(tmp_path, family("llama"))
    scorer = Scorer([Fixed(texts())])
    corners = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    expected = stream.logprobs(scorer, [*corners, [0.2, 0.3, 0.5]])
    reads = set()
    read = Checkpoint.read

    def spy(self, name, rows=None):
        reads.add(self.folder.name)
        return read(self, name, rows)

    monkeypatch.setattr(Checkpoint, "read", spy)
    assert np.array_equal(stream.logprobs(scorer, corners), expected[:2])
    assert reads == {"base", "expert-0", "expert-2"}
    reads.clear()
    stream.logprobs(scorer, [[0.0, 0.0, 0.0]])
    assert reads == {"base"}


def test_one_layer_is_held_at_a_time(tmp_path, monkeypatch):
    stream = stream_of(tmp_path, family("llama"))
    held, most = weakref.WeakSet(), []
    read = LayerwiseScorer._read

    def spy(self, names, *rest):
        most.append(len(held))
        tensors = read(self, names, *rest)
        if any(".layers." in name for name in names.values()):
            held.add(tensors)
        return tensors

    monkeypatch.setattr(LayerwiseScorer, "_read", spy)
    stream.logprobs(Scorer([Fixed(texts())]), ROWS)
    assert len(most) > 2
    assert max(most) == 0


def test_of_the_input_table_a_batch_s_own_words_are_read(tmp_path, monkeypatch):
    """A large vocabulary is never in memory whole: neither for scores nor for step sizes."""
    stream = stream_of(tmp_path, family("llama"))
    monkeypatch.setattr(layerwise_scorer, "STEP_BYTES", 4096)
    scorer = Scorer([Fixed(texts(count=2, length=9))])
    stream.logprobs(scorer, ROWS[:1])
    rows, whole = [], []
    read = Checkpoint.read

    def spy(self, name, part=None):
        if isinstance(part, torch.Tensor) and name == stream.meta_model.input:
            rows.append(len(part))
        elif not isinstance(part, slice):
            whole.append(name)
        return read(self, name, part)

    monkeypatch.setattr(Checkpoint, "read", spy)
    stream.logprobs(scorer, ROWS)
    assert max(rows) <= 18
    assert stream.meta_model.input not in whole
    whole.clear()
    stream.step_sizes()
    assert stream.meta_model.input not in whole


def test_lora_experts_are_streamed(tmp_path):
    from peft import LoraConfig, get_peft_model

    network = family("llama")
    folders = []
    for seed in range(2):
        torch.manual_seed(seed)
        wrapped = get_peft_model(family("llama"), LoraConfig(r=4, target_modules="all-linear"))
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.1)
        wrapped.save_pretrained(str(tmp_path / f"lora-{seed}"))
        folders.append(tmp_path / f"lora-{seed}")
    experts = [open_expert(folder) for folder in folders]
    base = Checkpoint(save_model(tmp_path / "base", network))
    stream = LayerwiseScorer(base, experts, CPU, memory_bytes=1 << 30)
    found = stream.logprobs(Scorer([Fixed(REQUESTS)]), [[0.3, 0.7]])
    assert np.abs(found - in_memory(stream, network, [[0.3, 0.7]])).max() < 1e-4


def test_memory_below_one_layer_is_told_with_what_works(tmp_path):
    network = family("llama")
    stream = stream_of(tmp_path, network, memory_bytes=1 << 20)
    with pytest.raises(ModelError, match=r"one layer of 4 models needs \d+ MiB"):
        stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS)
    stream.memory_bytes = stream._working_bytes() + 100
    with pytest.raises(ModelError, match="and one batch need") as told:
        stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS)
    needed = int(str(told.value).split(" need ")[1].split()[0])
    stream.memory_bytes = (needed + 1) << 20
    assert stream.logprobs(Scorer([Fixed(REQUESTS)]), ROWS).shape == (4, sum(
        len(r.target) for r in REQUESTS
    ))  # fmt: skip


def test_weights_that_are_none(tmp_path):
    stream = stream_of(tmp_path, family("llama"))
    with pytest.raises(ModelError, match="2 weights are given for 3 experts"):
        stream.logprobs(Scorer([Fixed(REQUESTS)]), [[0.5, 0.5]])
    with pytest.raises(ModelError, match="A weight is nan"):
        stream.logprobs(Scorer([Fixed(REQUESTS)]), [[0.5, 0.5, float("nan")]])


def test_files_in_other_names_are_told(tmp_path):
    network = family("mixtral")
    network.save_pretrained(tmp_path / "base")  # one tensor for each expert of each layer
    experts = save_experts(tmp_path, network)
    with pytest.raises(LayerwiseError, match="as the model calls it"):
        LayerwiseScorer(Checkpoint(tmp_path / "base"), experts, CPU, memory_bytes=1 << 30)
