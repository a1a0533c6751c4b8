"""The two models of ScaleBiO, and their step on one batch.

See `mixopt.baselines.scalebio`. Every batch has as many sequences of each domain, so that no source
lacks a gradient. Shapes: `d` domains.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mixopt.mixture import Array
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.layer_sampling import LayerSampler
from mixopt.training.online_training import OnlineSettings, by_domain, token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Validation = Callable[["PreTrainedModel"], torch.Tensor]
"""Adds the gradient of the validation loss on a batch of its own, and returns the loss."""


def plan_even_batches(plan: BatchPlan, d: int, tokens: int, context: int) -> BatchPlan:
    """Return a plan whose batches have as many sequences of every domain, for the same tokens.

    Args:
        plan: Batch sizes as runs have them.
        d: Number of domains.
        tokens: That the training reads.
        context: Tokens per sequence.
    """
    n = d * max(1, plan.sequences_per_step // d)
    steps = max(1, round(tokens / (n * context)))
    accumulation = math.ceil(n / plan.device_batch)
    return replace(plan, sequences_per_step=n, accumulation=accumulation, checkpoints=(steps,))


class TrainedPair:
    """Models w and u, trained on the same batches.

    Args:
        w: Follows the validation loss too.
        u: Follows the training loss alone.
        sequences: Draws batches.
        validation: The validation loss of w.
        settings: Of the training, with a plan by `plan_even_batches`.
        d: Number of domains.
        layers: Draws the layers that are trained; all are if left out.
    """

    def __init__(
        self,
        w: "PreTrainedModel",
        u: "PreTrainedModel",
        sequences: DomainSequences,
        validation: Validation,
        settings: OnlineSettings,
        d: int,
        layers: LayerSampler | None = None,
    ) -> None:
        self._layers = layers
        self.models, self._sequences, self._validation = (w, u), sequences, validation
        self._settings, self._d = settings, d
        self.optimizers = tuple(settings.make_optimizer(model) for model in self.models)

    def step(self, p: Array, penalty: float, rate: float) -> tuple[Array, Array]:
        """Take a step of both models; return the domains' losses of w and u before it (`d` each)."""
        with nullcontext() if self._layers is None else self._layers.step(self.optimizers):
            return self._step(p, penalty, rate)

    def _step(self, p: Array, penalty: float, rate: float) -> tuple[Array, Array]:
        plan, d = self._settings.plan, self._d
        n = plan.sequences_per_step
        batch, domains = self._sequences.draw(np.full(d, 1 / d), n)
        own = penalty * p[domains] * d / n
        found = []
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            model.train()
            losses = []
            for place in range(0, n, plan.device_batch):
                part = slice(place, place + plan.device_batch)
                tokens = batch[part].to(model.device)
                half = self._settings.in_bfloat16
                each = token_losses(model, tokens, in_bfloat16=half).mean(dim=1)
                (each @ torch.from_numpy(own[part]).to(each)).backward()  # type: ignore[no-untyped-call]
                losses.append(each.detach().double().cpu().numpy())
            if model is self.models[0]:
                self._validation(model)
            self._settings.descend(model, optimizer, rate)
            found.append(by_domain(np.concatenate(losses), domains, d))
        return found[0], found[1]
