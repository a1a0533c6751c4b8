"""Models trained on mixtures, scored at several lengths: each is an observation of the real gain."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.callbacks.base import Role, TrainedModel
from mixopt.config.study import StudyConfig
from mixopt.data.corpus import count_epochs
from mixopt.errors import DataError, one_line
from mixopt.executors.job import Job
from mixopt.io.progress import track
from mixopt.mixture import Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.trial import Score

if TYPE_CHECKING:
    from mixopt.training.training_run import TrainingRun


@dataclass(frozen=True)
class RunSpec:
    """A run to train.

    Attributes:
        name: Unique within the study for its ratios and seed.
        ratios: Of the tokens that it reads.
        seed: Index of the repetition, from 0; runs with one seed are paired.
        checkpoints: Tokens at which it is scored, increasing; the last is its length.
    """

    name: str
    ratios: Mixture
    seed: int
    checkpoints: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """A run that was trained and scored.

    Attributes:
        spec: What was asked for.
        logprobs: Log-probabilities of all scored tokens (`t`, nats) by tokens trained on.
        flops: Of the training.
    """

    spec: RunSpec
    logprobs: dict[int, NDArray[np.float32]]
    flops: float


FRESH = 1000
"""First seed of a confirmation, which no other run has."""
EARLY = (4, 2)
"""Natural's first runs are scored at these parts of their length too: its own curve tells what a gain
is worth in tokens."""


def first_checkpoints(config: StudyConfig) -> tuple[int, ...]:
    """Return the checkpoints of natural's first runs.

    Args:
        config: The study's. With a rate that decays a checkpoint is no run, and there is only the end.
    """
    length = config.training.tokens
    early = [] if config.training.decays else [length // part for part in EARLY]
    return (*early, length)


def order_natural(context: StudyContext) -> Mixture:
    """Return the natural mixture in the order of the study's domains, as all runs have it."""
    domains = context.config.domains
    return Mixture.from_vector(domains, context.corpora.natural.vector(domains))


def name_mixture(mixture: Mixture) -> str:
    """Return a short name that depends on the ratios alone."""
    text = repr([(name, round(ratio, 9)) for name, ratio in sorted(mixture.items())])
    return "mix-" + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def has_text(context: StudyContext, ratios: Mixture, tokens: int) -> bool:
    """Return whether a run would read no domain more often than `training.max_epochs` allows.

    Args:
        context: The study.
        ratios: Of the tokens that the run reads.
        tokens: Its length.
    """
    corpora = context.corpora.counts
    if any(name not in corpora for name, ratio in ratios.items() if ratio):
        return False
    epochs = count_epochs(corpora, ratios, tokens)
    return max(epochs.values()) <= context.config.training.max_epochs


def has_ended(context: StudyContext, spec: RunSpec) -> bool:
    """Return whether the store has a run with its scores, or a record that it failed.

    Args:
        context: The study, whose base has been trained.
        spec: The run.
    """
    from mixopt.pipeline.training_runs import mixture_run

    run = mixture_run(context, *_arguments(spec))
    missing = [each for each in _artifacts(context, run) if context.store.find(each) is None]
    return not missing or any(context.store.failure(each) is not None for each in missing)


