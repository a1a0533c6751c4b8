"""The callbacks of one study, called in order."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt.callbacks.base import (
    Callback,
    Changes,
    ModelKind,
    Role,
    Stage,
    StudyWarning,
    TrainedModel,
)
from mixopt.config.study import StudyConfig
from mixopt.errors import hide_credentials
from mixopt.io.interrupts import acknowledge_stop
from mixopt.trial import Score

if TYPE_CHECKING:
    from mixopt.training.training_run import TrainingResult


class CallbackList:
    """Calls the hooks of every callback of a study.

    Args:
        config: Config of the study.
        output: Folder of the study's results; None if no result files are written.
        callbacks: Called in this order.

    Attributes:
        study_warnings: Warnings so far; the report repeats them.
    """

    def __init__(
        self, config: StudyConfig, output: Path | None, callbacks: Sequence[Callback] = ()
    ) -> None:
        self.config, self.output, self.callbacks = config, output, tuple(callbacks)
        self.study_warnings: list[StudyWarning] = []
        self._depth = 0
        self._stage: Stage | None = None
        self._reported: set[Path] = set()
        self._started = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call `on_study_start` and `on_study_end` around the outermost of nested commands."""
        started: list[Callback] = []
        self._depth += 1
        failure: BaseException | None = None
        try:
            if self._depth == 1:
                self._start(started)
            yield
        except BaseException as error:
            failure = error
            if isinstance(error, KeyboardInterrupt):
                acknowledge_stop()
            raise
        finally:
            self._depth -= 1
            for callback in started:
                callback.on_study_end(failure)

    def _start(self, started: list[Callback]) -> None:
        """Start the callbacks, and collect those whose start did not fail."""
        self._started, self._stage = time.monotonic(), None
        self._reported.clear()
        if self.output is None:
            return
        for callback in self.callbacks:
            callback.on_study_start(self.config, self.output)
            started.append(callback)

    @property
    def is_outermost(self) -> bool:
        """Whether the running command was not called by another command."""
        return self._depth == 1

    @property
    def elapsed_s(self) -> float:
        """Seconds since the outermost command began."""
        return time.monotonic() - self._started

    def notify(self, call: Callable[[Callback], None]) -> None:
        """Apply `call` to each callback."""
        for callback in self.callbacks:
            call(callback)

    def message(self, text: str) -> None:
        """Send a sentence for the user."""
        self.notify(lambda c: c.on_message(text))

    def warning(self, text: str, changes: Changes = "scores") -> None:
        """Send a warning, once, and keep it for the report, without credentials.

        Args:
            text: The sentence, with its remedy.
            changes: What it may change.
        """
        text = hide_credentials(text)
        if text not in self.warnings:
            warning = StudyWarning(text, changes)
            self.study_warnings.append(warning)
            self.notify(lambda c: c.on_warning(warning))

    @property
    def warnings(self) -> list[str]:
        """The sentences of the warnings so far."""
        return [warning.text for warning in self.study_warnings]

    def begin(self, stage: Stage) -> None:
        """Report that a stage begins, unless it is under way."""
        if stage != self._stage:
            self._stage = stage
            self.notify(lambda c: c.on_stage_start(stage))

    def on_model_trained(
        self,
        kind: ModelKind,
        name: str,
        result: "TrainingResult",
        ratios: Mapping[str, float],
        *,
        role: Role,
        seed: int,
        scores: Mapping[int, Mapping[str, Score]] | None = None,
    ) -> None:
        """Report a trained model, once in a command.

        Args:
            kind: Why it was trained.
            name: Name of the model.
            result: What the training returned.
            ratios: Share of each domain in its training data.
            role: What it is for.
            seed: Index of the repetition for runs, else the study's seed.
            scores: Scores by benchmark, by tokens of training, where they are known.
        """
        if result.folder in self._reported:  # a run that another stage asks for again
            return
        self._reported.add(result.folder)
        outcome, step = result.outcome, result.step
        params = {
            "learning_rate": f"{step.learning_rate:.3g}",
            # what was trained: the batch asked for has to be divided over devices and passes
            "batch_tokens": outcome.tokens // outcome.steps,
            "step_source": step.source,
            "epochs": {domain: round(count, 3) for domain, count in result.epochs.items() if count},
        }
        # the mean over the last fifth, as single steps are noisy
        last = [loss for _, loss in outcome.losses[-max(1, len(outcome.losses) // 5) :]]
        metrics = {
            "tokens": float(outcome.tokens),
            "steps": float(outcome.steps),
            "flops": outcome.flops,
            "final_loss": float(np.mean(last)) if last else float("nan"),
        }
        model = TrainedModel(
            kind, name, params, metrics, outcome.losses, result.folder,
            role=role, ratios=dict(ratios), seed=seed, scores=scores or {},
        )  # fmt: skip
        self.notify(lambda c: c.on_model_trained(model))
