"""Documents and the hold-out split."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.config.text import SplitTextConfig
from mixopt.errors import DataError


@dataclass(frozen=True)
class Document:
    """A text and its group.

    Attributes:
        text: The text.
        group: Unit of the hold-out split, such as the document's file; a group is never split.
        part: Index of the part of the text that it is from, in a sample.
        value: Value of the field by which the text is split; None of other texts.
    """

    text: str
    group: str
    part: int = 0
    value: Any = None


@dataclass(frozen=True, eq=False)
class TokenDocument(Document):
    """A document that is tokenized already; its text is empty.

    Attributes:
        tokens: Its tokens, without separators.
    """

    tokens: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, dtype=np.uint32))


def tell_empty_side(name: str, split: SplitTextConfig, what: str) -> DataError:
    """Return the error of a text that has nothing on its side of the split.

    Args:
        name: Of the text (`The text of a.txt`).
        split: Its side, and the share that is held out.
        what: What is on the other side (`its only document is`).
    """
    other = "held-out" if split.part == "train" else "train"
    return DataError(
        f"{name} has nothing on its {split.part} side: {what} on the {other} side of the split "
        f"(heldout_share: {split.heldout_share:g}; a group is on one side); give more documents or "
        "groups, or part: all."
    )


def is_held_out(group: str, split: SplitTextConfig) -> bool:
    """Return whether a group is held out; its hash decides, so that it never changes sides.

    Args:
        group: Of the document.
        split: Sets the share of groups that are held out.
    """
    digest = hashlib.blake2b(group.encode(), digest_size=8, person=b"holdout").digest()
    return int.from_bytes(digest, "big") / 2**64 < split.heldout_share
