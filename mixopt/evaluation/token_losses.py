"""Losses of tokens, a piece at a time, since float32 logits of all tokens can take gigabytes."""

import torch

PIECE = 512
"""Tokens whose losses are computed at a time, in float32."""


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each token in float32 (`n`, nats).

    Args:
        logits: Of any floating type (`n x vocabulary`).
        targets: The tokens (`n`).
    """
    parts = zip(torch.split(logits, PIECE), torch.split(targets, PIECE), strict=True)
    return torch.cat([
        torch.nn.functional.cross_entropy(part.float(), own, reduction="none") for part, own in parts
    ])  # fmt: skip
