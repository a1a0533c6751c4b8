"""Packing of requests into sequences that compute a shared prefix once (as prefix caching in vLLM does).

A packed sequence is a prefix and the branches that continue it, one after another. Each branch attends
to the prefix and to itself, at the positions that it would have alone. The scores equal those of one
sequence per request, for a fraction of the tokens.

Shapes: `b` packed sequences of `t` tokens, `n` scored tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from mixopt.evaluation.tasks.base import Request

BORDER = 4
"""Tokens by which contexts that share a prefix may differ at their end, because a token can span the
border between prompt and choice."""
SHORTEST_SHARED = 8
"""Fewest tokens of a prefix for which sharing outweighs the cost of an attention mask."""
MASK_CELLS = 1 << 26
"""Most cells (`b x t x t`) of a batch's attention mask."""
PACKED_TOKENS = 4096
"""Most tokens of a packed sequence whose branches are longer than its prefix."""


@dataclass(frozen=True)
class PackedSequence:
    """Requests that share a prefix.

    Attributes:
        prefix: Tokens that they share.
        branches: Tokens that follow for each request, its target last.
        requests: Indices of the requests.
    """

    prefix: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    requests: tuple[int, ...]

    @property
    def length(self) -> int:
        """Number of input tokens: the last token of each branch is only predicted."""
        return len(self.prefix) + sum(len(branch) - 1 for branch in self.branches)

    @property
    def reach(self) -> int:
        """Tokens of the prefix and the longest branch, the farthest that a token attends."""
        return len(self.prefix) + max(len(branch) - 1 for branch in self.branches)


@dataclass(frozen=True)
class Batch:
    """Packed sequences of one forward pass.

    Attributes:
        tokens: Input tokens (`b x t`), padded on the right.
        at: Index in the flattened logits (`b·t`) that predicts each scored token (`n`).
        targets: Scored tokens (`n`).
        places: Index of each scored token in the log-probabilities of all requests (`n`).
        positions: Position of each token (`b x t`); None without branches.
        owner: Branch of each token (`b x t`), 0 for the prefix and −1 for padding, of which `make_mask`
            makes the attention mask; None without branches.
    """

    tokens: torch.Tensor
    at: torch.Tensor
    targets: torch.Tensor
    places: np.ndarray
    positions: torch.Tensor | None = None
    owner: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        fields: dict[str, Any] = vars(self)
        moved = {n: v.to(device) for n, v in fields.items() if isinstance(v, torch.Tensor)}
        return Batch(**fields | moved)


def pack_requests(
    requests: Sequence[Request], *, shared: bool, most_targets: int | None = None
) -> list[PackedSequence]:
    """Pack requests.

    Attention costs the square of a sequence's length, so many requests with one prefix are divided into
    several sequences, each with the prefix.

    Args:
        requests: The requests.
        shared: Whether consecutive requests with a common prefix are packed together; otherwise each
            request has a sequence of its own.
        most_targets: Most scored tokens of a sequence whose branches are longer than its prefix.

    Returns:
        Packed sequences, in the order of the requests.
    """
    rows: list[PackedSequence] = []
    start = 0
    while start < len(requests):
        stop = start + 1
        prefix = tuple(requests[start].context)
        longest, n_targets = len(prefix), len(requests[start].target)
        total = longest + n_targets - 1  # input tokens of the members, each with its own context
        while shared and stop < len(requests):
            context, target = requests[stop].context, requests[stop].target
            common = _common_prefix(prefix, context)
            longest = max(longest, len(context))
            n_targets += len(target)
            total += len(context) + len(target) - 1
            if common < max(SHORTEST_SHARED, longest - BORDER):
                break
            length = total - (stop - start) * common
            too_large = length > PACKED_TOKENS or (most_targets or n_targets) < n_targets
            if length**2 > MASK_CELLS or (too_large and length > 2 * common):
                break
            prefix = prefix[:common]
            stop += 1
        members = requests[start:stop]
        branches = tuple((*r.context[len(prefix) :], *r.target) for r in members)
        rows.append(PackedSequence(prefix, branches, tuple(range(start, stop))))
        start = stop
    return rows


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    differing = (place for place, (a, b) in enumerate(pairs) if a != b)
    return next(differing, min(len(one), len(other)))


