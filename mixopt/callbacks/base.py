"""What may be watched of a study. Nothing on the road knows who watches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixopt.config.study import StudyConfig
from mixopt.proposal import Proposal
from mixopt.trials import DomainCount, Trials
from mixopt.validation import Validation


@dataclass(frozen=True)
class TrainedModel:
    """One model that was trained, or found finished.

    Attributes:
        kind: `base`, `expert` or `proxy run`.
        name: Of the model.
        params: What it was trained with.
        metrics: What it came to.
        losses: (step, loss in nats per token).
        folder: Where its unit lies.
        failure: Why it is set aside, if it is.
    """

    kind: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: Sequence[tuple[int, float]] = ()
    folder: Path | None = None
    failure: str | None = None


class Callback:
    """Watches a study; every method does nothing until it is overridden."""

    def study_started(self, recipe: StudyConfig, output: Path) -> None:
        """A verb begins on the study."""

    def said(self, sentence: str) -> None:
        """Something that a reader should know."""

    def domains_counted(self, counts: Sequence[DomainCount]) -> None:
        """The corpora are tokenized."""

    def model_trained(self, model: TrainedModel) -> None:
        """A base, expert or proxy run is finished."""

    def round_scored(self, number: int, trials: Trials, metrics: Mapping[str, float]) -> None:
        """A round of candidates is scored; `trials` holds all so far."""

    def proposed(self, proposals: Sequence[Proposal]) -> None:
        """Proposals are made and verified."""

    def validated(self, validation: Validation) -> None:
        """Proxy runs are trained and compared."""

    def written(self, path: Path) -> None:
        """A result file or folder is whole."""

    def study_ended(self, failure: BaseException | None) -> None:
        """The verb is over; `failure` says why it did not end well."""
