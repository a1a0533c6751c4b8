"""Training of a few layers at a time, which saves the memory of the others' gradients and moments.

LISA, layerwise importance sampled AdamW (Pan et al. 2024, arXiv:2403.17919): of the blocks of a model a
few are drawn and trained for some steps, then others; embeddings, last norm and head are trained always.
The moments of AdamW are kept for what is trained and dropped when others are drawn, as in LISA's own
code; ScaleBiO's keeps them. Here ScaleBiO's models draw the same blocks: with others each, the
difference of their losses would tell of the blocks and not of the data.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from mixopt.errors import UserError

PERIOD = 20
"""Steps until other blocks are drawn, as ScaleBiO has it."""


class LayerSampler:
    """Draws the blocks that are trained, the same ones of each model.

    Args:
        models: Models of one architecture.
        layers: Blocks to train at a time.
        seed: Of the draws.
        period: Steps between draws.

    Raises:
        UserError: The models have no list of blocks, or fewer than `layers`.
    """

    def __init__(
        self, models: Sequence[torch.nn.Module], layers: int, seed: int, period: int = PERIOD
    ) -> None:
        self._blocks = [_find_blocks(model) for model in models]
        n = len(self._blocks[0])
        if not 0 < layers <= n:
            raise UserError(
                f"search.lisa_layers is {layers} and the model has {n} layers; give a number from 1 "
                f"to {n}."
            )
        self._layers, self._seed, self._period, self._calls = layers, seed, period, 0

    @property
    def drawn(self) -> list[int]:
        """Numbers of the blocks that the next step trains, increasing."""
        rng = np.random.default_rng([self._seed, self._calls // self._period])
        n = len(self._blocks[0])
        return sorted(rng.choice(n, self._layers, replace=False).tolist())

    @contextmanager
    def step(self, optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
        """Return a context for one step, in which the other blocks have no gradients.

        Outside of it all parameters are trainable, as checkpoints keep what is trainable.

        Args:
            optimizers: Of the models; the moments of the other blocks are dropped.
        """
        drawn = self.drawn
        frozen = [
            parameter
            for blocks in self._blocks
            for index, block in enumerate(blocks)
            if index not in drawn
            for parameter in block.parameters()
            if parameter.requires_grad
        ]
        for parameter in frozen:
            parameter.requires_grad_(False)
            for optimizer in optimizers:
                optimizer.state.pop(parameter, None)
        try:
            yield
            self._calls += 1
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def state(self) -> dict[str, list[float]]:
        """Return the number of steps."""
        return {"calls": [float(self._calls)]}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self._calls = int(state["calls"][0])


def _find_blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """Return the blocks of a model: its outermost list of modules."""
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) > 0:
            return module
    raise UserError(
        "search.lisa_layers needs a model with a list of layers, and this one has none."
    )
