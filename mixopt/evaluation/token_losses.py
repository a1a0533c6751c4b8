"""Losses of tokens, a piece at a time, since float32 logits of all tokens can take gigabytes."""

import torch

PIECE = 512
"""Most tokens whose losses are computed at a time, in float32."""
CACHED_LOGITS = 1 << 18
"""Logits that a CPU takes at a time: 1 MiB, which its caches hold between the passes over them."""


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each token in float32 (`n`, nats).

    Args:
        logits: Of any floating type (`n x vocabulary`).
        targets: The tokens (`n`).
    """
    cached = max(8, CACHED_LOGITS // logits.shape[-1])
    piece = min(PIECE, cached) if logits.device.type == "cpu" else PIECE
    parts = zip(torch.split(logits, piece), torch.split(targets, piece), strict=True)
    return torch.cat([
        torch.nn.functional.cross_entropy(part.float(), own, reduction="none") for part, own in parts
    ])  # fmt: skip
