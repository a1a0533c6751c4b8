import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mixopt.evaluation import text_embedding
from mixopt.evaluation.text_embedding import embed_passages


def test_embeddings_are_mean_states_of_each_passage_alone(monkeypatch):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=50,
    ))  # fmt: skip
    passages = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [3, 2, 1]]
    with torch.no_grad():
        expected = np.stack([
            model(input_ids=torch.tensor([p]), output_hidden_states=True).hidden_states[-1][0].mean(0)
            for p in passages
        ])  # fmt: skip
    for tokens in (8192, 7):
        monkeypatch.setattr(text_embedding, "PASS_TOKENS", tokens)
        np.testing.assert_allclose(embed_passages(model, passages), expected, atol=1e-5)
    assert np.abs(expected[0] - expected[3]).max() > 1e-3
