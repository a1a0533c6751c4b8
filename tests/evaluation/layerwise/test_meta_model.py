import pytest
import torch
from merging_for_tests import save_model
from models_for_tests import FAMILIES, family

from mixopt.evaluation.layerwise import meta_model
from mixopt.evaluation.layerwise.meta_model import ForwardPass, LayerwiseError, MetaModel
from mixopt.training.device import Device

CPU = Device("cpu", torch.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_and_tables_are_found_without_a_table_of_names(name, tmp_path):
    network = family(name)
    found = MetaModel(save_model(tmp_path, network), CPU)
    assert len(found.layers) == 3
    every = {
        *found.outside,
        found.input,
        found.output,
        *(n for p in found.layer_tensors for n in p.values()),
    }
    assert every == set(found.layout.shapes)
    assert found.layout.shapes[found.input] == (300, 32)
    assert all(parameter.is_meta for parameter in found.model.parameters())


def test_something_between_the_layers_is_noticed():
    run = ForwardPass()
    given = torch.zeros(1, 2, 3)
    handed_on = run.call_layer(0, False, (given,), {})
    with pytest.raises(LayerwiseError, match="something happens between its layers"):
        run.call_layer(1, True, (handed_on * 2,), {})
    with pytest.raises(LayerwiseError, match="once each, in order"):
        run.call_layer(0, True, (handed_on,), {})


def test_layers_that_are_given_the_input_again_are_refused(tmp_path, monkeypatch):
    """As where every layer sees the embeddings beside the last layer's hidden states."""
    from transformers import LlamaModel

    forward = LlamaModel.forward

    def with_more(self, input_ids=None, **kwargs):
        seen = self.embed_tokens(input_ids)
        for layer in self.layers:
            layer.register_forward_pre_hook(
                lambda _, args, kw: (args, kw | {"first": seen}), with_kwargs=True
            )
        return forward(self, input_ids=input_ids, **kwargs)

    folder = save_model(tmp_path, family("llama"))
    monkeypatch.setattr(LlamaModel, "forward", with_more)
    with pytest.raises(LayerwiseError, match="more than the hidden states"):
        MetaModel(folder, CPU)


def test_a_model_without_layers_or_plain_tables():
    with pytest.raises(LayerwiseError, match="no list of layers"):
        meta_model._find_layers(torch.nn.Linear(2, 2))


def test_an_output_table_with_a_bias_is_refused(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("phi", vocab_size=300, hidden_size=32, intermediate_size=48,
                                  num_hidden_layers=2, num_attention_heads=4)  # fmt: skip
    folder = save_model(tmp_path, AutoModelForCausalLM.from_config(config))
    with pytest.raises(LayerwiseError, match="more than a table"):
        MetaModel(folder, CPU)


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 300, "pad_token_id": None}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("bamba", {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16},
         "cannot be run around its layers, ValueError: not enough values to unpack"),
        ("rwkv", {"attention_hidden_size": 32, "context_length": 64},
         "cannot be run around its layers, ValueError: not enough values to unpack"),
        ("deepseek_v4", {"head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2,
                         "moe_intermediate_size": 16}, "not one vector for each token"),
    ],
)  # fmt: skip
def test_layers_that_return_more_than_hidden_states_are_refused(tmp_path, name, fields, words):
    from transformers import AutoConfig

    AutoConfig.for_model(name, **SMALL, **fields).save_pretrained(tmp_path)
    with pytest.raises(LayerwiseError, match=words):
        MetaModel(tmp_path, CPU)


def test_layers_that_are_given_the_tokens_are_refused(tmp_path, monkeypatch):
    from transformers import LlamaModel

    forward = LlamaModel.forward

    def with_tokens(self, input_ids=None, **kwargs):
        for layer in self.layers:
            layer.register_forward_pre_hook(
                lambda _, args, kw: (args, kw | {"more": {"ids": input_ids}}), with_kwargs=True
            )
        return forward(self, input_ids=input_ids, **kwargs)

    folder = save_model(tmp_path, family("llama"))
    monkeypatch.setattr(LlamaModel, "forward", with_tokens)
    with pytest.raises(LayerwiseError, match="are given the tokens"):
        MetaModel(folder, CPU)
