"""Trainings whose weights of the domains change, as jobs of a study: DoReMi, ODM, ScaleBiO.

Their result is the weights over the steps; the models are not kept. Shapes: `d` domains, `t` steps.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.baselines.base import OnlineTraining
from mixopt.baselines.online import open_weights
from mixopt.baselines.scalebio import SourceWeights, take_step
from mixopt.config.search import READS_BENCHMARKS
from mixopt.config.training import TrainingConfig
from mixopt.errors import RunError, one_line
from mixopt.executors.job import Job
from mixopt.mixture import Array
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import first_checkpoints, name_mixture, order_natural

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mixopt.training.batch_plan import BatchPlan
    from mixopt.training.domain_sequences import DomainSequences
    from mixopt.training.online_training import HasState, OnlineSettings
    from mixopt.training.step_law import OptimizerHyperparameters
    from mixopt.training.training_run import TrainingRun

KIND, FILE = "online", "path.npy"


def run_online(
    context: StudyContext, training: OnlineTraining, metric_weights: Mapping[str, float]
) -> Array:
    """Return the weights at each step (`t x d`), trained by a worker or read.

    Args:
        context: The study.
        training: What is trained.
        metric_weights: Of the losses of the text of the benchmarks that choose, by name.

    Raises:
        RunError: The training failed.
    """
    artifact = online_artifact(context, training, metric_weights)
    plain = asdict(training) | {"settings": dict(training.settings)}
    job = Job("train_online", (plain, dict(metric_weights)), f"the training of {training.method}",
              (artifact,), trains=True)  # fmt: skip
    for _, error in context.dispatcher.run([job]):
        if error is not None:
            raise RunError(
                f"Method {training.method!r} cannot recommend a mixture without its training "
                f"({one_line(error, limit=None)})."
            ) from error
    return np.asarray(np.load(context.folder_of(artifact) / FILE))


def online_artifact(
    context: StudyContext, training: OnlineTraining, metric_weights: Mapping[str, float]
) -> Artifact:
    """Return the artifact of a training, with everything that determines its result.

    Args:
        context: The study.
        training: What is trained.
        metric_weights: Of the losses of the text of the benchmarks that choose, by name.
    """
    corpora, config = context.corpora, context.config
    plain = asdict(training) | {"settings": dict(training.settings)}
    if not training.seed:  # keys of the first seed do not name it
        del plain["seed"]
    key = {
        "training": plain,
        "config": config.training.artifact_key(),
        "base": context.base_model.compute_key(),
        "domains": list(config.domains),
        "corpora": [corpora.counts[domain].folder.name for domain in config.domains],
        "context": config.base.context,
        "seed": config.seed,
        "device": context.device.key,
    }
    if config.training.device_batch is not None:
        # as few settings of it do, it may have changed the batch
        free = config.training.model_copy(update={"device_batch": None})
        plans = [_plan(context, each, training)[1] for each in (config.training, free)]
        if plans[0].sequences_per_step != plans[1].sequences_per_step:
            key["sequences_per_step"] = plans[0].sequences_per_step
    if training.method == "doremi":
        key["reference"] = _reference(context, training.seed).artifact.folder_name
    if training.method == "scalebio":
        key["benchmarks"] = [context.scorer.digest, dict(metric_weights)]
    return Artifact(KIND, training.method, key)


def count_validation_tokens(
    context: StudyContext, training: OnlineTraining, metric_weights: Mapping[str, float]
) -> int:
    """Return the tokens of benchmarks that a training descends on, beside those of the domains.

    Args:
        context: The study.
        training: What is trained.
        metric_weights: Of the losses of the text of the benchmarks that choose, by name.
    """
    if training.method != "scalebio":
        return 0
    from mixopt.evaluation.validation_loss import count_tokens

    steps = _plan(context, context.config.training, training)[1].steps
    return round(steps * count_tokens(context.scorer, metric_weights))


def most_validation_tokens(context: StudyContext, method: str, tokens: int) -> int:
    """Return the most tokens of benchmarks that a method descends on.

    Before anything is trained the trust of benchmarks is not known, and each that chooses counts.

    Args:
        context: The study, prepared.
        method: Name of the method.
        tokens: Length of the method's training.
    """
    if method not in READS_BENCHMARKS:
        return 0
    weights = context.config.search.capability_weights
    chosen = {
        task.metric.name: weights.get(task.metric.capability, 1.0)
        for task in context.scorer.tasks
        if task.metric.role == "search"
    }
    return count_validation_tokens(context, OnlineTraining(method, tokens), chosen)


def require_layers(context: StudyContext, layers: int) -> None:
    """Check that the base has the layers that are trained at a time, before anything is trained.

    Args:
        context: The study.
        layers: `search.lisa_layers`.

    Raises:
        UserError: It has fewer, or no list of layers.
    """
    from mixopt.pipeline.training_runs import base_run
    from mixopt.training.layer_sampling import LayerSampler
    from mixopt.training.model_loading import build_on_meta

    run = base_run(context)
    model = context.base_model.outline if run is None else build_on_meta(run.open_model)
    LayerSampler((model,), layers, 0)


def build_online(
    context: StudyContext, training: OnlineTraining, metric_weights: Mapping[str, float]
) -> None:
    """Train in this process, unless the store has the result.

    Raises:
        DivergedError: A gradient stopped being finite.
        DataError: A domain would be read more often than `max_epochs` allows.
    """
    from mixopt.training.domain_sequences import DomainSequences
    from mixopt.training.expert_files import load_expert
    from mixopt.training.online_training import train_with_weights

    artifact = online_artifact(context, training, metric_weights)
    config, domains = context.config, context.config.domains

    def build(scratch: Path) -> None:
        settings = _settings(context, training, artifact)
        sequences = DomainSequences(
            {domain: context.corpora.open(domain) for domain in domains},
            context=config.base.context, seed=_seed(context, training.seed),
            max_epochs=config.training.max_epochs,
        )  # fmt: skip
        weights = open_weights(training, len(domains), settings.plan.steps)
        if isinstance(weights, SourceWeights):
            layers = training.settings.get("layers")
            n_layers = None if layers is None else int(layers)
            seed = _seed(context, training.seed)
            path = _train_pair(
                context, weights, sequences, settings, metric_weights, n_layers, seed
            )
        else:
            reference = None
            if training.method == "doremi":
                reference = _on_device(context, context.load_trainable())
                load_expert(
                    reference, context.folder_of(_reference(context, training.seed).artifact)
                )
                reference.eval()
            model = _on_device(context, context.load_trainable())
            path = train_with_weights(model, sequences, weights, settings, reference=reference)
        np.save(scratch / FILE, path)

    context.store.get_or_build(artifact, build)


def _train_pair(
    context: StudyContext,
    weights: SourceWeights,
    sequences: "DomainSequences",
    settings: "OnlineSettings",
    metric_weights: Mapping[str, float],
    n_layers: int | None,
    seed: int,
) -> Array:
    from mixopt.evaluation.validation_loss import ValidationLoss
    from mixopt.training.bilevel_training import TrainedPair
    from mixopt.training.layer_sampling import LayerSampler
    from mixopt.training.online_training import run_steps

    w, u = (_on_device(context, context.load_trainable()) for _ in range(2))
    validation = ValidationLoss(context.scorer, metric_weights, seed)
    layers = None if n_layers is None else LayerSampler((w, u), n_layers, seed)
    pair = TrainedPair(w, u, sequences, validation, settings, len(weights.weights), layers)
    others: list[HasState] = [weights, sequences, validation]
    others += [] if layers is None else [layers]

    def step(number: int) -> Array:
        take_step(pair, weights, number, settings.plan.steps)
        return weights.weights

    return run_steps(step, settings, pair.models, pair.optimizers, others)


def _plan(
    context: StudyContext, config: TrainingConfig, training: OnlineTraining
) -> "tuple[OptimizerHyperparameters, BatchPlan]":
    from mixopt.training.batch_plan import BatchPlan
    from mixopt.training.bilevel_training import plan_even_batches
    from mixopt.training.step_law import resolve_hyperparameters

    length = context.config.base.context
    step = resolve_hyperparameters(config, context.base_parameters)
    plan = BatchPlan.of(
        config, step, length, 1, vocabulary=len(context.corpora.tokenizer),
        checkpoints=(training.tokens,),
    )  # fmt: skip
    if training.method == "scalebio":
        plan = plan_even_batches(plan, len(context.config.domains), training.tokens, length)
    return step, plan


def _settings(
    context: StudyContext, training: OnlineTraining, artifact: Artifact
) -> "OnlineSettings":
    from mixopt.training.checkpointing import CheckpointManager
    from mixopt.training.online_training import OnlineSettings

    config = context.config.training
    step, plan = _plan(context, config, training)
    checkpoints = CheckpointManager(
        context.store.work_folder(artifact),
        60 * context.config.executor.checkpoint_minutes,
        partial(context.store.save_work, artifact),
    )
    return OnlineSettings(
        training.method, config, step, plan, context.device, checkpoints,
        seed=_seed(context, training.seed),
    )  # fmt: skip


def _on_device(context: StudyContext, model: "PreTrainedModel") -> "PreTrainedModel":
    if context.config.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    moved: PreTrainedModel = model.to(context.device.name)
    return moved


def _reference(context: StudyContext, seed: int) -> "TrainingRun":
    """Return the run on natural that a method's first run is."""
    from mixopt.pipeline.training_runs import mixture_run

    natural = order_natural(context)
    name = f"{name_mixture(natural)}-{seed}"
    return mixture_run(context, name, natural, seed, first_checkpoints(context.config))


def _seed(context: StudyContext, seed: int) -> int:
    """Return what the runs with a seed are drawn by, whose text is read."""
    from mixopt.pipeline.training_runs import mix_seed

    return mix_seed(context.config.seed, "run", seed)
