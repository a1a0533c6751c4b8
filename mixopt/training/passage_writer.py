"""Synthetic passages about a concept, sampled from a causal language model that the user gives."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROMPT = "Here is an informative passage about {concept}.\n\n"


def make_passage_writer(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", seed: int, tokens: int = 200
) -> Callable[[str], str]:
    """Return a function that writes one passage about a concept.

    Each passage is sampled at temperature 0.8 and top-p 0.95 with the same seed, so it depends on the
    concept alone; the global random state is left as it was.

    Args:
        model: Any causal language model.
        tokenizer: The model's tokenizer.
        seed: Seed of each sample.
        tokens: New tokens per passage at most.
    """

    def write(concept: str) -> str:
        encoded = tokenizer(PROMPT.format(concept=concept), return_tensors="pt").to(model.device)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            written = model.generate(
                **{name: encoded[name] for name in ("input_ids", "attention_mask")},
                max_new_tokens=tokens, do_sample=True, temperature=0.8, top_p=0.95,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )  # fmt: skip
        start = encoded["input_ids"].shape[1]
        return str(tokenizer.decode(written[0, start:], skip_special_tokens=True)).strip()

    return write
