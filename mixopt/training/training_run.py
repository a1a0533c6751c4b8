"""A training run: a model trained on a mixture of a study's corpora, named before it is trained."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from mixopt.artifacts.artifact import Artifact
from mixopt.config.training import TrainingConfig
from mixopt.data.corpus import check_epochs
from mixopt.data.study_corpora import StudyCorpora
from mixopt.errors import DataError
from mixopt.mixture import Mixture
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.dataset import MixtureDataset
from mixopt.training.device import Device
from mixopt.training.distributed import count_processes, is_sharded
from mixopt.training.expert_files import load_parameters
from mixopt.training.outcome import TrainingOutcome
from mixopt.training.step_law import OptimizerHyperparameters, resolve_hyperparameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TrainingResult:
    """A finished training run.

    Attributes:
        folder: Where its files lie.
        outcome: Tokens, steps, FLOPs and losses.
        step: Learning rate and batch size.
        epochs: How often the text of each domain was read.
    """

    folder: Path
    outcome: TrainingOutcome
    step: OptimizerHyperparameters
    epochs: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One training run.

    Attributes:
        artifact: Its result.
        ratios: Share of each domain in the tokens (`d`).
        seed: Of the order of the tokens.
        config: How it is trained.
        step: Learning rate and batch size.
        plan: Steps and sequences.
        epochs: How often each domain's text is read.
        open_model: Loads or builds the model that is trained.
        save: Writes what is kept of the trained model into a folder.
    """

    artifact: Artifact
    ratios: Mixture
    seed: int
    config: TrainingConfig
    step: OptimizerHyperparameters
    plan: BatchPlan
    epochs: Mapping[str, float]
    open_model: Callable[[], "PreTrainedModel"]
    save: Callable[["PreTrainedModel", Path], None]

    @property
    def domains(self) -> list[str]:
        """The domains that it reads."""
        return [domain for domain in self.ratios if self.ratios[domain]]

    def read(self, folder: Path) -> TrainingResult:
        """Return the result that lies in `folder`."""
        plain = json.loads((folder / "outcome.json").read_text())
        plain["losses"] = tuple((int(step), float(loss)) for step, loss in plain["losses"])
        return TrainingResult(folder, TrainingOutcome(**plain), self.step, self.epochs)


def plan_run(
    kind: str,
    name: str,
    *,
    ratios: Mixture,
    seed: int,
    key: Mapping[str, Any],
    config: TrainingConfig,
    parameters: int,
    open_model: Callable[[], "PreTrainedModel"],
    save: Callable[["PreTrainedModel", Path], None],
    corpora: StudyCorpora,
    context: int,
    device: Device,
    checkpoints: Sequence[int] = (),
) -> TrainingRun:
    """Return the run with everything that determines its result; nothing is trained.

    Args:
        kind: Kind of the artifact.
        name: Name of the artifact.
        ratios: Share of each domain in the tokens (`d`).
        seed: Of the order of the tokens.
        key: What determines the result beside the arguments here: the base, say.
        config: How it is trained.
        parameters: Non-embedding parameters, for the Step Law.
        open_model: Loads or builds the model.
        save: Writes what is kept into a folder.
        corpora: The study's text.
        context: Tokens per sequence.
        device: That trains.
        checkpoints: Tokens after which the model is kept, increasing; the last number is the length
            of the run. The config's tokens alone if left out.

    Returns:
        The run; its artifact names the result.

    Raises:
        ConfigError: Several processes were launched, and cannot share the batch.
        DataError: A domain has no text, or would be read more often than `max_epochs` allows.
    """
    domains = [domain for domain in ratios if ratios[domain]]
    for domain in (domain for domain in domains if domain not in corpora.counts):
        raise DataError(
            f"{name!r} is to be trained on {domain!r}, which has no text; give its expert a text."
        )
    tokens = max(checkpoints, default=config.tokens)
    epochs = check_epochs(
        corpora.counts, ratios, tokens=tokens, max_epochs=config.max_epochs,
        what=f"the {tokens:,} tokens of {name!r}",
    )  # fmt: skip
    step = resolve_hyperparameters(config, parameters)
    plan = BatchPlan.of(
        config, step, context, count_processes(),
        vocabulary=len(corpora.tokenizer), checkpoints=checkpoints,
    )  # fmt: skip
    full_key = {
        **key,
        "training": config.artifact_key(),
        "step": [step.learning_rate, plan.sequences_per_step, *plan.checkpoints],
        "ratios": dict(ratios),
        "corpora": [corpora.counts[domain].folder.name for domain in domains],
        "context": context,
        "seed": seed,
        "device": device.key,
    }
    artifact = Artifact(kind, name, full_key)
    return TrainingRun(artifact, ratios, seed, config, step, plan, epochs, open_model, save)


def train_run(
    run: TrainingRun,
    scratch: Path,
    *,
    corpora: StudyCorpora,
    context: int,
    device: Device,
    checkpoints: CheckpointManager,
) -> None:
    """Train a model and write what is kept of it, and its outcome.

    Args:
        run: By `plan_run`.
        scratch: Receives the files.
        corpora: The study's text.
        context: Tokens per sequence.
        device: That trains.
        checkpoints: Where unfinished work is kept; of several processes the first one writes.

    Raises:
        DivergedError: The loss stopped being finite.
    """
    # only where a model is trained: transformers' Trainer takes seconds to import
    from mixopt.training.trainer import exclude_libraries_from_collection, train

    dataset = MixtureDataset(
        {domain: corpora.open(domain) for domain in run.domains},
        Mixture({domain: run.ratios[domain] for domain in run.domains}),
        sequences=run.plan.sequences,
        context=context,
        seed=run.seed,
    )
    exclude_libraries_from_collection()
    model = run.open_model()
    kept = checkpoints.folder / "kept"

    def keep(step: int, tensors: Mapping[str, torch.Tensor]) -> None:
        if checkpoints.processes.is_main:
            kept.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), kept / f"{step}.partial")
            (kept / f"{step}.partial").replace(kept / f"{step}.safetensors")

    outcome, parameters = train(
        model, dataset, run.config, run.step, run.plan, name=run.artifact.name, device=device,
        seed=run.seed, checkpoints=checkpoints, on_checkpoint=keep,
    )  # fmt: skip
    if not checkpoints.processes.is_main:
        return
    if is_sharded(model):
        model = run.open_model()
    for step in run.plan.checkpoints[:-1]:
        load_parameters(model, load_file(kept / f"{step}.safetensors"))
        folder = checkpoint_folder(run, scratch, step)
        folder.mkdir()
        run.save(model, folder)
    load_parameters(model, parameters)
    run.save(model, scratch)
    (scratch / "outcome.json").write_text(json.dumps(asdict(outcome), indent=2))


def checkpoint_folder(run: TrainingRun, folder: Path, step: int) -> Path:
    """Return where a run keeps the model of one of its checkpoints; the last one lies in `folder`."""
    return folder if step == run.plan.steps else folder / f"step-{step}"
