"""The first stage: base and experts, trained or found."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixopt.callbacks.base import TrainedModel
from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import DivergedError, RunError, one_line
from mixopt.executors.job import Job
from mixopt.io.progress import track
from mixopt.mixture import Mixture
from mixopt.pipeline.context import StudyContext

if TYPE_CHECKING:
    from mixopt.training.training_run import TrainingResult

MIN_EXPERTS = 2


@dataclass(frozen=True)
class Experts:
    """The experts of a study.

    Attributes:
        results: By name, in the study's order.
        failures: Experts that were set aside, with the cause.
        compositions: Ratios of the tokens that each was trained on (`k x d`).
    """

    results: "dict[str, TrainingResult]"
    failures: dict[str, str]
    compositions: dict[str, Mixture]


def train_base(context: StudyContext) -> None:
    """Train the base where the study builds one.

    Raises:
        DivergedError: Its loss stopped being finite.
    """
    from mixopt.pipeline.training_runs import base_run, read_run

    run = base_run(context)
    if run is None:
        return
    context.callbacks.begin("base")
    job = Job("train_base", (), "the base", (run.artifact,), trains=True)
    for _, error in context.dispatcher.run([job]):
        if error is not None:
            raise error
    context.callbacks.on_model_trained(
        "base", "base", read_run(context, run), run.ratios, role="base", seed=context.config.seed
    )


def train_experts(context: StudyContext) -> Experts:
    """Return the experts, trained or found; one that diverges is set aside.

    Raises:
        DivergedError: Fewer than two are left, and the others diverged.
        RunError: Fewer than two are left, for another cause.
    """
    from mixopt.pipeline.training_runs import expert_run, read_run
    from mixopt.training.outcome import TrainingOutcome
    from mixopt.training.step_law import OptimizerHyperparameters
    from mixopt.training.training_run import TrainingResult

    train_base(context)
    results: dict[str, TrainingResult] = {}
    failures: dict[str, str] = {}
    errors: list[Exception] = []
    names = list(context.compositions)
    for name in context.given_experts:
        folder = context.given_expert(name)
        assert folder is not None
        outcome = TrainingOutcome(name, 0, 0, (), 0.0)
        step = OptimizerHyperparameters(0.0, 0, "given")
        results[name] = TrainingResult(folder, outcome, step, {})
        context.callbacks.message(f"Expert {name!r} is given: {folder}")
    context.callbacks.begin("experts")
    runs = {name: expert_run(context, name) for name in names if name not in results}
    jobs = [
        Job("train_expert", (name,), f"expert {name!r}", (run.artifact,), trains=True)
        for name, run in runs.items()
    ]
    done = context.dispatcher.run(jobs)
    for job, error in track(done, "experts", total=len(jobs), unit="expert"):
        (name,) = job.arguments
        if error is not None:
            errors.append(error)
            failures[name] = one_line(error, limit=None)
            _report_failure(context, name, failures[name])
            continue
        results[name] = read_run(context, runs[name])
        ratios = context.compositions[name]
        context.callbacks.on_model_trained(
            "expert", name, results[name], ratios, role="vertex", seed=context.config.seed
        )
        _warn_of_vocabulary(context, results[name])
    results = {name: results[name] for name in names if name in results}
    if len(results) < MIN_EXPERTS:
        raise _too_few(len(results), len(names), errors)
    return Experts(results, failures, {name: context.compositions[name] for name in results})


def _too_few(n: int, of: int, errors: list[Exception]) -> RunError:
    if all(isinstance(error, DivergedError) for error in errors):
        return DivergedError(
            f"{n} of {of} experts were trained without diverging and at least {MIN_EXPERTS} are needed; "
            "lower training.learning_rate and run again."
        )
    cause = next(error for error in errors if not isinstance(error, DivergedError))
    return RunError(
        f"{n} of {of} experts were trained and at least {MIN_EXPERTS} are needed; fix what failed and "
        f"run again: {one_line(cause, limit=None)}"
    )


def _warn_of_vocabulary(context: StudyContext, result: "TrainingResult") -> None:
    """Warn where a given base begins worse than chance: its ids may be those of another tokenizer."""
    losses, n_tokens = result.outcome.losses, len(context.corpora.tokenizer)
    if isinstance(context.config.base, BuiltBaseConfig) or not losses:
        return
    if losses[0][1] > math.log(n_tokens):
        context.callbacks.warning(
            f"The base predicts the text of its experts worse than chance at first ({losses[0][1]:.1f} "
            f"nats per token, {math.log(n_tokens):.1f} by chance): is its tokenizer that of another "
            "model?",
            "ratios",
        )


def _report_failure(context: StudyContext, name: str, cause: str) -> None:
    context.callbacks.message(f"Expert {name!r} is set aside and no mixture weighs it: {cause}")
    model = TrainedModel("expert", name, failure=cause, role="vertex",
                         ratios=dict(context.compositions[name]), seed=context.config.seed)  # fmt: skip
    context.callbacks.notify(lambda callback: callback.on_model_trained(model))