def make_batches(
    rows: Sequence[PackedSequence],
    requests: Sequence[Request],
    offsets: np.ndarray,
    *,
    most_tokens: int,
    most_targets: int,
    pass_tokens: int = 0,
) -> list[Batch]:
    """Batch packed sequences of similar length, the longest first, at the least cost.

    A batch costs its tokens, padding included, and `pass_tokens`. Batches are runs of the sequences in
    the order of their length, and the best runs are found by dynamic programming.

    Args:
        rows: The packed sequences.
        requests: The requests that they were packed from.
        offsets: Index of each request's first target in the log-probabilities of all requests.
        most_tokens: Most tokens of a batch, padding included; a longer sequence is a batch of its own.
        most_targets: Most scored tokens of a batch; with the same exception.
        pass_tokens: Tokens whose computation takes as long as what a pass costs beside its tokens.

    Returns:
        Batches (`b x t`), those without attention mask first.
    """
    batches: list[list[PackedSequence]] = []
    # sequences without branches need no mask and use the fast path of attention
    for branched in (False, True):
        alike = [row for row in rows if (len(row.branches) > 1) == branched]
        alike.sort(key=lambda row: -row.length)
        lengths = np.array([row.length for row in alike], dtype=np.int64)
        scored = [sum(len(requests[index].target) for index in row.requests) for row in alike]
        cells = MASK_CELLS if branched else None
        borders = _divide(lengths, np.array(scored), most_tokens, most_targets, cells, pass_tokens)
        batches += [alike[start:stop] for start, stop in pairwise(borders)]
    return [_to_batch(batch, requests, offsets) for batch in batches]


def _divide(
    lengths: np.ndarray,
    scored: np.ndarray,
    most_tokens: int,
    most_targets: int,
    most_cells: int | None,
    pass_tokens: int,
) -> list[int]:
    """Return the borders of the batches of sequences in the order of their length, with 0 and `len`."""
    n = len(lengths)
    if not n:
        return [0]
    least, start = np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    targets = np.concatenate([[0], np.cumsum(scored)])
    first = 0
    for stop in range(1, n + 1):
        begin = np.arange(first, stop)
        count, longest = stop - begin, lengths[begin]
        fits = (count * longest <= most_tokens) & (targets[stop] - targets[begin] <= most_targets)
        if most_cells is not None:
            fits &= count * longest * longest <= most_cells
        fits[-1] = True
        # a batch that is too large stays so with one more sequence
        first += int(fits.argmax())
        begin, count, longest = begin[fits], count[fits], longest[fits]
        costs = least[begin] + pass_tokens + count * longest
        best = int(costs.argmin())
        least[stop], start[stop] = costs[best], begin[best]
    borders = [n]
    while borders[-1]:
        borders.append(int(start[borders[-1]]))
    return borders[::-1]


def _to_batch(
    rows: Sequence[PackedSequence], requests: Sequence[Request], offsets: np.ndarray
) -> Batch:
    length = max(row.length for row in rows)
    tokens = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros((len(rows), length), dtype=np.int64)
    owner = np.full((len(rows), length), -1, dtype=np.int64)
    at: list[int] = []
    targets: list[int] = []
    places: list[np.ndarray] = []
    for r, row in enumerate(rows):
        n = len(row.prefix)
        tokens[r, :n], positions[r, :n], owner[r, :n] = row.prefix, np.arange(n), 0
        end = n
        for b, (branch, index) in enumerate(zip(row.branches, row.requests, strict=True), start=1):
            fed = len(branch) - 1
            part = slice(end, end + fed)
            tokens[r, part], owner[r, part] = branch[:-1], b
            positions[r, part] = np.arange(n, n + fed)
            # the end of the prefix predicts the first token of a branch, each token the next one
            predicted_at = [n - 1, *range(end, end + fed)]
            target = requests[index].target
            at += [r * length + place for place in predicted_at[-len(target) :]]
            targets += target
            places.append(np.arange(offsets[index], offsets[index] + len(target)))
            end += fed
    branched = any(len(row.branches) > 1 for row in rows)
    return Batch(
        torch.from_numpy(tokens), torch.tensor(at), torch.tensor(targets), np.concatenate(places),
        torch.from_numpy(positions) if branched else None,
        torch.from_numpy(owner) if branched else None,
    )  # fmt: skip


def make_mask(owner: torch.Tensor) -> torch.Tensor:
    """Build the attention mask of packed sequences.

    A token attends to itself and to earlier tokens of the prefix and its own branch. Padding attends to
    itself, because attention to nothing gives NaN.

    Args:
        owner: Branch of each token (`b x t`), 0 for the prefix and −1 for padding.

    Returns:
        Mask (`b x 1 x t x t`), True where a token attends.
    """
    length = owner.shape[1]
    backwards = torch.ones(length, length, dtype=torch.bool, device=owner.device).tril()
    seen, looking = owner[:, None, :], owner[:, :, None]
    allowed = backwards & ((seen == 0) | (seen == looking))
    return (allowed | torch.eye(length, dtype=torch.bool, device=owner.device))[:, None]
