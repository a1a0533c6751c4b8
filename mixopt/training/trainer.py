"""Training of the base, the experts and the proxy runs, on transformers' `Trainer`.

bf16, accumulation, gradient checkpointing and several GPUs come with the Trainer. Ours are the
data, the last checkpoints' average, and the eye on the loss.
"""

import gc
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mixopt.config.training import ExpertTrainingConfig, TrainingConfig
from mixopt.errors import DivergedError, ModelError
from mixopt.training.checkpoint_averaging import checkpoint_weights
from mixopt.training.checkpointing import CheckpointCallback, CheckpointManager
from mixopt.training.dataset import MixtureDataset
from mixopt.training.device import Device
from mixopt.training.distributed import trained_tensors
from mixopt.training.step_law import OptimizerHyperparameters

log = logging.getLogger(__name__)

LOGIT_BYTES = 2 << 30
"""Memory for one forward pass's logits in float32 while training."""


@dataclass(frozen=True)
class TrainingOutcome:
    """What one training run came to.

    Attributes:
        name: Of the expert or proxy run.
        tokens: Tokens trained on.
        steps: Optimiser steps.
        losses: (step, mean loss in nats per token since the one before).
        flops: 6 x parameters x tokens (embedding look-ups counted as if multiplied).
    """

    name: str
    tokens: int
    steps: int
    losses: tuple[tuple[int, float], ...]
    flops: float


