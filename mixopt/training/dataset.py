"""Training sequences drawn from tokenized corpora by mixture ratios, in an order that is prefix-stable.

A long run begins with the sequences of a short one, so that its checkpoint is a run of its own. Windows
of a domain follow from seed and domain alone, so that two mixtures with one seed read the same text of a
domain: their difference holds less noise than that of two seeds.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mixopt.data.corpus import Corpus
from mixopt.errors import DataError
from mixopt.mixture import Mixture


class MixtureDataset(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sequences drawn from corpora by mixture ratios, in an order fixed by a seed.

    No window of a domain repeats before all of them have been read.

    Args:
        corpora: Corpus of each domain.
        ratios: Mixture ratios of the tokens (`d`).
        sequences: Number of sequences (`n`).
        context: Tokens per sequence (`c`); an item holds `input_ids` and `labels` of this length.
        seed: Seed of the windows.

    Raises:
        DataError: A domain's corpus is shorter than one sequence.
    """

    def __init__(
        self,
        corpora: Mapping[str, Corpus],
        ratios: Mixture,
        *,
        sequences: int,
        context: int,
        seed: int,
    ) -> None:
        self.context = context
        self.corpora = [corpora[name] for name in ratios]
        self._domains = interleave(ratios.vector(list(ratios)), sequences)
        self._windows = np.empty(sequences, np.int64)
        for index, name in enumerate(ratios):
            places = np.flatnonzero(self._domains == index)
            available = corpora[name].tokens // context
            if len(places) and not available:
                raise DataError(
                    f"Domain {name!r} has {corpora[name].tokens:,} tokens, less than one sequence "
                    f"of {context}; give it more text or a shorter context."
                )
            self._windows[places] = _windows(name, len(places), available, seed)

    def __len__(self) -> int:
        return len(self._domains)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        corpus = self.corpora[self._domains[index]]
        read = corpus.read(int(self._windows[index]) * self.context, self.context)
        tokens = torch.from_numpy(read)
        return {"input_ids": tokens, "labels": tokens}


def interleave(ratios: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return the domain of each of `n` sequences by Webster's method of apportionment.

    The j-th sequence of domain k stands where λ_k·t reaches j − 1/2. A longer order begins with a
    shorter one (the method is house-monotone; Balinski & Young, Fair Representation, 1982), and after
    each t a domain has been read λ_k·t times, up to about one.

    Args:
        ratios: λ (`d`), which sum to 1.
        n: Number of sequences.

    Returns:
        Index of a domain (`n`).
    """
    shares = np.asarray(ratios, dtype=np.float64)
    counts = np.where(shares > 0, np.ceil(shares * n) + 1, 0).astype(np.int64)
    domains = np.repeat(np.arange(len(shares)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    return domains[np.argsort((number + 0.5) / shares[domains], kind="stable")][:n]


def _windows(name: str, n: int, available: int, seed: int) -> NDArray[np.int64]:
    """Return `n` windows of a domain: one permutation of all of them after another."""
    passes = [permute_windows(name, available, seed, e) for e in range(-(-n // max(available, 1)))]
    return np.concatenate([np.empty(0, np.int64), *passes])[:n]


def permute_windows(name: str, available: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which the windows of a domain are read in an epoch.

    Args:
        name: The domain.
        available: Number of windows (`w`).
        seed: Seed of the order.
        epoch: From 0.

    Returns:
        Windows (`w`).
    """
    own = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng([seed, own, epoch]).permutation(available)
