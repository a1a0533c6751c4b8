"""The training runs of a study, each named before it is trained: base, experts, phases, validation."""

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.config.training import BuiltBaseConfig
from mixopt.evaluation.score_cache import Results, load_results, save_results
from mixopt.io.remembered import remember
from mixopt.mixture import Mixture
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.distributed import ProcessGroup
from mixopt.training.expert_files import save_expert
from mixopt.training.model_loading import build_model, build_on_meta, count_parameters
from mixopt.training.training_run import TrainingResult, TrainingRun, plan_run, train_run

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mixopt.pipeline.context import StudyContext


def base_run(context: "StudyContext") -> TrainingRun | None:
    """Return the run that trains the base from scratch; None where the base is given."""
    base = context.config.base
    if not isinstance(base, BuiltBaseConfig):
        return None
    corpora, seed = context.corpora, context.config.seed
    artifact = corpora.tokenizer_artifact
    assert artifact is not None
    return _plan(
        context, "base", "base",
        ratios=Mixture(base.ratios) if base.ratios else corpora.natural,
        seed=seed,
        key=base.model_dump(mode="json")
        | {"training": base.training.artifact_key(), "tokenizer": artifact.key},
        config=base.training,
        parameters=context.base_parameters,
        open_model=lambda: build_model(base, corpora.tokenizer, seed),
        save=partial(_save_whole, context),
    )  # fmt: skip


def count_built_parameters(
    base: BuiltBaseConfig, tokenizer: "PreTrainedTokenizerBase", *, embeddings: bool = False
) -> int:
    """Return the parameters of a base that is built, trained or not.

    The count is remembered: building the model, without memory for it, imports half of transformers.

    Args:
        base: Its architecture.
        tokenizer: Sets vocabulary and special tokens.
        embeddings: Whether those of the embeddings count.

    Raises:
        ModelError: transformers refuses architecture or configuration, or the context is too long.
    """
    key = {
        "base": base.model_dump(mode="json", exclude={"training", "ratios", "tokenizer_bytes"}),
        "tokens": [len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id],
        "transformers": metadata.version("transformers"),
    } | ({"embeddings": True} if embeddings else {})

    def count() -> str:
        total, others = count_parameters(build_on_meta(lambda: build_model(base, tokenizer, 0)))
        return str(total if embeddings else others)

    return int(remember("parameter-counts", key, count))


def expert_run(context: "StudyContext", name: str) -> TrainingRun:
    """Return the run that trains an expert from the base.

    Raises:
        MissingArtifactError: The base has not been trained.
        DataError: Its text would be read more often than `max_epochs` allows.
    """
    index, training = list(context.compositions).index(name), context.config.training
    return _plan(
        context, "experts", name,
        ratios=context.compositions[name],
        seed=mix_seed(context.config.seed, "expert", index),
        key={"base": context.base_model.compute_key()},
        config=training,
        parameters=context.base_parameters,
        open_model=context.load_trainable,
        save=save_expert,
        checkpoints=(training.expert_length,),
    )  # fmt: skip


def continued_base_run(
    context: "StudyContext", name: str, ratios: Mixture, tokens: int, index: int
) -> TrainingRun:
    """Return the run that continues the base for `tokens` on `ratios`, where a later phase begins.

    Args:
        context: The study of the phase before.
        name: Of the later phase.
        ratios: Of the tokens that it reads.
        tokens: Number of them.
        index: Of the later phase, 0 for the second. Each continuation reads its text in another order.
    """
    config = context.config.training.model_copy(update={"tokens": tokens, "method": "full"})
    if context.config.training.method == "lora":
        # a learning rate for LoRA factors does not fit whole models
        config = config.model_copy(update={"learning_rate": None})
    return _plan(
        context, "bases", name,
        ratios=ratios,
        seed=mix_seed(context.config.seed, "phase", index),
        key={"base": context.base_model.compute_key()},
        config=config,
        parameters=context.base_parameters,
        open_model=lambda: context.base_model.load_trainable(config, context.config.seed),
        save=partial(_save_whole, context),
    )  # fmt: skip


