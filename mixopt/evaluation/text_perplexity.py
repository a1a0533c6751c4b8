"""The perplexity of texts under a model, by which a text is split into buckets.

Of each text the beginning is read, as many tokens as fit into the model's context, after the token that
begins a sequence (the end-of-text token where there is none): PPL = exp(−mean log p).
Shapes: `n` texts, `c` tokens.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch

from mixopt.data.tokenizer import first_token
from mixopt.evaluation.token_losses import token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS = 256
"""Texts that are sorted by length, so that those of one pass are about equally long."""
PASS_TOKENS = 8192
"""Most tokens of a forward pass, padding included, unless one text is longer."""
LOGIT_BYTES = 1 << 30
"""Memory for the logits of a pass in float32, with the same exception; it limits the tokens."""
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
        context: Tokens of a text that are read at most, the one before it among them.
    """
    model.eval()
    vocabulary = int(model.config.get_text_config().vocab_size)
    pass_tokens = min(PASS_TOKENS, LOGIT_BYTES // (4 * vocabulary))
    first = first_token(tokenizer)
    rest = iter(texts)
    while batch := list(islice(rest, TEXTS)):
        lines = [
            [first, *tokenizer(
                text[: CHARACTERS * context], add_special_tokens=False, verbose=False,
            )["input_ids"]][:context]
            for text in batch
        ]  # fmt: skip
        values = [0.0] * len(batch)
        order = sorted(range(len(batch)), key=lambda i: -len(lines[i]))
        while order:
            n = max(1, pass_tokens // len(lines[order[0]]))
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
    logits = model(input_ids=tokens).logits
    # the last position predicts nothing that is read
    losses = token_losses(logits.flatten(0, 1), tokens.roll(-1, dims=1).flatten())
    losses = losses.view(tokens.shape)[:, :-1]
    is_read = torch.arange(longest - 1, device=model.device)[None] < (lengths - 1)[:, None]
    means = (losses * is_read).sum(dim=1) / is_read.sum(dim=1).clamp(min=1)
    values: list[float] = means.double().exp().tolist()
    return values
