from copy import deepcopy

import numpy as np
import pytest
import torch
from split_texts import perplexity_alone
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM

from mixopt.config.training import BuiltBaseConfig
from mixopt.data.tokenizer import build_tokenizer
from mixopt.evaluation import text_perplexity, token_losses
from mixopt.evaluation.text_perplexity import measure_perplexity

TEXTS = ["a", "the small bird sings", "one two", "x" * 400, "the small bird sings in a green tree"]


@pytest.fixture(scope="module")
def reference():
    training = {"tokens": 1}
    config = BuiltBaseConfig.model_validate(
        {"kind": "build", "vocabulary": 270, "context": 16, "training": training}
    )
    tokenizer = build_tokenizer(["the small bird sings in a green tree"] * 9, config)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=270, initializer_range=0.5,
    ))  # fmt: skip
    return model, tokenizer


def test_perplexity_is_that_of_each_text_alone(reference, monkeypatch):
    expected = [perplexity_alone(*reference, text, 16) for text in TEXTS]
    assert list(measure_perplexity(*reference, TEXTS, 16)) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(text_perplexity, "PASS_TOKENS", 20)
    monkeypatch.setattr(text_perplexity, "TEXTS", 2)
    assert list(measure_perplexity(*reference, iter(TEXTS), 16)) == pytest.approx(
        expected, rel=1e-5
    )
    assert len(set(np.round(expected, 6))) == len(TEXTS)


def test_logits_of_a_pass_stay_within_their_memory(reference, monkeypatch):
    model, tokenizer = reference
    expected = list(measure_perplexity(model, tokenizer, TEXTS, 16))
    monkeypatch.setattr(text_perplexity, "LOGIT_BYTES", 4 * 270 * 40)  # those of 40 tokens
    monkeypatch.setattr(token_losses, "PIECE", 5)
    sizes, converted = [], []
    forward = model.forward

    def spy(**inputs):
        sizes.append(inputs["input_ids"].numel())
        return forward(**inputs)

    entropy = torch.nn.functional.cross_entropy

    def spy_entropy(logits, *rest, **more):
        converted.append(logits.numel())
        return entropy(logits, *rest, **more)

    monkeypatch.setattr(model, "forward", spy)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spy_entropy)
    assert list(measure_perplexity(model, tokenizer, TEXTS, 16)) == pytest.approx(
        expected, rel=1e-6
    )
    assert len(sizes) > 1
    assert max(sizes) <= 40
    assert max(converted) <= 5 * 270


@pytest.mark.parametrize("begin", ["z", None])
@pytest.mark.parametrize("starts", [True, False])
def test_a_text_begins_as_the_model_has_learned_it(reference, begin, starts):
    """With the token that the tokenizer puts there; with the end-of-text token where it puts none."""
    model, tokenizer = reference
    own = deepcopy(tokenizer)
    own.bos_token = begin
    if begin and starts:
        own.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, own.bos_token_id)]
        )
    expected = [perplexity_alone(model, own, text, 16) for text in TEXTS]
    assert list(measure_perplexity(model, own, TEXTS, 16)) == pytest.approx(expected, rel=1e-5)
    as_before = list(measure_perplexity(model, tokenizer, TEXTS, 16)) == pytest.approx(expected)
    assert as_before == (begin is None or not starts)