def mixture_run(
    context: "StudyContext", name: str, ratios: Mixture, seed: int, checkpoints: Sequence[int]
) -> TrainingRun:
    """Return the run that trains a model on `ratios` and keeps its weights at each checkpoint.

    Runs with the same `seed` read the same text of a domain, whatever their ratios.

    Args:
        context: The study.
        name: Of the artifact.
        ratios: Of the tokens that it reads.
        seed: Index of the repetition, from 0.
        checkpoints: Tokens after which the weights are kept, increasing; the last is the run's length.
    """
    return _plan(
        context, "runs", name,
        ratios=ratios,
        seed=mix_seed(context.config.seed, "run", seed),
        key={"base": context.base_model.compute_key()},
        config=context.config.training,
        parameters=context.base_parameters,
        open_model=context.load_trainable,
        save=save_expert,
        checkpoints=checkpoints,
    )  # fmt: skip


def validation_run(context: "StudyContext", name: str, ratios: Mixture, seed: int) -> TrainingRun:
    """Return the run that trains and scores a model on `ratios`; its weights are not kept.

    Args:
        context: The study.
        name: Of the artifact.
        ratios: Of the tokens that it reads.
        seed: Index of the repetition, from 0.
    """

    def save_scores(model: "PreTrainedModel", scratch: Path) -> None:
        merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
        scores = context.scorer.score(merged.to(context.device.dtype))
        save_results({"trained": scores}, scratch)

    return _plan(
        context, "proxy-runs", name,
        ratios=ratios,
        seed=mix_seed(context.config.seed, "proxy run", seed),
        key={"base": context.base_model.compute_key(), "benchmarks": context.scorer.digest},
        config=context.config.training,
        parameters=context.base_parameters,
        open_model=context.load_trainable,
        save=save_scores,
    )  # fmt: skip


def build_run(context: "StudyContext", run: TrainingRun) -> TrainingResult:
    """Return the result of a run, trained now in this process unless the store has it.

    Raises:
        DivergedError: The loss stopped being finite.
    """
    checkpoints = None

    def build(scratch: Path) -> None:
        nonlocal checkpoints
        checkpoints = CheckpointManager(
            context.store.work_folder(run.artifact),
            60 * context.config.executor.checkpoint_minutes,
            partial(context.store.save_work, run.artifact),
            ProcessGroup.launched(cpu=context.device.name == "cpu"),
        )
        train_run(
            run, scratch, corpora=context.corpora, context=context.config.base.context,
            device=context.device, checkpoints=checkpoints,
        )  # fmt: skip

    def count_seconds() -> float:
        assert checkpoints is not None, "it is called after the build"
        return checkpoints.device_seconds

    return run.read(context.store.get_or_build(run.artifact, build, count_seconds))


def read_run(context: "StudyContext", run: TrainingRun) -> TrainingResult:
    """Return the result of a finished run.

    Raises:
        MissingArtifactError: It has not been trained.
    """
    return run.read(context.store.get(run.artifact))


def read_scores(result: TrainingResult) -> Results:
    """Return the item results of a validation run."""
    return load_results(result.folder)["trained"]


def mix_seed(seed: int, purpose: str, index: int) -> int:
    """Return a seed for one piece of work that depends on nothing else.

    Args:
        seed: The study's.
        purpose: Of the work.
        index: Among those of one purpose.
    """
    digest = hashlib.blake2b(f"{seed} {purpose} {index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 2**31


def _plan(context: "StudyContext", kind: str, name: str, **options: Any) -> TrainingRun:
    return plan_run(
        kind, name, corpora=context.corpora, context=context.config.base.context,
        device=context.device, **options,
    )  # fmt: skip


def _save_whole(context: "StudyContext", model: "PreTrainedModel", scratch: Path) -> None:
    model.save_pretrained(scratch)
    context.corpora.tokenizer.save_pretrained(scratch)
