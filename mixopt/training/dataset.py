"""Training sequences drawn from tokenized corpora by mixture ratios."""

from collections.abc import Mapping

import numpy as np
import torch

from mixopt.data.corpus import Corpus
from mixopt.errors import DataError
from mixopt.mixture import Mixture, apportion


class MixtureDataset(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sequences drawn from corpora by mixture ratios, in an order fixed by a seed.

    Sequences per domain are apportioned by largest remainder, so that the realized mixture deviates by
    less than one sequence. No window of a domain repeats before all of them have been read.

    Args:
        corpora: Corpus of each domain.
        ratios: Mixture ratios of the tokens (`d`).
        sequences: Number of sequences (`n`).
        context: Tokens per sequence (`c`); an item holds `input_ids` and `labels` of this length.
        seed: Seed of windows and order.

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
        rng = np.random.default_rng(seed)
        shares = ratios.vector(list(ratios))
        counts = apportion(shares / shares.sum() * sequences, sequences)
        domains, windows = [], []
        for index, (name, count) in enumerate(zip(ratios, counts.tolist(), strict=True)):
            available = corpora[name].tokens // context
            if count and not available:
                raise DataError(
                    f"Domain {name!r} has {corpora[name].tokens:,} tokens, less than one sequence "
                    f"of {context}; give it more text or a shorter context."
                )
            domains.append(np.full(count, index))
            passes = [rng.permutation(available) for _ in range(-(-count // max(available, 1)))]
            windows.append(np.concatenate([np.empty(0, np.int64), *passes])[:count])
        order = rng.permutation(sequences)
        self._domains = np.concatenate(domains)[order]
        self._windows = np.concatenate(windows).astype(np.int64)[order]

    def __len__(self) -> int:
        return len(self._domains)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        corpus = self.corpora[self._domains[index]]
        read = corpus.read(int(self._windows[index]) * self.context, self.context)
        tokens = torch.from_numpy(read)
        return {"input_ids": tokens, "labels": tokens}
