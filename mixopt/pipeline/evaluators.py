"""Opens the evaluators of a study: of its experts' merges, and of single runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mixopt.evaluation.engine import Engine, StreamedEngine, hash_expert, open_engine_of
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.executors.job import JobDispatcher
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.training_runs import expert_run
from mixopt.training.training_run import TrainingRun, checkpoint_folder


def open_evaluator(
    context: StudyContext, names: Sequence[str], dispatcher: JobDispatcher | None = None
) -> MergeEvaluator:
    """Return the evaluator of some experts.

    Args:
        context: The study.
        names: Of the experts (`k`).
        dispatcher: Has candidates scored by workers; this process scores them if left out.

    Raises:
        MissingArtifactError: An expert has not been trained.
    """
    folders = [
        context.given_expert(name) or context.folder_of(expert_run(context, name).artifact)
        for name in names
    ]
    key = {
        "base": context.base_model.compute_key(),
        "experts": [_key_of(context, *each) for each in zip(names, folders, strict=True)],
        "device": context.device.key,
    }
    by_name = dict(zip(names, folders, strict=True))
    return MergeEvaluator(
        lambda: _open_engine(context, by_name), len(names), context.scorer, context.store, key,
        context.config.response, names=names, dispatcher=dispatcher,
        on_lost=context.callbacks.warning,
    )  # fmt: skip


def _key_of(context: StudyContext, name: str, folder: Path) -> str:
    if name not in context.given_experts:
        return folder.name
    known = context.inputs.experts if context.inputs else {}
    return known.get(name) or hash_expert(folder)


def open_run_evaluator(context: StudyContext, run: TrainingRun, step: int) -> MergeEvaluator:
    """Return the evaluator of one model: a run at one of its checkpoints (`k` is 1).

    Args:
        context: The study.
        run: The run; it must have been trained before anything is scored.
        step: One of its plan's checkpoints.
    """
    return open_checkpoint_evaluator(context, [(run, step)])


def open_checkpoint_evaluator(
    context: StudyContext, checkpoints: Sequence[tuple[TrainingRun, int]], response: float = 1.0
) -> MergeEvaluator:
    """Return the evaluator of merges and ensembles of runs, whatever they were trained on.

    Args:
        context: The study.
        checkpoints: Runs (`k`), each with one of its plan's checkpoints; they must have been trained
            before anything is scored.
        response: γ of the map from requested weights to those that are merged.
    """
    names = [
        run.artifact.folder_name + ("" if step == run.plan.steps else f"/{step}")
        for run, step in checkpoints
    ]
    key = {
        "base": context.base_model.compute_key(),
        "experts": names,
        "device": context.device.key,
    }

    def open_engine() -> Engine:
        folders = {
            run.artifact.name: checkpoint_folder(run, context.folder_of(run.artifact), step)
            for run, step in checkpoints
        }
        return _open_engine(context, folders)

    return MergeEvaluator(
        open_engine, len(names), context.scorer, context.store, key, response,
        names=[run.artifact.name for run, _ in checkpoints],
    )  # fmt: skip


def _open_engine(context: StudyContext, folders: Mapping[str, Path]) -> Engine:
    pickled = {e.domain: e.allow_pickle for e in context.config.experts if e.checkpoint is not None}
    engine = open_engine_of(
        context.base_model,
        {folder: pickled.get(name) for name, folder in folders.items()},
        context.store,
        scoring=context.config.search.scoring,
        memory_bytes=context.config.search.memory,
    )
    if isinstance(engine, StreamedEngine):
        # an unsupported benchmark is reported before the first sweep
        engine.measure(context.scorer, [])
    return engine
