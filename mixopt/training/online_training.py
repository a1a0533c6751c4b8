"""Training with weights of the domains that change: one model, or two of a bilevel problem.

The weights are those of a method in `mixopt.baselines`, which this module knows by what they do.
Trainings are checkpointed and resume bit for bit on a CPU.

Shapes: `n` sequences, `c` tokens, `d` domains, `t` steps.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.config.training import TrainingConfig
from mixopt.errors import DivergedError
from mixopt.io.progress import Work
from mixopt.mixture import Array
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpoint_weights import DECAYS
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.domain_sequences import DomainSequences
from mixopt.training.step_law import OptimizerHyperparameters
from mixopt.training.trainer import count_decay_steps, find_decayed, trains_in_bfloat16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.95)
STATE, TENSORS = "state.json", "tensors.pt"


class Weights(Protocol):
    """Weights that learn from each batch, such as those of `mixopt.baselines`.

    Attributes:
        weights: Current weights of the domains (`d`), which sum to 1.
    """

    weights: Array

    @property
    def learn_first(self) -> bool:
        """Whether the loss of a batch is weighed with what was learnt from it."""

    @property
    def shares(self) -> Array:
        """Share of each domain in the next batch (`d`)."""

    @property
    def loss_weights(self) -> Array:
        """Weight of each domain's loss (`d`)."""

    def update(self, losses: Array, read: Array) -> None:
        """Learn from a batch.

        Args:
            losses: Mean loss of each domain (`d`, nats per token), NaN for one without a sequence; with
                a reference the mean excess over it, by token and at least 0.
            read: Share of each domain in the batch (`d`).
        """

    def state(self) -> dict[str, list[float]]:
        """Return what changes."""

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""


@dataclass(frozen=True, eq=False)
class OnlineSettings:
    """What every training here needs.

    Attributes:
        name: For progress and errors.
        config: Schedule and regularization.
        step: Learning rate and batch size.
        plan: Steps and sequences.
        device: That trains.
        checkpoints: Where unfinished work is kept.
        seed: Of dropout.
    """

    name: str
    config: TrainingConfig
    step: OptimizerHyperparameters
    plan: BatchPlan
    device: Device
    checkpoints: CheckpointManager
    seed: int = 0

    @property
    def in_bfloat16(self) -> bool:
        """Whether matrix products are in bfloat16."""
        return trains_in_bfloat16(self.config, self.device)

    def make_optimizer(self, model: torch.nn.Module) -> torch.optim.AdamW:
        """Return AdamW over the trained parameters, as runs have it: norms and biases do not decay."""
        decayed = find_decayed(model)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for name, p in trained.items() if (name in decayed) == is_decayed],
             "weight_decay": self.config.weight_decay if is_decayed else 0.0}
            for is_decayed in (True, False)
        ]  # fmt: skip
        return torch.optim.AdamW(groups, lr=self.step.learning_rate, betas=BETAS)

    def descend(self, model: torch.nn.Module, optimizer: torch.optim.AdamW, share: float) -> None:
        """Take a step with a share of the learning rate, and clear the gradients.

        Raises:
            DivergedError: The gradient is not finite.
        """
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.max_grad_norm)
        if not torch.isfinite(norm):
            raise DivergedError(
                f"The gradient of {self.name!r} stopped being finite; lower training.learning_rate and "
                "run again (what is finished is kept)."
            )
        for group in optimizer.param_groups:
            group["lr"] = share * self.step.learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def rate_share(self, step: int) -> float:
        """Return the share of the learning rate at a step from 0, by the schedule that runs have."""
        config, steps, warmup = self.config, self.plan.steps, self.plan.warmup
        if step < warmup:
            return step / warmup
        if not config.decays:
            return 1.0
        decay = count_decay_steps(config, steps, warmup)
        passed = max(0, step - (steps - decay)) / max(1, decay)
        return float(DECAYS[config.schedule](np.array(passed)))


def token_losses(
    model: "PreTrainedModel", tokens: torch.Tensor, *, in_bfloat16: bool = False
) -> torch.Tensor:
    """Return the loss of each token but the first (`n x (c − 1)`, nats).

    Args:
        model: The model.
        tokens: Sequences (`n x c`), on the model's device.
        in_bfloat16: Whether matrix products are in bfloat16.
    """
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=in_bfloat16):
        logits = model(input_ids=tokens).logits
    logits = logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    return losses.view(len(tokens), -1)


