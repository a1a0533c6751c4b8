"""The `Callback` protocol: hooks that a study calls as it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mixopt.estimate import Estimate
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal
from mixopt.trial import Score
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.config.study import StudyConfig
    from mixopt.optimization.validation import Validation

ModelKind = Literal["base", "expert", "proxy run", "run"]
Role = Literal["base", "vertex", "natural", "candidate", "confirmation"]
"""What a trained model is for: what experts start from; a vertex of merges and ensembles; a run on the
natural mixture; on a candidate; or on either with an unused seed, at the end of a budget."""
Stage = Literal[
    "text", "base", "experts", "search", "method", "proposal", "validation", "budget", "report"
]
"""The parts of a study, in the order in which they begin."""
Changes = Literal["ratios", "scores", "nothing"]
"""What a warning may change: what to train on, scores and their weight, or nothing any more."""


@dataclass(frozen=True)
class StudyWarning:
    """A sentence that a reader needs before trusting the numbers.

    Attributes:
        text: The sentence, with its remedy.
        changes: What it may change; `nothing` where the study has dealt with it.
    """

    text: str
    changes: Changes = "scores"


@dataclass(frozen=True)
class DomainCount:
    """Size of the text of a domain.

    Attributes:
        domain: Name.
        tokens: Tokens in the corpus.
        documents: Documents in the corpus.
        available_tokens: Unique tokens that the target run can draw on.
        content: Hash of the text and the tokenizer.
        note: Remark for the reader, for example that the text is generated.
    """

    domain: str
    tokens: int
    documents: int
    available_tokens: int
    content: str
    note: str = ""


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained, or loaded because it was trained before.

    Attributes:
        kind: `base`, `expert`, `proxy run` (of a validation), `run` (of a search, method or budget).
        name: Name of the model.
        params: Hyperparameters of its training.
        metrics: Final loss, tokens, optimizer steps and FLOPs.
        losses: Training curve as pairs (step, loss in nats per token).
        folder: Folder of the checkpoint.
        failure: Reason why its training failed; None if it succeeded.
        role: What it is for; None if unknown.
        ratios: Share of each domain in its training data (`d`).
        seed: Index of the repetition for runs, else the study's seed; None if unknown.
        scores: Scores by benchmark, by tokens of training; those of base and experts come with
            `on_model_scored`.
    """

    kind: ModelKind
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: Sequence[tuple[int, float]] = ()
    folder: Path | None = None
    failure: str | None = None
    role: Role | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None
    scores: Mapping[int, Mapping[str, Score]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedStage:
    """What a stage will do from its start, finished parts included.

    Attributes:
        stage: The stage.
        trained_tokens: Tokens of training.
        scored: Candidates that are scored.
    """

    stage: Stage
    trained_tokens: int = 0
    scored: int = 0


@dataclass(frozen=True)
class BestSoFar:
    """The best mixture so far.

    Attributes:
        ratios: The mixture (`d`).
        gain: Its gain over natural.
        known_from: What the gain is known from, such as `merges`.
        reference: What the gain is over.
    """

    ratios: Mixture
    gain: Estimate
    known_from: str
    reference: str = "natural"

    def describe(self) -> str:
        """Return gain and interval in words."""
        low, high = self.gain.interval
        return f"{self.gain.mean:+.2f} [{low:+.2f}, {high:+.2f}] over {self.reference}"


@dataclass(frozen=True)
class RoundResult:
    """A search round whose candidates were scored.

    Attributes:
        number: Round, from 1.
        trials: All trials of this and earlier rounds.
        n_candidates: Number of trials by the proxy that the search uses.
        best_utility: Best utility among them.
        rank_correlations: Cross-validated Spearman correlation of the surrogate by metric; NaN if
            there are too few trials.
        reliabilities: Mean of Kendall's tau between halves of a benchmark, by name; only in round 1.
    """

    number: int
    trials: Trials
    n_candidates: int
    best_utility: float
    rank_correlations: Mapping[str, float]
    reliabilities: Mapping[str, float] = field(default_factory=dict)


class Callback:
    """Base class of callbacks; override the hooks that you need, all others do nothing.

    Raises:
        TypeError: A subclass defines a hook `on_...` that does not exist.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name in vars(cls):
            if name.startswith("on_") and name not in known:
                raise TypeError(
                    f"{cls.__name__}.{name} is not a callback hook; the hooks are {', '.join(known)}."
                )

    def on_study_start(self, config: "StudyConfig", output: Path) -> None:
        """Called when a command on the study begins; `output` is the folder of its results."""

    def on_message(self, text: str) -> None:
        """Called with a sentence for the user."""

    def on_warning(self, warning: StudyWarning) -> None:
        """Called once with each warning; passes it to `on_message` unless overridden."""
        self.on_message(warning.text)

    def on_plan(self, stages: Sequence[PlannedStage]) -> None:
        """Called when what the study will train and score is known, before the first training."""

    def on_stage_start(self, stage: Stage) -> None:
        """Called when a stage begins; it ends where another begins, or the study."""

    def on_domains_counted(self, counts: Sequence[DomainCount]) -> None:
        """Called when the corpora are tokenized, with the size of each domain."""

    def on_model_trained(self, model: TrainedModel) -> None:
        """Called for each model that was trained, loaded, or whose training failed."""

    def on_model_scored(self, kind: ModelKind, name: str, scores: Mapping[str, Score]) -> None:
        """Called with the scores by benchmark of base and experts, after `on_model_trained`."""

    def on_best(self, best: BestSoFar) -> None:
        """Called when the best mixture so far, or what is known of it, has changed."""

    def on_round_scored(self, result: RoundResult) -> None:
        """Called after each search round."""

    def on_proposals(self, proposals: Sequence[Proposal]) -> None:
        """Called with the verified proposals, best first."""

    def on_validation(self, validation: "Validation") -> None:
        """Called when proxy runs were trained and compared with the predictions."""

    def on_file_written(self, path: Path) -> None:
        """Called when a result file or folder is complete."""

    def on_study_end(self, failure: BaseException | None) -> None:
        """Called when the command ends, unless `on_study_start` failed.

        Args:
            failure: The exception that ended it, if any.
        """
