"""Training of the base, experts and mixtures on transformers' `Trainer`.

The Trainer provides bf16, gradient accumulation, gradient checkpointing and several processes. This
module adds the order of the data, the average of the last checkpoints, and the check of the loss.
"""

import gc
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from mixopt.config.training import ExpertTrainingConfig, TrainingConfig
from mixopt.errors import DivergedError, ModelError
from mixopt.io.progress import Work
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpoint_callback import CheckpointCallback, check_shards
from mixopt.training.checkpoint_weights import checkpoint_weights
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.dataset import MixtureDataset
from mixopt.training.device import Device
from mixopt.training.distributed import trained_tensors
from mixopt.training.outcome import TrainingOutcome
from mixopt.training.step_law import OptimizerHyperparameters

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


@cache
def exclude_libraries_from_collection() -> None:
    """Let the garbage collector pass over what is loaded now, once in a process.

    Each training collects garbage twice. With torch and transformers loaded that looks through
    half a million objects of theirs, which live as long as the process (0.5 s each time). Called before
    a model is loaded, which may be garbage later.
    """
    gc.collect()
    gc.freeze()


def train(
    model: PreTrainedModel,
    dataset: MixtureDataset,
    training: TrainingConfig,
    step: OptimizerHyperparameters,
    plan: BatchPlan,
    *,
    name: str,
    device: Device,
    seed: int,
    checkpoints: CheckpointManager,
    on_checkpoint: Callable[[int, Mapping[str, torch.Tensor]], None] = lambda *_: None,
) -> tuple[TrainingOutcome, dict[str, torch.Tensor]]:
    """Train a model in place.

    The learning rate rises over the warm-up and then stays constant unless the config sets a schedule
    (MergeMix, arXiv:2601.17858: without decay, experts keep moving along their domains' gradients).

    Args:
        model: The model.
        dataset: Sequences, in the order in which they are read.
        training: Schedule, regularization and averaging.
        step: Learning rate and batch size.
        plan: Batch sizes and steps.
        name: Name of the run, for progress and errors.
        device: Device that trains.
        seed: Seed of dropout.
        checkpoints: Training resumes from the last one, bit for bit on a CPU.
        on_checkpoint: Called with step and averaged tensors at each of the plan's checkpoints but the
            last; once more for those that are passed again after a resumption.

    Returns:
        Summary of the training, and the trained tensors by name, averaged over checkpoints; of several
        processes only the main one gets tensors, here and in `on_checkpoint`.

    Raises:
        DivergedError: The loss became infinite or NaN; the message names run and step.
        ModelError: A forward pass does not fit into memory, or the first gradient is not finite.
        UserError: The last checkpoint was saved with FSDP and this training is without, or the reverse.
    """
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    averages = {end: _averaged_steps(training, end) for end in plan.checkpoints}
    processes = checkpoints.processes
    monitor = _TrainingMonitor(name, averages, on_checkpoint, keeps=processes.is_main)
    checkpointing = CheckpointCallback(checkpoints, monitor.losses, monitor.sums)
    every = max(1, plan.steps // 50)
    arguments = TrainingArguments(
        output_dir=str(checkpoints.folder),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.device_batch,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=step.learning_rate,
        **_schedule(training, plan.steps, plan.warmup),
        warmup_steps=plan.warmup,
        weight_decay=training.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=training.max_grad_norm,
        bf16=trains_in_bfloat16(training, device),
        use_cpu=device.name == "cpu",
        seed=seed,
        data_seed=seed,
        logging_steps=every,
        logging_nan_inf_filter=False,
        train_sampling_strategy="sequential",  # the dataset is in random order already
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        # text alone leaves the encoders of images and sound without gradients
        ddp_find_unused_parameters=model.config.get_text_config() is not model.config,
        dataloader_pin_memory=device.name != "cpu",
    )
    _use_one_device(arguments)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    callbacks = [monitor, checkpointing]
    trainer = Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    try:
        resumed = checkpointing.resumed_from
        if resumed is not None:
            check_shards(resumed, name, is_sharded=trainer.is_fsdp_enabled)
            log.info("Training of %s goes on from step %s.", name, resumed.name.rpartition("-")[2])
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    except torch.OutOfMemoryError:
        raise ModelError(
            f"Training {name!r} ran out of memory with {plan.device_batch} sequences a pass; set a "
            "smaller training.device_batch, or gradient_checkpointing: true."
        ) from None
    finally:
        monitor.work.close()
    tensors = monitor.average(model, plan.steps)
    is_finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    if not processes.broadcast(is_finite):  # the others hold no tensors, and end like the main one
        raise _diverged(name, plan.steps)
    del trainer
    gc.collect()  # the trainer and its optimizer refer to each other
    tokens = plan.sequences * dataset.context
    flops = 6.0 * parameters * tokens
    losses = tuple(merge_losses(monitor.losses, every))
    return TrainingOutcome(name, tokens, plan.steps, losses, flops), tensors


def merge_losses(losses: Iterable[tuple[int, float]], every: int) -> Iterator[tuple[int, float]]:
    """Yield the mean loss of every so many steps, however many checkpoints were saved in between.

    Args:
        losses: Pairs of a step and the mean loss since the pair before; the multiples of `every` are
            among the steps.
        every: Steps between two pairs that are yielded.
    """
    before, parts = 0, list[tuple[int, float]]()
    for step, loss in losses:
        parts.append((step - before, loss))
        before = step
        if step % every == 0:
            # alone it stays as it is, to the last digit
            yield step, loss if len(parts) == 1 else sum(n * part for n, part in parts) / every
            parts = []


def trains_in_bfloat16(training: TrainingConfig, device: Device) -> bool:
    """Return whether matrix products of a training are in bfloat16.

    Args:
        training: Whose `mixed_precision` decides, unless it is `auto`.
        device: Whose type decides then.
    """
    asked = training.mixed_precision
    return device.dtype == torch.bfloat16 if asked == "auto" else asked == "bfloat16"


def _use_one_device(arguments: TrainingArguments) -> None:
    """Keep the Trainer from torch's DataParallel, which it takes where this process sees several cards.

    Its replicas leave out the autocast to bfloat16, and the batch would depend on the number of cards.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def _schedule(training: TrainingConfig, steps: int, warmup: int) -> dict[str, Any]:
    if not training.decays:
        return {"lr_scheduler_type": "constant_with_warmup"}
    decay = count_decay_steps(training, steps, warmup)
    shape = {"num_decay_steps": decay, "decay_type": training.schedule}
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": shape}


def find_decayed(model: torch.nn.Module) -> set[str]:
    """Return the names of the parameters that weight decay applies to: all but norms and biases.

    Args:
        model: The model.
    """
    # the method reads the model alone, and no state of the Trainer
    return set(Trainer.get_decay_parameter_names(Trainer.__new__(Trainer), model))


def count_decay_steps(training: TrainingConfig, steps: int, warmup: int) -> int:
    """Return the steps at the end over which a decaying schedule falls to zero.

    Args:
        training: The config, whose schedule is not constant.
        steps: Of the whole training.
        warmup: Steps over which the rate rises; a training that ends before them does not decay.
    """
    return max(0, min(round(training.decay_share * steps), steps - warmup))


def _averaged_steps(training: TrainingConfig, steps: int) -> dict[int, float]:
    if not isinstance(training, ExpertTrainingConfig) or training.average_checkpoints == 1:
        return {}
    span = training.average_share * steps
    count = training.average_checkpoints
    averaged = sorted({max(1, round(steps - span * i / count)) for i in range(count)})
    weights = checkpoint_weights(training.average, len(averaged), floor=training.average_floor)
    return dict(zip(averaged, weights.tolist(), strict=True))


def _diverged(name: str, step: int) -> DivergedError:
    return DivergedError(
        f"The loss of {name!r} stopped being finite at step {step}; lower training.learning_rate "
        "and run again (what is finished is kept)."
    )


class _TrainingMonitor(TrainerCallback):  # type: ignore[misc]
    """Average parameters up to each checkpoint, and watch the loss.

    Args:
        name: Name of the run.
        averages: Weight of each averaged step, by the checkpoint that it is averaged for.
        on_checkpoint: Receives the averages.
        keeps: Whether this process keeps tensors; the main one does.

    Attributes:
        losses: Pairs of a step and the mean loss since the pair before.
        sums: Weighted sums of parameters, by `STEP:NAME`, of the checkpoints still to come.
    """

    def __init__(
        self,
        name: str,
        averages: Mapping[int, Mapping[int, float]],
        on_checkpoint: Callable[[int, Mapping[str, torch.Tensor]], None],
        *,
        keeps: bool,
    ) -> None:
        self.name, self.averages, self.on_checkpoint = name, averages, on_checkpoint
        self._keeps = keeps
        self.losses: list[tuple[int, float]] = []
        self.sums: dict[str, torch.Tensor] = {}
        self._last = max(averages)
        self.work = Work(f"training {name}", total=self._last, unit="step")

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: Any, model: Any = None, **_: Any
    ) -> None:
        # the first gradient does not depend on the learning rate
        if state.global_step > 0 or model is None:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            raise ModelError(
                f"The model that {self.name!r} starts from has no finite loss and gradient before any "
                "step: its weights are damaged or too large; give another base."
            )

    def on_step_end(
        self, args: Any, state: TrainerState, control: Any, model: Any = None, **_: Any
    ) -> None:
        step = state.global_step
        self.work.advance(step - self.work.done)
        if model is None:
            return
        weights = {end: share[step] for end, share in self.averages.items() if step in share}
        for name, tensor in trained_tensors(model) if weights else ():
            if not self._keeps:  # all processes gather shards
                continue
            parameter = tensor.float().cpu()
            for end, weight in weights.items():
                key = f"{end}:{name}"
                value = parameter * weight
                self.sums[key] = self.sums[key] + value if key in self.sums else value
        if step in self.averages and step < self._last:
            self.on_checkpoint(step, self.average(model, step))

    def average(self, model: PreTrainedModel, end: int) -> dict[str, torch.Tensor]:
        # from memory, because some architectures save checkpoints under other names and in other shapes
        prefix = f"{end}:"
        mine = [key for key in self.sums if key.startswith(prefix)]
        sums = {key.removeprefix(prefix): self.sums.pop(key) for key in mine}
        if self.averages[end]:
            return sums
        return {n: t.cpu().clone() for n, t in trained_tensors(model) if self._keeps}

    def on_log(self, args: Any, state: TrainerState, control: Any, *, logs: Any, **_: Any) -> None:
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise _diverged(self.name, state.global_step)
        self.losses.append((state.global_step, loss))
        self.work.note = f"loss {loss:.3f}"
