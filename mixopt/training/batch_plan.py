"""Batches and steps of a training: how the tokens asked for are divided over devices and passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mixopt.config.training import TrainingConfig
from mixopt.errors import ConfigError
from mixopt.training.step_law import OptimizerHyperparameters

LOGIT_BYTES = 2 << 30
"""Memory for the logits of one training forward pass, in float32."""


@dataclass(frozen=True)
class BatchPlan:
    """Batch sizes and steps of a training, closest to the config's tokens in whole batches.

    Attributes:
        sequences_per_step: Sequences per optimizer step, over all devices.
        device_batch: Sequences per forward pass of one device.
        accumulation: Forward passes per optimizer step.
        warmup: Steps over which the learning rate rises.
        checkpoints: Steps after which the model is kept, increasing; the last one is the end.
    """

    sequences_per_step: int
    device_batch: int
    accumulation: int
    warmup: int
    checkpoints: tuple[int, ...]

    @classmethod
    def of(
        cls,
        training: TrainingConfig,
        step: OptimizerHyperparameters,
        context: int,
        devices: int,
        *,
        vocabulary: int,
        checkpoints: Sequence[int] = (),
    ) -> "BatchPlan":
        """Return the plan of a training.

        Batch and warm-up follow from the config's tokens, however long the run is, so that runs of
        several lengths differ in nothing else. A forward pass takes at most `device_batch` sequences,
        or as many as keep the logits within `LOGIT_BYTES`. Passes of a step are equally large, so not
        every batch can be had: it is the closest of at most twice the fewest passes of one device.
        Several devices share this batch, so that the result does not depend on their number.

        Args:
            training: The config.
            step: Learning rate and batch size.
            context: Tokens per sequence.
            devices: Devices that train one model.
            vocabulary: Tokens of the vocabulary.
            checkpoints: Tokens after which the model is kept, increasing; the last number is the
                length of the run. The config's tokens alone if left out.

        Raises:
            ConfigError: The devices cannot share the batch equally.
        """
        wanted = max(1, round(step.batch_tokens / context))
        wanted = min(wanted, max(1, training.tokens // context))
        most = training.device_batch or max(1, LOGIT_BYTES // (4 * vocabulary * context))
        size, passes = _divide_batch(wanted, most)
        together = size * passes
        if together % devices:
            whole = devices * math.ceil(together / devices)
            raise ConfigError(
                f"{devices} processes cannot share batches of {together} sequences equally; launch a "
                f"number that divides {together}, or set training.batch_tokens: {whole * context}."
            )
        own = together // devices
        per_device = max(size for size in range(1, min(most, own) + 1) if own % size == 0)
        accumulation = own // per_device

        def count_steps(tokens: int) -> int:
            return max(1, round(tokens / (together * context)))

        marks = sorted({count_steps(tokens) for tokens in checkpoints or [training.tokens]})
        warmup = round(training.warmup_share * count_steps(training.tokens))
        return cls(together, per_device, accumulation, warmup, tuple(marks))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.checkpoints[-1]

    @property
    def sequences(self) -> int:
        """Sequences of the whole training."""
        return self.sequences_per_step * self.steps


def _divide_batch(wanted: int, most: int) -> tuple[int, int]:
    """Return sequences per pass and passes per step of one device for about `wanted` sequences a step.

    The closest product wins, then the fewest passes. Up to twice the fewest are tried: 127 sequences, of
    which 64 fit, are two passes of 63 and not 127 of one.
    """
    fewest = max(1, math.ceil(wanted / most))
    plans = [
        (min(most, max(1, size)), passes)
        for passes in range(fewest, 2 * fewest + 1)
        for size in (math.floor(wanted / passes), math.ceil(wanted / passes))
    ]
    return min(plans, key=lambda plan: (abs(plan[0] * plan[1] - wanted), plan[1]))
