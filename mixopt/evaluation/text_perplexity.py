"""The perplexity of texts under a model, by which a text is split into buckets.

Of each text the beginning is read, as many tokens as fit into the model's context, after the end-of-text
token: PPL = exp(−mean log p). Shapes: `n` texts, `c` tokens.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS = 256
"""Texts that are sorted by length, so that those of one pass are about equally long."""
PASS_TOKENS = 8192
"""Tokens of a forward pass, padding included."""
CHARACTERS = 16
"""Characters per token that are tokenized of a long text."""


def measure_perplexity(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Iterable[str],
    context: int,
) -> Iterator[float]:
    """Yield the perplexity of each text, in order.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        texts: The texts (`n`); none is empty.
        context: Tokens of a text that are read at most, the end-of-text token among them.
    """
    model.eval()
    rest = iter(texts)
    while batch := list(islice(rest, TEXTS)):
        lines = [
            [tokenizer.eos_token_id, *tokenizer(
                text[: CHARACTERS * context], add_special_tokens=False, verbose=False,
            )["input_ids"]][:context]
            for text in batch
        ]  # fmt: skip
        values = [0.0] * len(batch)
        order = sorted(range(len(batch)), key=lambda i: -len(lines[i]))
        while order:
            n = max(1, PASS_TOKENS // len(lines[order[0]]))
            chosen, order = order[:n], order[n:]
            for index, value in zip(chosen, _pass(model, [lines[i] for i in chosen]), strict=True):
                values[index] = value
        yield from values


@torch.no_grad()
def _pass(model: "PreTrainedModel", lines: list[list[int]]) -> list[float]:
    longest = max(map(len, lines))
    tokens = torch.tensor([line + [line[0]] * (longest - len(line)) for line in lines])
    lengths = torch.tensor([len(line) for line in lines])
    tokens, lengths = tokens.to(model.device), lengths.to(model.device)
    # a causal model does not see the padding behind a text
    logits = model(input_ids=tokens).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    is_read = torch.arange(longest - 1, device=model.device)[None] < (lengths - 1)[:, None]
    means = (losses * is_read).sum(dim=1) / is_read.sum(dim=1).clamp(min=1)
    values: list[float] = means.double().exp().tolist()
    return values
