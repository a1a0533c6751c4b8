"""Telling: how a study lets its observers know, and how its result files become whole."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mixopt.callbacks.base import Callback, TrainedModel
from mixopt.config.study import StudyConfig
from mixopt.io.files import write_text
from mixopt.trials import DomainCount

if TYPE_CHECKING:
    from mixopt.pipeline.laboratory import Laboratory
    from mixopt.training.training_run import TrainingResult


class CallbackList:
    """Tells observers what happens in a study, and when its outermost verb begins and ends."""

    def __init__(self, recipe: StudyConfig, output: Path, observers: Sequence[Callback]) -> None:
        self._recipe, self._output = recipe, output
        self._observers = tuple(observers)
        self._depth = 0
        self._since = time.monotonic()
        self.warnings: list[str] = []
        """Sentences that the report repeats: what a reader must know before trusting a number."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tells observers when the outermost verb begins and how it ends."""
        if self._depth == 0:
            self._since = time.monotonic()
            self.tell(lambda o: o.study_started(self._recipe, self._output))
        self._depth += 1
        failure: BaseException | None = None
        try:
            if self._depth == 1:
                self.write("recipe.yaml", to_yaml(self._recipe))
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.tell(lambda o: o.study_ended(failure))

    @property
    def is_outermost(self) -> bool:
        """Whether the verb that runs was not called by another."""
        return self._depth == 1

    @property
    def elapsed_s(self) -> float:
        """Seconds since the outermost verb began."""
        return time.monotonic() - self._since

    def tell(self, what: Callable[[Callback], None]) -> None:
        """Calls `what` with each observer."""
        for observer in self._observers:
            what(observer)

    def say(self, sentence: str) -> None:
        """Tells a sentence that a reader should know."""
        self.tell(lambda o: o.said(sentence))

    def warn(self, sentence: str) -> None:
        """Tells a sentence once and keeps it for the report."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self.say(sentence)

    def write(self, name: str, text: str) -> None:
        """Writes a result file whole, and tells."""
        path = write_text(self._output / name, text)
        self.tell(lambda o: o.written(path))

    def trained(
        self, kind: str, name: str, trained: "TrainingResult", row: Mapping[str, float]
    ) -> None:
        """Tells of a finished model: what it was trained with and what it came to."""
        outcome, step = trained.outcome, trained.step
        params = {
            "learning_rate": f"{step.learning_rate:.3g}",
            "batch_tokens": step.batch_tokens,
            "step_source": step.source,
            "ratios": {domain: round(ratio, 6) for domain, ratio in row.items() if ratio},
            "epochs": {domain: round(count, 3) for domain, count in trained.epochs.items()},
        }
        metrics = {
            "tokens": float(outcome.tokens),
            "steps": float(outcome.steps),
            "flops": outcome.flops,
            "final_loss": _last_losses(outcome.losses),
        }
        model = TrainedModel(kind, name, params, metrics, outcome.losses, trained.folder)
        self.tell(lambda o: o.model_trained(model))


def count_domains(recipe: StudyConfig, lab: "Laboratory") -> list[DomainCount]:
    """How much text each domain of the study has."""
    counts = []
    for expert in recipe.experts:
        available = lab.available_tokens.get(expert.domain, 0)
        corpus = lab.corpora.get(expert.domain)
        if corpus is None:
            counts.append(
                DomainCount(expert.domain, 0, 0, available, "", "no text: a given expert")
            )
            continue
        content = corpus.folder.name.rsplit("-", 1)[-1]
        note = "generated" if getattr(expert.text, "name", "") == "arithmetic" else ""
        counts.append(
            DomainCount(expert.domain, corpus.tokens, corpus.documents, available, content, note)
        )
    return counts


def _last_losses(losses: Sequence[tuple[int, float]]) -> float:
    """Mean loss over the last fifth of a run: one step's alone depends on what it drew."""
    if not losses:
        return float("nan")
    return float(np.mean([loss for _, loss in losses[-max(1, len(losses) // 5) :]]))


def to_yaml(recipe: StudyConfig) -> str:
    """The resolved recipe as YAML, which loads again."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def to_json(plain: Any) -> str:
    """Plain data as JSON text."""
    return json.dumps(plain, indent=2, default=float) + "\n"
