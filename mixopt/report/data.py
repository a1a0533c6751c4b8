"""What a report shows: values alone, gathered by whoever made them.

Shapes: `n` trials, `d` domains, `k` answers of the emulator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mixopt.mixture import Array, Mixture
from mixopt.proposal import Proposal
from mixopt.report.emulator import Emulator
from mixopt.trials import DomainCount, Metric
from mixopt.validation import Validation

UNITS = {
    "z": "standard deviations over the trials",
    "rank": "percentile ranks among the trials",
    "raw": "the benchmarks' own units",
}
"""What gains of the utility and of capabilities are in, by how benchmarks were made comparable."""


@dataclass(frozen=True)
class Answer:
    """One number that the page computes for any mixture; its variance stands beside it.

    Attributes:
        name: `gain`, a capability or a metric.
        kind: `utility`, `capability` (gains over the reference) or `metric` (score and change).
        better: Which direction is better, for metrics.
        mean: Column of the emulator.
        change: Column of the change against the reference, for metrics; else the same as `mean`.
        spread: Column of log(variance of that change ÷ squared Hellinger distance from the reference,
            times two): a change is sure at the reference, so its variance alone cannot be
            interpolated there.
    """

    name: str
    kind: str
    better: str
    mean: int
    change: int
    spread: int


@dataclass(frozen=True, eq=False)
class WhatIf:
    """The surrogate, ready to be asked in the page.

    Attributes:
        domains: In the order of every `d`.
        emulator: Computes the answers.
        answers: What its columns mean.
        reference: Name of the mixture that gains are over.
        anchor: √ratios of that mixture (`d`).
        starts: Mixtures to start from, by name.
        feasible: Mixtures that may be proposed (`n x d`), for the front between capabilities.
        lower: Least ratio of each domain (`d`).
        upper: Largest (`d`).
        rules: What else bounds mixtures, in words.
        miss: 95% of the differences between emulator and surrogate, over mixtures that are no nodes.
        spread: Standard deviation of the surrogate's gain over the same mixtures.
        band_miss: As `miss`, of the width of the gain's band, as a share of it.
    """

    domains: tuple[str, ...]
    emulator: Emulator
    answers: Sequence[Answer]
    reference: str
    anchor: Array
    starts: Mapping[str, Mixture]
    feasible: Array
    lower: Array
    upper: Array
    rules: Sequence[str]
    miss: float
    spread: float
    band_miss: float

    def read(self, answer: "Answer", ratios: Array) -> tuple[Array, Array, Array]:
        """Mean, change against the reference, and its deviation (`q` each) at `q x d` ratios."""
        found = self.emulator.predict(ratios)
        square = distance_from(self.anchor, ratios)
        std = np.sqrt(np.exp(found[:, answer.spread]) * square)
        return found[:, answer.mean], found[:, answer.change], std


def distance_from(anchor: Array, ratios: Array) -> Array:
    """Squared distance (`q`) of √ratios from `anchor`: twice the squared Hellinger distance."""
    return np.asarray(np.square(np.sqrt(np.maximum(ratios, 0.0)) - anchor).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Points:
    """One metric's runs, measured and predicted without having been seen.

    Attributes:
        measured: Scores (`n`).
        predicted: Out-of-fold predictions (`n`).
        rank: Spearman between the two.
        chosen: The surrogate that counts most.
    """

    measured: Array
    predicted: Array
    rank: float
    chosen: str


@dataclass(frozen=True)
class Round:
    """What a round of the search taught.

    Attributes:
        number: Of the round.
        trials: Candidates so far.
        best: Best utility measured so far, in the last round's scale.
        rank: How unseen candidates are ranked by utility, cross-validated.
    """

    number: int
    trials: int
    best: float
    rank: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """What the page shows.

    Attributes:
        name: Of the study or the table.
        measured_by: What measured gains come from (`the merged proxy`), or `the surrogate`.
        proposals: Best first.
        metrics: What was measured.
        what_if: The surrogate, ready to be asked.
        trials: Mixtures that were scored, and their utility.
        points: Predicted against measured, by metric.
        domains: How much text each domain has; empty where that is not known.
        expert_scores: By expert, and for `base`: score by metric; empty without experts.
        rounds: What each round of the search taught.
        validation: What proxy runs say, where any were trained.
        warnings: What a reader must know before trusting a number.
        costs: What was spent so far, in words by name.
        facts: How to make it again: versions, seeds, device, times.
        aggregate: How capabilities became what was maximised.
        unit: What gains of the utility and of capabilities are in.
        advice: What to do to learn more, where nothing above says it.
    """

    name: str
    measured_by: str
    proposals: Sequence[Proposal]
    metrics: Sequence[Metric]
    what_if: WhatIf
    trials: Sequence[tuple[Mixture, float]]
    points: Mapping[str, Points]
    domains: Sequence[DomainCount] = ()
    expert_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rounds: Sequence[Round] = ()
    validation: Validation | None = None
    warnings: Sequence[str] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = "weighted mean"
    unit: str = UNITS["z"]
    advice: str = ""

    @property
    def best(self) -> Proposal:
        """The first proposal."""
        return self.proposals[0]
