"""Sequences of single domains, as many as each batch asks for.

Windows of a domain come in the order in which runs read them, so that a training with changing weights
reads the same text. Shapes: `d` domains, `n` sequences, `c` tokens of context.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.data.corpus import Corpus
from mixopt.errors import DataError
from mixopt.mixture import Array, apportion
from mixopt.training.dataset import permute_windows


class DomainSequences:
    """Draws batches from domains by shares that may change.

    Args:
        corpora: Corpus of each domain (`d`).
        context: Tokens per sequence (`c`).
        seed: Seed of the windows.
        max_epochs: How often the text of a domain may be read.

    Raises:
        DataError: A domain's corpus is shorter than one sequence.
    """

    def __init__(
        self, corpora: Mapping[str, Corpus], *, context: int, seed: int, max_epochs: float
    ) -> None:
        self._corpora, self._context, self._seed = dict(corpora), context, seed
        self._max_epochs = max_epochs
        self._available = {name: corpus.tokens // context for name, corpus in corpora.items()}
        for name, available in self._available.items():
            if not available:
                raise DataError(
                    f"Domain {name!r} has {corpora[name].tokens:,} tokens, less than one sequence of "
                    f"{context}; give it more text or a shorter context."
                )
        self._read = np.zeros(len(corpora), np.int64)
        self._owed = np.zeros(len(corpora))
        self._orders: dict[str, tuple[int, NDArray[np.int64]]] = {}

    def draw(self, shares: Array, n: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
        """Return a batch.

        Over the batches each domain is read in proportion to its shares, up to one sequence.

        Args:
            shares: Share of each domain (`d`), which sum to 1.
            n: Number of sequences.

        Returns:
            Tokens (`n x c`), and the index of each sequence's domain (`n`), ascending.

        Raises:
            DataError: A domain would be read more often than `max_epochs`.
        """
        self._owed += n * np.asarray(shares)
        due = np.maximum(self._owed, 0.0)
        counts = apportion(due / due.sum() * n, n)
        self._owed -= counts
        rows = [
            torch.from_numpy(self._next(index, name))
            for index, (name, count) in enumerate(zip(self._corpora, counts, strict=True))
            for _ in range(count)
        ]
        return torch.stack(rows), np.repeat(np.arange(len(counts)), counts)

    def _next(self, index: int, name: str) -> NDArray[np.int64]:
        epoch, place = divmod(int(self._read[index]), self._available[name])
        if self._read[index] >= self._max_epochs * self._available[name]:
            raise DataError(
                f"The method would read {name!r} more than training.max_epochs = {self._max_epochs:g} "
                "times; give it more text, or raise max_epochs."
            )
        if self._orders.get(name, (-1,))[0] != epoch:
            order = permute_windows(name, self._available[name], self._seed, epoch)
            self._orders[name] = epoch, order
        self._read[index] += 1
        window = int(self._orders[name][1][place])
        return self._corpora[name].read(window * self._context, self._context)

    def state(self) -> dict[str, list[float]]:
        """Return what was read and is owed, so that a training that was stopped goes on."""
        read = [float(count) for count in self._read]
        return {"read": read, "owed": self._owed.tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self._read = np.array(state["read"], dtype=np.int64)
        self._owed = np.array(state["owed"])
