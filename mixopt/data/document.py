"""A document, and the side of the hold-out split that it is on."""

import hashlib
from dataclasses import dataclass

from mixopt.config.text import SplitTextConfig


@dataclass(frozen=True)
class Document:
    """A text, and the unit of the hold-out split that it belongs to (its file, say)."""

    text: str
    group: str


def is_held_out(group: str, split: SplitTextConfig) -> bool:
    """Whether `group` is on the held-out side: decided by its hash, so it never changes sides."""
    digest = hashlib.blake2b(group.encode(), digest_size=8, person=b"holdout").digest()
    return int.from_bytes(digest, "big") / 2**64 < split.heldout_share
