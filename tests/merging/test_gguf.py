import logging

import numpy as np
import pytest
import torch
from gguf_files import write_gguf
from models_for_tests import build, tokenizer

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import MissingExtraError, ModelError
from mixopt.merging.gguf import dequantize, find_gguf
from mixopt.merging.to_disk import merge_to_disk

FIELDS = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip


def llama(seed=0):
    return build("llama", seed, len(tokenizer()), **FIELDS).eval()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "models").mkdir()
    return write_gguf(tmp_path / "models" / "small.Q8_0.gguf", llama(), tokenizer())


def test_a_file_becomes_an_ordinary_model_once(file, tmp_path, caplog):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store = ArtifactStore(tmp_path / "store")
    folder = dequantize(file, store, "The base")
    assert [r.levelno for r in caplog.records if "is a GGUF file" in r.message] == [logging.WARNING]
    found = AutoModelForCausalLM.from_pretrained(folder)
    assert found.dtype == torch.float32
    ids = torch.arange(40)[None]
    with torch.no_grad():
        wanted, got = llama()(ids).logits, found(ids).logits
    # 8 bits: each weight of a block of 32 is within 1/254 of the block's largest
    assert torch.allclose(got, wanted, atol=0.02 * wanted.abs().max().item())
    text = "two birds sing in the morning"
    assert AutoTokenizer.from_pretrained(folder)(text).input_ids == tokenizer()(text).input_ids
    caplog.clear()
    assert dequantize(file, store, "The base") == folder
    assert not caplog.records


def test_the_chat_template_is_kept(file, tmp_path):
    from transformers import AutoTokenizer

    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    chat = write_gguf(tmp_path / "chat.gguf", llama(), tokenizer(), chat_template=template)
    store = ArtifactStore(tmp_path / "store")
    kept = AutoTokenizer.from_pretrained(dequantize(chat, store, "The base"))
    asked = [{"role": "user", "content": "two birds"}]
    assert kept.apply_chat_template(asked, tokenize=False) == "<|user|>two birds\n"
    assert AutoTokenizer.from_pretrained(dequantize(file, store, "The base")).chat_template is None


def test_weights_that_are_not_found_are_not_drawn_at_random(tmp_path):
    experts = {
        f"blk.1.ffn_{part}.weight": f"blk.1.ffn_{part}_exps.weight" for part in ("gate", "up")
    }
    file = write_gguf(tmp_path / "moe.gguf", llama(), tokenizer(), rename=experts)
    store = ArtifactStore(tmp_path / "store")
    with pytest.raises(ModelError, match=r"mlp.gate_proj.weight and 1 other weights are not found"):
        dequantize(file, store, "The base")
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_scaled_positions_are_refused_where_they_would_be_lost(tmp_path):
    factors = {"rope_freqs.weight": np.ones(8, dtype=np.float32)}
    file = write_gguf(tmp_path / "scaled.gguf", llama(), tokenizer(), more=factors)
    with pytest.raises(
        ModelError, match="rotary positions are scaled, which transformers does not"
    ):
        dequantize(file, ArtifactStore(tmp_path / "store"), "The base")


def test_merges_take_it(file, tmp_path):
    llama(1).save_pretrained(tmp_path / "expert")
    out = merge_to_disk(file, {tmp_path / "expert": 0.5}, tmp_path / "out")
    from transformers import AutoModelForCausalLM

    merged = AutoModelForCausalLM.from_pretrained(out)
    name = "model.layers.0.mlp.up_proj.weight"
    wanted = (llama().get_parameter(name) + llama(1).get_parameter(name)) / 2
    assert torch.allclose(merged.get_parameter(name), wanted, atol=1e-3)


def test_which_file_holds_the_model(file, tmp_path):
    assert find_gguf(file) == find_gguf(file.parent) == file
    assert find_gguf(tmp_path / "no-such-folder") is None
    with pytest.raises(ModelError, match="no.gguf does not exist; correct the path"):
        find_gguf(tmp_path / "no.gguf")
    (file.parent / "small.Q4_K.gguf").write_bytes(b"GGUF")
    with pytest.raises(
        ModelError, match="holds 2 GGUF files; give the path of one, such as small.Q4"
    ):
        find_gguf(file.parent)
    (file.parent / "model.safetensors").write_bytes(b"")
    assert find_gguf(file.parent) is None


def test_what_cannot_be_read_is_one_sentence(file, tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path / "store")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(
        ModelError, match="The base at .* is a GGUF file that transformers cannot read"
    ):
        dequantize(file, store, "The base")
    monkeypatch.setattr("mixopt.errors.is_installed", lambda _: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'mixopt\[gguf\]'"):
        dequantize(file, store, "The base")