def by_domain(values: Array, domains: NDArray[np.int64], d: int) -> Array:
    """Return the mean of sequences' values (`n`) by domain (`d`), NaN for one without a sequence."""
    counts = np.bincount(domains, minlength=d)
    sums = np.bincount(domains, weights=values, minlength=d)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def train_with_weights(
    model: "PreTrainedModel",
    sequences: DomainSequences,
    weights: Weights,
    settings: OnlineSettings,
    *,
    reference: "PreTrainedModel | None" = None,
) -> Array:
    """Train a model in place while the weights of its domains learn from its losses.

    Args:
        model: The model.
        sequences: Draws batches.
        weights: The weights; changed in place.
        settings: Of the training.
        reference: A model whose losses are subtracted, token by token and not below 0, before the
            weights learn from them; none if left out.

    Returns:
        The weights that each step was taken with (`t x d`); those that were learnt from its batch where
        weights learn first.

    Raises:
        DivergedError: The gradient stopped being finite.
        DataError: A domain would be read too often.
    """
    optimizer, d = settings.make_optimizer(model), len(weights.weights)
    device_batch, in_bfloat16 = settings.plan.device_batch, settings.in_bfloat16
    model.train()

    def measure(tokens: torch.Tensor, losses: torch.Tensor) -> Array:
        excess = losses.detach()
        if reference is not None:
            with torch.no_grad():
                excess = excess - token_losses(reference, tokens, in_bfloat16=in_bfloat16)
            excess = excess.clamp(min=0)
        return np.asarray(excess.mean(dim=1).double().cpu().numpy())

    def step(number: int) -> Array:
        batch, domains = sequences.draw(weights.shares, settings.plan.sequences_per_step)
        read = np.bincount(domains, minlength=d) / len(domains)
        parts = [slice(at, at + device_batch) for at in range(0, len(batch), device_batch)]
        learn_first, losses, measured = weights.learn_first, None, list[Array]()
        if learn_first:
            # a batch in one part is read once, and one in many parts twice: graphs of all need memory
            with torch.set_grad_enabled(len(parts) == 1):
                for part in parts:
                    tokens = batch[part].to(model.device)
                    losses = token_losses(model, tokens, in_bfloat16=in_bfloat16)
                    measured.append(measure(tokens, losses))
            weights.update(by_domain(np.concatenate(measured), domains, d), read)
        taken = weights.weights.copy()
        own = weights.loss_weights[domains]
        own = own / own.sum()
        for part in parts:
            tokens = batch[part].to(model.device)
            if losses is None or len(parts) > 1:
                losses = token_losses(model, tokens, in_bfloat16=in_bfloat16)
            counted = torch.from_numpy(own[part]).to(losses)
            (losses.mean(dim=1) @ counted).backward()  # type: ignore[no-untyped-call]
            if not learn_first:
                measured.append(measure(tokens, losses))
        settings.descend(model, optimizer, settings.rate_share(number))
        if not learn_first:
            weights.update(by_domain(np.concatenate(measured), domains, d), read)
        return taken

    return run_steps(step, settings, [model], [optimizer], [weights, sequences])


class HasState(Protocol):
    """Something that a checkpoint keeps."""

    def state(self) -> dict[str, list[float]]:
        """Return what changes."""

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""


def run_steps(
    step: Callable[[int], Array],
    settings: OnlineSettings,
    models: Sequence[torch.nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    others: Sequence[HasState],
) -> Array:
    """Take all steps, with checkpoints; go on from the last one.

    Args:
        step: Takes the step of a number from 0, and returns the weights it was taken with (`d`).
        settings: Of the training.
        models: Whose trained parameters are kept.
        optimizers: Of the models.
        others: What else changes.

    Returns:
        The weights of every step (`t x d`).
    """
    manager, path = settings.checkpoints, list[list[float]]()
    latest = manager.latest()
    # whatever this process did before
    torch.manual_seed(settings.seed)
    if latest is not None:
        path = _load(latest, settings.device, models, optimizers, others)
    steps = settings.plan.steps
    last_saved = time.monotonic()
    work = Work(f"training {settings.name}", total=steps, unit="step", done=len(path))
    with work:
        for number in range(len(path), steps):
            path.append(step(number).tolist())
            work.advance()
            if number + 1 < steps and time.monotonic() - last_saved >= manager.interval_s:
                _save(settings, number + 1, path, models, optimizers, others)
                last_saved = time.monotonic()
    return np.array(path)


def _save(
    settings: OnlineSettings,
    number: int,
    path: list[list[float]],
    models: Sequence[torch.nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    others: Sequence[HasState],
) -> None:
    manager = settings.checkpoints
    folder = manager.folder / f"checkpoint-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "models": [_trained(model) for model in models],
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "device_random": None
        if (own := _generator(settings.device)) is None
        else own.get_rng_state(),
    }
    torch.save(tensors, folder / TENSORS)
    plain = {"path": path, "others": [other.state() for other in others]}
    (folder / STATE).write_text(json.dumps(plain))
    manager.commit(folder)


def _load(
    folder: Path,
    device: Device,
    models: Sequence[torch.nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    others: Sequence[HasState],
) -> list[list[float]]:
    tensors = torch.load(folder / TENSORS, weights_only=True, map_location="cpu")
    for model, kept in zip(models, tensors["models"], strict=True):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])
    for optimizer, kept in zip(optimizers, tensors["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    torch.set_rng_state(tensors["random"])
    # a checkpoint of an earlier version has none
    if (own := _generator(device)) is not None and tensors.get("device_random") is not None:
        own.set_rng_state(tensors["device_random"])
    plain = json.loads((folder / STATE).read_text())
    for other, kept in zip(others, plain["others"], strict=True):
        other.restore(kept)
    path: list[list[float]] = plain["path"]
    return path


def _generator(device: Device) -> Any:
    """Return the module of an accelerator that gets and sets its random state, if it has one."""
    module = getattr(torch, device.name, None)
    return module if hasattr(module, "get_rng_state") else None


def _trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = model.named_parameters()
    return {name: p.detach().cpu().clone() for name, p in named if p.requires_grad}
