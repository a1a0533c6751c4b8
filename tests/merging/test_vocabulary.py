import json
import logging

import numpy as np
import pytest
import torch
from merging_for_tests import save_tensors
from models_for_tests import build, family, model, perturbed, tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mixopt.errors import ModelError
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.merging.to_disk import merge_to_disk
from mixopt.merging.vocabulary import average_rows, find_resized, select_rows
from mixopt.training.base_model import Layout, mergeable

ROWS = 300


def save(folder, network, tokens=None):
    network.save_pretrained(folder)
    if tokens is not None:
        tokens.save_pretrained(folder)
    return folder


def moved(network, seed, rows=None):
    """The network with other weights, and a vocabulary of other size if `rows` is given."""
    torch.manual_seed(seed)
    if rows is not None:
        network.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network


def reference(base, experts, weights):
    """The formula on the common rows, tensor by tensor."""
    merged = {}
    for name, tensor in mergeable(base).items():
        total = tensor.detach().double().clone()
        for expert, weight in zip(experts, weights, strict=True):
            own = mergeable(expert)[name].detach().double()
            n = min(len(own), len(tensor))
            total[:n] += weight * (own[:n] - tensor.detach().double()[:n])
        merged[name] = total
    return merged


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize(("small", "large"), [(ROWS - 4, ROWS + 20), (ROWS, ROWS + 4)])
def test_common_rows_are_merged_on_disk_and_in_memory(name, small, large, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    base = family(name)
    experts = [moved(family(name), 1, small), moved(family(name), 2, large)]
    places = [save(tmp_path / str(i), network) for i, network in enumerate(experts)]
    weights = [0.3, 0.5]
    expected = reference(base, experts, weights)
    folder = save(tmp_path / "base", base)
    out = merge_to_disk(folder, dict(zip(places, weights, strict=True)), tmp_path / "out")
    written = AutoModelForCausalLM.from_pretrained(out)
    merger = ModelMerger(family(name), [open_expert(place) for place in places])
    held = merger.merge(weights)
    for tensor, value in expected.items():
        assert torch.allclose(mergeable(written)[tensor].double(), value, atol=1e-5), tensor
        assert torch.allclose(mergeable(held)[tensor].double(), value, atol=1e-5), tensor
    dropped = f"the first {ROWS} are merged, and its last {large - ROWS} rows are dropped"
    assert dropped in caplog.text
    kept = f"the base's last {ROWS - small} rows are not changed by it"
    assert (kept in caplog.text) == (small < ROWS)


def test_common_rows_of_models_that_call_their_table_embeddings(tmp_path):
    def mamba(seed, rows):
        return build("mamba", seed, rows, hidden_size=16, state_size=4, num_hidden_layers=1)

    base, expert = mamba(0, ROWS), mamba(1, ROWS + 4)
    folder = save(tmp_path / "e", expert)
    out = merge_to_disk(save(tmp_path / "base", base), {folder: 1.0}, tmp_path / "out")
    written = load_file(out / "model.safetensors")["backbone.embeddings.weight"]
    assert torch.allclose(written, expert.get_input_embeddings().weight[:ROWS], atol=1e-6)


def test_rows_of_a_smaller_expert_by_their_numbers(tmp_path):
    """Layer by layer only the rows of tokens that occur are read."""
    base, small = family("llama"), moved(family("llama"), 1, ROWS - 4)
    expert = open_expert(save(tmp_path / "e", small))
    expert.check(Layout.of(base))
    name = "model.embed_tokens.weight"
    table = mergeable(base)[name].detach()
    whole = expert.delta(name, table)
    assert whole[-4:].abs().max() == 0
    assert torch.allclose(whole[:-4], mergeable(small)[name].detach() - table[:-4])
    for rows in (torch.tensor([0, 5, 295, 296, 299]), slice(290, 300), slice(297, 300)):
        assert torch.equal(expert.delta(name, table[rows], rows), whole[rows])


def test_all_rows_are_kept_where_that_is_asked_for(tmp_path, caplog):
    base = save(tmp_path / "base", family("llama"), tokenizer())
    more = tokenizer()
    more.add_tokens(["<x>", "<y>"])
    networks = [moved(family("llama"), 1, ROWS + 2), moved(family("llama"), 2, ROWS + 6)]
    first, second = save(tmp_path / "1", networks[0]), save(tmp_path / "2", networks[1], more)
    out = merge_to_disk(base, {first: 0.2, second: 0.6}, tmp_path / "out", resize="largest")
    assert json.loads((out / "config.json").read_text())["vocab_size"] == ROWS + 6
    written = mergeable(AutoModelForCausalLM.from_pretrained(out))
    expected = reference(family("llama"), networks, [0.2, 0.6])
    for name, value in expected.items():
        assert torch.allclose(written[name][: len(value)].double(), value, atol=1e-5), name
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        a, b = (mergeable(network)[name].detach() for network in networks)
        shared = 0.25 * a[ROWS:] + 0.75 * b[ROWS : ROWS + 2]
        assert torch.allclose(written[name][ROWS:], torch.cat([shared, b[ROWS + 2 :]]), atol=1e-6)
    assert "<y>" in (out / "tokenizer.json").read_text()
    assert f"The merge has the 306 rows and the tokenizer of {second}." in caplog.text
    assert "its last 6 rows are added" in caplog.text


def test_another_tokenizer_is_refused_unless_it_is_asked_for(tmp_path):
    base = save(tmp_path / "base", family("llama"))
    other = save(tmp_path / "e", moved(family("llama", vocabulary=2000), 1))
    with pytest.raises(ModelError, match="2,000 tokens in its vocabulary and the base 300"):
        merge_to_disk(base, {other: 0.5}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert merge_to_disk(base, {other: 0.5}, tmp_path / "out", resize="base").is_dir()


def test_what_differs_by_more_than_rows_is_no_vocabulary():
    wanted = {"lm_head.weight": (300, 16), "embed_tokens.weight": (300, 16), "norm.weight": (16,)}
    assert find_resized(wanted, wanted) == {}
    more = wanted | {"lm_head.weight": (310, 16)}
    assert find_resized(more, wanted) == {"lm_head.weight": 310}
    assert find_resized(wanted | {"lm_head.weight": (310, 8)}, wanted) == {}
    assert find_resized(wanted | {"norm.weight": (18,)}, wanted) == {}
    assert find_resized(more | {"embed_tokens.weight": (320, 16)}, wanted) == {}


def test_an_output_table_over_a_base_that_ties_it(tmp_path, caplog):
    base = model("llama")
    tensors = perturbed(base, 0)
    table = tensors["model.embed_tokens.weight"]
    expert = save_tensors(tmp_path / "e", tensors | {"lm_head.weight": table + 1})
    tied = save_tensors(tmp_path / "tied", perturbed(base, 1))
    out = merge_to_disk(save(tmp_path / "base", base), {expert: 0.5, tied: 0.25}, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    written = load_file(out / "model.safetensors")
    start = base.get_input_embeddings().weight.detach()
    other = load_file(tied / "model.safetensors")["model.embed_tokens.weight"]
    merged = start + 0.5 * (table - start) + 0.25 * (other - start)
    assert torch.allclose(written["model.embed_tokens.weight"], merged, atol=1e-6)
    assert torch.allclose(written["lm_head.weight"], merged + 0.5, atol=1e-6)
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert torch.equal(loaded.lm_head.weight, written["lm_head.weight"])
    assert "has an output table of its own (lm_head.weight)" in caplog.text


def test_an_expert_that_ties_what_its_base_does_not(tmp_path):
    base = family("llama")  # not tied
    tied = family("llama")
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    folder = save(tmp_path / "e", moved(tied, 1))
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    out = merge_to_disk(save(tmp_path / "base", base), {folder: 1.0}, tmp_path / "out")
    written, held = (
        AutoModelForCausalLM.from_pretrained(out),
        ModelMerger(family("llama"), [open_expert(folder)]).merge([1.0]),
    )
    for merged in (written, held):
        assert torch.allclose(merged.lm_head.weight, tied.get_input_embeddings().weight, atol=1e-6)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="missing lm_head.weight"):
        merge_to_disk(tmp_path / "base", {folder: 1.0}, tmp_path / "out-2")


def test_rows_that_are_asked_for_and_those_that_an_expert_has():
    assert select_rows(None, 7, 10) == (slice(0, 7), slice(0, 7))
    assert select_rows(slice(5, 9), 7, 9) == (slice(0, 2), slice(5, 7))
    assert select_rows(slice(8, 9), 7, 9) == (slice(0, 0), slice(8, 8))
    places, own = select_rows(torch.tensor([9, 2, 6]), 7, 10)
    assert (places.tolist(), own.tolist()) == ([False, True, True], [2, 6])


def test_rows_that_the_base_lacks_are_weighted_means():
    long, short = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[5.0]])
    mean = average_rows([long, short], [0.3, 0.1])
    assert np.allclose(mean[:, 0], [2.0, 2.0, 3.0])
    assert np.allclose(average_rows([long, short], [0.5, -0.5])[:, 0], [3.0, 2.0, 3.0])


def test_a_merge_of_weight_zero_is_the_base_with_an_output_table(tmp_path):
    """What the error tells a study to use: there the expert fits, and the base is the same model."""
    base = model("llama")
    tensors = perturbed(base, 0)
    untied = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
    expert = save_tensors(tmp_path / "e", tensors | untied)
    folder = save(tmp_path / "base", base)
    with pytest.raises(ModelError, match="mixopt merge BASE -e .*/e=0 -o NEW"):
        ModelMerger(base, [open_expert(expert)])
    new = AutoModelForCausalLM.from_pretrained(
        merge_to_disk(folder, {expert: 0.0}, tmp_path / "new")
    )
    tokens = torch.arange(12).view(2, 6)
    assert torch.equal(new(tokens).logits, base(tokens).logits)
    merged = ModelMerger(new, [open_expert(expert)]).merge([1.0])
    assert torch.equal(merged.lm_head.weight, untied["lm_head.weight"])
