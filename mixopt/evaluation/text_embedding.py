"""Embeddings of passages, for transport between texts: mean hidden states of a model, or token counts.

Shapes: `n` passages, `f` numbers of an embedding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from mixopt.mixture import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PASS_TOKENS = 8192
"""Tokens of a forward pass, padding included."""


@torch.no_grad()
def embed_passages(model: "PreTrainedModel", passages: Sequence[Sequence[int]]) -> Array:
    """Return the mean last hidden state of each passage (`n x f`).

    Args:
        model: A causal language model; its head is not run.
        passages: Tokens of each (`n`), none empty.
    """
    model.eval()
    order = sorted(range(len(passages)), key=lambda i: -len(passages[i]))
    rows: dict[int, Array] = {}
    while order:
        longest = len(passages[order[0]])
        n = max(1, PASS_TOKENS // longest)
        chosen, order = order[:n], order[n:]
        padded = [[*passages[i], *[passages[i][0]] * (longest - len(passages[i]))] for i in chosen]
        tokens = torch.tensor(padded, device=model.device)
        lengths = torch.tensor([len(passages[i]) for i in chosen], device=model.device)
        # a causal model does not see the padding behind a passage
        states = model.base_model(input_ids=tokens).last_hidden_state.float()
        is_read = torch.arange(longest, device=model.device)[None] < lengths[:, None]
        means = (states * is_read[..., None]).sum(dim=1) / lengths[:, None]
        rows |= dict(zip(chosen, means.double().cpu().numpy(), strict=True))
    return np.stack([rows[i] for i in range(len(passages))])
