"""Input and output embeddings: vocabularies of different sizes, and tables that are tied or not.

Tokens are added at the end of a vocabulary, and rows are padded to a multiple of 8, 64 or 128 there, so
the first rows of both models are of the same tokens.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from mixopt.errors import ModelError
from mixopt.io.parsing import load_json
from mixopt.merging.checkpoint import Checkpoint, Rows
from mixopt.training.base_model import Layout

Resize = Literal["base", "largest"]
"""Vocabulary of a merge: the base's, or the largest of base and experts."""
log = logging.getLogger(__name__)

EMBEDDINGS = re.compile(
    r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|tok_embeddings|embeddings?)\.weight$"
)
"""Names of input embeddings."""
HEADS = re.compile(r"(^|\.)(lm_head|embed_out|output)\.(weight|bias)$")
"""Names of output embeddings."""
MOST_ROWS, MOST_SHARE = 1024, 0.1
"""Rows, and share of the base's, up to which another size is taken for padding and added tokens."""


def is_vocabulary(name: str) -> bool:
    """Return whether a tensor has a row for each token.

    Args:
        name: Of the tensor.
    """
    return bool(EMBEDDINGS.search(name) or HEADS.search(name))


def find_resized(
    shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Return which tensors differ by the size of the vocabulary alone.

    Args:
        shapes: Shapes of an expert's tensors.
        wanted: Those of its base.

    Returns:
        The expert's rows by name; empty if anything else differs.
    """
    unlike = {name for name, shape in shapes.items() if shape != wanted[name]}
    sizes = {(shapes[name][:1], wanted[name][:1]) for name in unlike}
    alike = all(is_vocabulary(name) and shapes[name][1:] == wanted[name][1:] for name in unlike)
    if not alike or len(sizes) != 1 or not all(shapes[name] for name in unlike):
        return {}
    return {name: shapes[name][0] for name in unlike}


def warn_of_resize(expert: Path, rows: int, of_base: int, *, resize: Resize | None) -> None:
    """Log a warning on the rows that only one of expert and base has.

    Args:
        expert: Folder of the expert.
        rows: Its rows.
        of_base: The base's.
        resize: The vocabulary that the user asks for; None if the sizes may be a mistake.

    Raises:
        ModelError: The sizes are those of different tokenizers, and the user does not ask for it.
    """
    apart = abs(rows - of_base)
    if resize is None and apart > max(MOST_ROWS, MOST_SHARE * of_base):
        raise ModelError(
            f"{expert} has {rows:,} tokens in its vocabulary and the base {of_base:,}, which is another "
            "tokenizer; use an expert of this base, or, where the first tokens are the same, merge it "
            "with --resize base (resize=)."
        )
    rest = f"the base's last {apart:,} rows are not changed by it"
    if rows > of_base:
        rest = f"its last {apart:,} rows are " + ("added" if resize == "largest" else "dropped")
    log.warning(
        "%s has a vocabulary of %s rows and the base %s: the first %s are merged, and %s.",
        expert, f"{rows:,}", f"{of_base:,}", f"{min(rows, of_base):,}", rest,
    )  # fmt: skip


def select_rows(rows: Rows | None, count: int, total: int) -> tuple[Rows, Rows]:
    """Divide the rows that are asked for into those that an expert has.

    Args:
        rows: Rows of the base that are asked for; all if None.
        count: Rows of the expert.
        total: Rows of the base.

    Returns:
        Where they lie among the rows asked for, and which rows of the expert they are.
    """
    if isinstance(rows, torch.Tensor):
        own = rows < count
        return own, rows[own]
    start, stop, _ = (rows or slice(None)).indices(total)
    stop = max(start, min(stop, count))
    return slice(0, stop - start), slice(start, stop)


def average_rows(parts: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return rows that the base lacks: the weighted mean of the experts that have each of them.

    Args:
        parts: Rows of each expert (`r_k x width` or `r_k`), which all begin at the same row.
        weights: Weight of each expert (`k`); if those of a row sum to 0, they count alike.

    Returns:
        As many rows as the longest part, in float32.
    """
    longest = max(parts, key=len)
    total = torch.zeros(longest.shape, dtype=torch.float32)
    mean, mass, count = total.clone(), torch.zeros(len(longest)), torch.zeros(len(longest))
    for part, weight in zip(parts, weights, strict=True):
        total[: len(part)] += weight * part.float()
        mean[: len(part)] += part.float()
        mass[: len(part)] += weight
        count[: len(part)] += 1
    wide = (-1, *[1] * (longest.dim() - 1))
    known = mass.abs() > 1e-12
    weighted = total / torch.where(known, mass, torch.ones_like(mass)).view(wide)
    return torch.where(known.view(wide), weighted, mean / count.view(wide))


def untied_names(checkpoint: Checkpoint, layout: Layout) -> list[str]:
    """Return names that share a tensor in the base and hold another one in a checkpoint.

    Args:
        checkpoint: Of an expert.
        layout: Of the base.
    """
    pairs = [(o, n) for o, n in layout.tied.items() if o in checkpoint and n in checkpoint]
    return [
        o
        for o, n in pairs
        if o not in layout.shapes and not torch.equal(checkpoint.read(o), checkpoint.read(n))
    ]


def is_tied(folder: Path) -> bool:
    """Return whether the `config.json` of a model says that input and output embeddings are one.

    Args:
        folder: Of the model.
    """
    file = folder / "config.json"
    try:
        config = load_json(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("tie_word_embeddings") is True


def untie(layout: Layout, experts: Sequence[Checkpoint]) -> tuple[Layout, dict[str, str]]:
    """Give the base output embeddings of their own where an expert has them.

    Args:
        layout: Of the base.
        experts: Their full weights.

    Returns:
        The layout, and which tensor of the base stands for each new one.
    """
    heads: dict[str, str] = {}
    for expert in experts:
        expert.align({*layout.shapes, *layout.tied})
        for name in untied_names(expert, layout):
            log.warning(
                "%s has an output table of its own (%s), and the base uses its input embeddings for it: "
                "the merge has both.", expert.folder, name,
            )  # fmt: skip
            heads[name] = layout.tied[name]
    shapes = {name: layout.shapes[own] for name, own in heads.items()}
    return replace(layout, shapes={**layout.shapes, **shapes}), heads
