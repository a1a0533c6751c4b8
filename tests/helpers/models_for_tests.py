"""Small models, tokenizers and corpora made on the spot; nothing is downloaded.

What is slow to make is made once per process and copied for each caller.
"""

import random
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
import toy

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import FilesTextConfig
from mixopt.config.training import BuiltBaseConfig, TrainingConfig
from mixopt.data.corpus import (
    build_corpus,
    corpus_artifact,
    fingerprint_text,
    fingerprint_tokenizer,
)
from mixopt.data.tokenizer import build_tokenizer

CONFIGS = {
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen2": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
}  # fmt: skip


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}  # fmt: skip
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 8},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": 8, "sliding_window_pattern": 2},
    "olmo2": {},
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 16,
                  "shared_expert_intermediate_size": 16},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
}  # fmt: skip
"""Decoder families that users bring, at a size for tests."""


def family(name, seed=0, vocabulary=300):
    """A model of a family with weights large enough to tell its tokens apart."""
    fields = {**SMALL, **FAMILIES[name]}
    torch.manual_seed(seed)
    return deepcopy(_family(name, seed, vocabulary, tuple(fields.items())))


@cache
def _family(name, seed, vocabulary, fields):
    network = build(name, seed, vocabulary, pad_token_id=None, **dict(fields)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    return network


def build(name, seed, vocabulary, **fields):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        name, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0, **fields
    )
    return AutoModelForCausalLM.from_config(config)


def tokenizer(vocabulary=300):
    return deepcopy(_tokenizer(vocabulary))


@cache
def _tokenizer(vocabulary):
    rng = random.Random(0)
    texts = [toy.text(domain, rng) for domain in toy.WORDS for _ in range(30)]
    config = BuiltBaseConfig(
        kind="build", vocabulary=vocabulary, context=32, training=TrainingConfig(tokens=1)
    )
    return build_tokenizer(texts, config)


def starting_tokenizer(*, starts, begin="<|im_start|>"):
    """A tokenizer whose `bos_token` is a token of its own, which it puts before a text or does not."""
    from tokenizers.processors import TemplateProcessing

    own = tokenizer()
    own.add_special_tokens({"bos_token": begin})
    if starts:
        own.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, own.bos_token_id)]
        )
    return own


def open_corpus(source, tokens, *, name, cache):
    """The corpus of a text under a tokenizer, tokenized now unless the cache has it."""
    artifact = corpus_artifact(name, fingerprint_text(source), fingerprint_tokenizer(tokens))
    return build_corpus(artifact, source, tokens, cache)


def make_corpus(folder, name="birds", n=40, **more):
    """The corpus of `n` documents of a toy domain, and the file that they lie in."""
    rng = random.Random(name)
    rows = [{"text": toy.text(name, rng)} for _ in range(n)]
    path = toy.write_jsonl(folder / f"{name}.jsonl", rows)
    source = FilesTextConfig(paths=[str(path)], **more)
    cache = ArtifactStore(folder / "cache")
    return open_corpus(source, _tokenizer(300), name=name, cache=cache), path


def model(architecture="llama", seed=0, vocabulary=300):
    return build(architecture, seed, vocabulary, **CONFIGS[architecture])


def save_base(folder: Path, architecture="llama") -> Path:
    model(architecture).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def perturbed(base, seed):
    """A copy of the model's parameters, each moved a little."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p.detach() + 0.05 * torch.randn(p.shape, generator=generator)
        for name, p in base.named_parameters()
    }