@dataclass(frozen=True)
class BatchPlan:
    """Sequences and steps of a run: whole batches that come closest to the recipe's tokens."""

    sequences_per_step: int
    device_batch: int
    accumulation: int
    steps: int

    @classmethod
    def of(
        cls,
        training: TrainingConfig,
        step: OptimizerHyperparameters,
        context: int,
        devices: int,
        *,
        vocabulary: int,
    ) -> "BatchPlan":
        """The plan for `training` on `devices` devices.

        Without `device_batch` a forward pass holds as many sequences as keep the logits within
        `LOGIT_BYTES`; what is left of the batch is accumulated, in equal parts.
        """
        wanted = max(1, round(step.batch_tokens / context))
        wanted = min(wanted, max(1, training.tokens // context))
        each = max(1, wanted // devices)
        most = training.device_batch or max(1, LOGIT_BYTES // (4 * vocabulary * context))
        per_device = max(n for n in range(1, each + 1) if each % n == 0 and n <= most)
        accumulation = each // per_device
        together = per_device * accumulation * devices
        steps = max(1, round(training.tokens / (together * context)))
        return cls(together, per_device, accumulation, steps)

    @property
    def sequences(self) -> int:
        """Sequences that the whole run reads."""
        return self.sequences_per_step * self.steps


def train(
    model: PreTrainedModel,
    dataset: MixtureDataset,
    training: TrainingConfig,
    step: OptimizerHyperparameters,
    plan: BatchPlan,
    *,
    name: str,
    scratch: Path,
    device: Device,
    seed: int,
    workplace: CheckpointManager | None = None,
) -> tuple[TrainingOutcome, dict[str, torch.Tensor]]:
    """What training `model` on `dataset` came to, and its trained tensors: its checkpoints' average.

    The rate rises over the warm-up and then, if the recipe does not say otherwise, stays (MergeMix:
    no decay, so that the experts keep moving along their domains' gradients).

    With a `workplace` it goes on from the last checkpoint there, to the last digit on a CPU.

    Raises:
        DivergedError: The loss stopped being finite; the message names run and step.
    """
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    watcher = _Watcher(name, plan.steps, _averaged_steps(training, plan.steps))
    keeper = None if workplace is None else CheckpointCallback(workplace, watcher)
    warmup = round(training.warmup_share * plan.steps)
    arguments = TrainingArguments(
        output_dir=str(scratch if workplace is None else workplace.folder),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.device_batch,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=step.learning_rate,
        **_schedule(training, plan.steps, warmup),
        warmup_steps=warmup,
        weight_decay=training.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=training.max_grad_norm,
        bf16=device.dtype == torch.bfloat16,
        use_cpu=device.name == "cpu",
        seed=seed,
        data_seed=seed,
        logging_steps=max(1, plan.steps // 50),
        logging_nan_inf_filter=False,
        train_sampling_strategy="sequential",  # the dataset's own order is random already
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=device.name != "cpu",
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    callbacks = [watcher] if keeper is None else [watcher, keeper]
    trainer = Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    try:
        found = None if keeper is None else keeper.found
        if found is not None:
            log.info("Training of %s goes on from step %s.", name, found.name.rpartition("-")[2])
        trainer.train(resume_from_checkpoint=None if found is None else str(found))
    except torch.OutOfMemoryError:
        raise ModelError(
            f"Training {name!r} ran out of memory with {plan.device_batch} sequences a pass; set a "
            "smaller training.device_batch, or gradient_checkpointing: true."
        ) from None
    finally:
        watcher.close()
    whole = watcher.finish(model)
    _require_finite(whole, name, plan.steps)
    tokens = plan.sequences * dataset.context
    del trainer
    gc.collect()  # the trainer and its optimiser refer to each other
    told = TrainingOutcome(
        name, tokens, plan.steps, tuple(watcher.losses), 6.0 * parameters * tokens
    )
    return told, whole


def _schedule(training: TrainingConfig, steps: int, warmup: int) -> dict[str, Any]:
    """What the Trainer is told of the rate after its warm-up."""
    if training.schedule == "constant":
        return {"lr_scheduler_type": "constant_with_warmup"}
    decay = min(round(training.decay_share * steps), steps - warmup)
    return {
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": decay, "decay_type": training.schedule},
    }


def _averaged_steps(training: TrainingConfig, steps: int) -> dict[int, float]:
    """The steps whose parameters are averaged, with their weights; the last is always one."""
    if not isinstance(training, ExpertTrainingConfig) or training.average_checkpoints == 1:
        return {}
    span = training.average_share * steps
    count = training.average_checkpoints
    places = sorted({max(1, round(steps - span * i / count)) for i in range(count)})
    weights = checkpoint_weights(training.average, len(places), floor=training.average_floor)
    return dict(zip(places, weights.tolist(), strict=True))


def _require_finite(whole: Mapping[str, torch.Tensor], name: str, step: int) -> None:
    for tensor in whole.values():
        if not torch.isfinite(tensor).all():
            raise _diverged(name, step)


def _diverged(name: str, step: int) -> DivergedError:
    return DivergedError(
        f"The loss of {name!r} stopped being finite at step {step}; lower training.learning_rate "
        "and run again (what is finished is kept)."
    )


class _Watcher(TrainerCallback):  # type: ignore[misc]
    """Shows progress, keeps the losses and the checkpoints' average, and stops what diverged."""

    def __init__(self, name: str, steps: int, averaged: Mapping[int, float]) -> None:
        self.name, self.averaged = name, averaged
        self.losses: list[tuple[int, float]] = []
        self.sums: dict[str, torch.Tensor] = {}
        self._bar = tqdm(
            total=steps, desc=f"training {name}", unit="step", mininterval=1.0, leave=False
        )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **_: Any,
    ) -> None:
        self._bar.update(state.global_step - self._bar.n)
        weight = self.averaged.get(state.global_step)
        if weight is not None and model is not None:
            for name, tensor in trained_tensors(model):
                value = tensor.float().cpu() * weight
                self.sums[name] = self.sums[name] + value if name in self.sums else value

    def finish(self, model: PreTrainedModel) -> dict[str, torch.Tensor]:
        """The average of the chosen steps' parameters, taken in float32, or the last ones.

        Taken from the parameters as they live, not from saved checkpoints: those of some
        architectures (mixtures of experts) are saved under other names and in other shapes.
        """
        last = {} if self.sums else {name: t.cpu() for name, t in trained_tensors(model)}
        return self.sums or last

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise _diverged(self.name, state.global_step)
        self.losses.append((state.global_step, loss))
        self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def close(self) -> None:
        self._bar.close()


def count_devices(device: Device) -> int:
    """Cards that train one model: those of this process, or one for each process of a launch."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched > 1:
        return launched
    return max(1, torch.cuda.device_count()) if device.name == "cuda" else 1


def save_expert(model: PreTrainedModel, folder: Path) -> None:
    """Writes an expert: its LoRA factors, or every parameter in float32.

    bfloat16 would round away the small steps that an expert is.
    """
    if hasattr(model, "peft_config"):
        model.save_pretrained(str(folder), safe_serialization=True)
        return
    tensors = {name: p.detach().float().cpu().contiguous() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors")