def train_runs(
    context: StudyContext, specs: Sequence[RunSpec]
) -> Iterator[tuple[RunSpec, ScoredRun | Exception]]:
    """Train and score runs, where the store lacks them; yield each as it is finished.

    A run that would read a domain too often fails, and the others are trained.

    Args:
        context: The study, whose base has been trained.
        specs: The runs.

    Returns:
        Pairs of a run and its scores, or what it failed with.
    """
    from mixopt.pipeline.training_runs import mixture_run, read_run

    runs, jobs = {}, {}
    for spec in specs:
        try:
            runs[spec] = mixture_run(context, *_arguments(spec))
        except DataError as too_little:
            _report_failure(context, spec, one_line(too_little, limit=None))
            yield spec, too_little
            continue
        arguments = (spec.name, dict(spec.ratios), spec.seed, list(spec.checkpoints))
        # with a rate that decays a mixture may be trained at two lengths with one seed
        jobs[spec.name, spec.seed, spec.checkpoints] = spec, Job(
            "train_run", arguments, f"run {spec.name}", _artifacts(context, runs[spec]), trains=True,
            once=True,
        )  # fmt: skip
    done = context.dispatcher.run([job for _, job in jobs.values()])
    for job, error in track(done, "runs", total=len(jobs), unit="run"):
        name, _, seed, checkpoints = job.arguments
        spec, _ = jobs[name, seed, tuple(checkpoints)]
        if error is not None:
            _report_failure(context, spec, one_line(error, limit=None))
            yield spec, error
            continue
        run = runs[spec]
        result, logprobs = read_run(context, run), _read_logprobs(context, run)
        measured = {
            tokens: {
                name: Score(each.score, each.std_error)
                for name, each in context.scorer.read(flat).items()
            }
            for tokens, flat in logprobs.items()
        }
        context.callbacks.on_model_trained(
            "run", _title(context, spec), result, spec.ratios,
            role=_role(context, spec), seed=spec.seed, scores=measured,
        )  # fmt: skip
        yield spec, ScoredRun(spec, logprobs, result.outcome.flops)


def read_stored_run(context: StudyContext, spec: RunSpec) -> ScoredRun | None:
    """Return a run that the store has with its scores; None if it lacks any of it.

    Args:
        context: The study, whose base has been trained.
        spec: The run.
    """
    from mixopt.pipeline.training_runs import mixture_run, read_run

    run = mixture_run(context, *_arguments(spec))
    if any(context.store.find(each) is None for each in _artifacts(context, run)):
        return None
    flops = read_run(context, run).outcome.flops
    return ScoredRun(spec, _read_logprobs(context, run), flops)


def build_scored_run(context: StudyContext, spec: RunSpec) -> None:
    """Train a run and score its checkpoints in this process, where the store lacks them.

    Raises:
        DivergedError: The loss stopped being finite.
    """
    from mixopt.pipeline.evaluators import open_run_evaluator
    from mixopt.pipeline.training_runs import build_run, mixture_run

    run = mixture_run(context, *_arguments(spec))
    build_run(context, run)
    for step in run.plan.checkpoints:
        open_run_evaluator(context, run, step).build_expert_logprobs([0])


def _artifacts(context: StudyContext, run: "TrainingRun") -> tuple[Artifact, ...]:
    """Return the artifacts of a run: its weights, and the scores of each checkpoint."""
    from mixopt.pipeline.evaluators import open_run_evaluator

    scores = (open_run_evaluator(context, run, step) for step in run.plan.checkpoints)
    return (run.artifact, *(each.expert_artifact(0) for each in scores))


def _read_logprobs(context: StudyContext, run: "TrainingRun") -> dict[int, NDArray[np.float32]]:
    """Return log-probabilities of all scored tokens (`t`, nats) by tokens trained on."""
    from mixopt.pipeline.evaluators import open_run_evaluator

    per_step = run.plan.sequences_per_step * context.config.base.context
    return {
        step * per_step: open_run_evaluator(context, run, step).expert_logprobs[0]
        for step in run.plan.checkpoints
    }


def _role(context: StudyContext, spec: RunSpec) -> Role:
    if spec.seed >= FRESH:
        return "confirmation"
    return "natural" if spec.ratios == order_natural(context) else "candidate"


def _title(context: StudyContext, spec: RunSpec) -> str:
    """Return the run's name, in which natural is called so."""
    is_natural = spec.ratios == order_natural(context)
    return f"natural-{spec.seed}" if is_natural else spec.name


def _report_failure(context: StudyContext, spec: RunSpec, cause: str) -> None:
    model = TrainedModel("run", _title(context, spec), failure=cause, role=_role(context, spec),
                         ratios=dict(spec.ratios), seed=spec.seed)  # fmt: skip
    context.callbacks.notify(lambda callback: callback.on_model_trained(model))


def _arguments(spec: RunSpec) -> tuple[str, Mixture, int, tuple[int, ...]]:
    return spec.name, spec.ratios, spec.seed, spec.checkpoints
