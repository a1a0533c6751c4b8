"""The values that a report shows.

Shapes: `n` trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mixopt.callbacks.base import Changes, DomainCount, StudyWarning
from mixopt.mixture import Array, Mixture
from mixopt.optimization.learning_curve import Expectation
from mixopt.optimization.validation import Validation
from mixopt.proposal import Proposal
from mixopt.report.what_if import WhatIf
from mixopt.trial import Kind, Metric

LearnedFrom = Literal["ensembles", "merges", "runs"]
LEARNED_FROM: dict[Kind, LearnedFrom] = {
    "ensembled": "ensembles", "merged": "merges", "trained": "runs"
}  # fmt: skip
"""What predictions of a surrogate are of, by the highest fidelity that it was fitted to."""
UNITS = {
    "z": "standard deviations of a benchmark over the trials",
    "rank": "percentile ranks among the trials",
    "raw": "the benchmarks' own units",
}
"""Unit of gains of the utility and of capabilities, by `search.normalise`."""

CHANGES: dict[Changes, str] = {
    "ratios": "These may change what to train on",
    "scores": "These change scores, or how much they count",
    "nothing": "These change nothing: the study has dealt with them",
}
"""What warnings may change, in the words of the page."""


@dataclass(frozen=True, eq=False)
class PredictedScores:
    """Measured scores of one metric, and predictions of them.

    Attributes:
        measured: Scores (`n`), NaN where missing.
        predicted: Predictions (`n`), out-of-fold in a report.
        rank_correlation: Spearman's correlation of the two.
        model: The model with the largest weight in the surrogate.
    """

    measured: Array
    predicted: Array
    rank_correlation: float
    model: str


@dataclass(frozen=True)
class RoundSummary:
    """The state of the search after one round.

    Attributes:
        number: Of the round, from 1.
        n_trials: Candidates scored so far.
        best: Best measured utility so far, in the scale of the last round.
        rank_correlation: Spearman's correlation of cross-validated with measured utility, then.
    """

    number: int
    n_trials: int
    best: float
    rank_correlation: float


@dataclass(frozen=True)
class TrainedRun:
    """A run that was really trained, beside the natural run with the same seed and length.

    Attributes:
        ratios: What it was trained on.
        seed: Runs with one seed read the same text of a domain.
        tokens: Its length.
        gain: Utility over that natural run, in sd of a benchmark over mixtures around natural, as they
            have grown to `tokens`; NaN for a natural run, and where either failed.
        failed: Whether it has no score.
        unseen: Whether its seed was unused when the candidate was chosen, at the end of a budget.
    """

    ratios: Mixture
    seed: int
    tokens: int
    gain: float
    failed: bool = False
    unseen: bool = False


@dataclass(frozen=True, eq=False)
class ReportData:
    """What the page shows.

    Attributes:
        name: Of the study or the table.
        measured_by: Source of measured gains (`the merged proxy`), or `the surrogate`.
        proposals: Best first.
        metrics: The measured metrics.
        what_if: The emulator of the surrogate.
        predictions: Cross-validated predictions, by metric and for `utility`.
        domains: Amount of text by domain; empty where unknown.
        expert_scores: By expert, and for `base`: score by metric; empty without experts.
        rounds: Summary of each round of the search.
        validation: Result of the proxy runs, if any were trained.
        trained: Runs that were really trained, natural ones too.
        validated: The proposal that those runs trained; None means the first of `proposals`.
        warnings: What a reader needs to know before trusting the numbers.
        costs: Amounts spent so far, in words by name.
        facts: What is needed to reproduce the report: versions, seed, device, time.
        aggregate: How capabilities are combined into the utility.
        unit: Unit of gains of the utility and of capabilities.
        advice: How to learn more, for a table of runs.
        expectations: Quality of a fit to a table, and to more runs; empty if not asked for.
        learned_from: What the surrogate learned from, and what its predictions are of.
    """

    name: str
    measured_by: str
    proposals: Sequence[Proposal]
    metrics: Sequence[Metric]
    what_if: WhatIf
    predictions: Mapping[str, PredictedScores]
    domains: Sequence[DomainCount] = ()
    expert_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rounds: Sequence[RoundSummary] = ()
    validation: Validation | None = None
    trained: Sequence[TrainedRun] = ()
    validated: Mixture | None = None
    warnings: Sequence[StudyWarning] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = "weighted mean"
    unit: str = UNITS["z"]
    advice: str = ""
    expectations: Sequence[Expectation] = ()
    learned_from: LearnedFrom = "runs"

    @property
    def best(self) -> Proposal:
        """The first proposal."""
        return self.proposals[0]

    @property
    def validated_an_earlier_proposal(self) -> bool:
        """Whether the proxy runs trained another mixture than the first proposal.

        So it is after real runs corrected the surrogate and moved the proposal.
        """
        return self.validated is not None and dict(self.validated) != dict(self.best.ratios)
