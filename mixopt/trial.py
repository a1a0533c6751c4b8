"""A trial: one mixture with its scores, and the metrics that these are of.

Shapes: `d` domains, `k` experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mixopt.errors import ArgumentTypeError
from mixopt.mixture import Mixture, as_mixture
from mixopt.trial_checks import require_word

Direction = Literal["lower", "higher"]
Role = Literal["search", "holdout"]
Kind = Literal["merged", "ensembled", "trained"]
Normalisation = Literal["z", "rank", "raw"]
Aggregation = Literal["mean", "weighted", "worst"]
KINDS: tuple[Kind, ...] = ("ensembled", "merged", "trained")
"""From the cheapest to the most expensive."""
ARROWS: Mapping[Direction, str] = {"lower": "↓", "higher": "↑"}
"""Which way a metric is better, in short."""
LARGEST = 1e100
"""A larger score, of a run that diverged, is missing: its square would overflow."""


@dataclass(frozen=True)
class Metric:
    """A benchmark score or a loss.

    Attributes:
        name: Name of the benchmark or of the table's column.
        better: Whether lower or higher values are better.
        capability: Group of metrics that are averaged before capabilities are.
        role: `search` scores choose mixtures; `holdout` scores are only reported.
        own_domain: Domain whose held-out text the metric scores, if any.
        column: Name of its column in a table, where that is another: a target may name it too.

    Raises:
        TrialsError: `better` or `role` is another word.
    """

    name: str
    better: Direction = "lower"
    capability: str = "all"
    role: Role = "search"
    own_domain: str | None = None
    column: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.name))
        require_word(f"Metric {self.name!r} is better", self.better, ("lower", "higher"))
        require_word(f"Metric {self.name!r} has the role", self.role, ("search", "holdout"))


@dataclass(frozen=True)
class Score:
    """A measured value.

    Attributes:
        value: The value, in the metric's units.
        std_error: Its standard error; NaN if unknown.
    """

    value: float
    std_error: float = float("nan")


@dataclass(frozen=True)
class Slope:
    """Directional derivatives of a trial's scores.

    Attributes:
        towards: Mixture (`d`) that the direction points to.
        changes: By metric, the derivative of the score by the fraction of the way to `towards`.
    """

    towards: Mixture
    changes: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One mixture with its scores.

    Attributes:
        id: Name, unique within its fidelity.
        ratios: Ratios of the tokens (`d`): a mixture, a dict or a Series by domain.
        scores: Score by metric name; a plain number is a score of unknown standard error. A
            missing metric is allowed.
        kind: `trained` for a run really trained; `merged` or `ensembled` for a proxy of one.
        weights: Weights by expert (`k`), if experts were combined.
        round: Round of the search, from 1.
        seed: Seed of the training, if one was trained.
        tokens: Tokens trained for this trial alone.
        flops: Floating-point operations spent on this trial alone.
        fidelity: Name of what was trained or scored (`1B`), if not the kind.
        cost: Cost in a unit common to all trials; 0 if unknown.
        slopes: Directional derivatives of the scores, if the scorer gives them.
        cost_unit: Unit of `cost` (`gpu_hours`), if it is known; costs in several units order nothing.

    Raises:
        TrialsError: `kind` is another word.
        MixtureError: The ratios are no mixture.
        ArgumentTypeError: The ratios have no names, or a score is no number.
    """

    id: str
    ratios: Mixture
    scores: Mapping[str, Score] = field(default_factory=dict)
    kind: Kind = "trained"
    weights: Mapping[str, float] | None = None
    round: int = 0
    seed: int | None = None
    tokens: int = 0
    flops: float = 0.0
    fidelity: str = ""
    cost: float = 0.0
    slopes: tuple[Slope, ...] = ()
    cost_unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", as_mixture(self.ratios))
        if not all(isinstance(score, Score) for score in self.scores.values()):
            scores = {str(name): _as_score(name, score) for name, score in self.scores.items()}
            object.__setattr__(self, "scores", scores)
        require_word(f"Trial {self.id!r} is of the kind", self.kind, KINDS)
        fidelity: Any = self.fidelity  # a number, perhaps
        if not isinstance(fidelity, str):
            object.__setattr__(self, "fidelity", _spell(fidelity))

    @property
    def level(self) -> str:
        """The fidelity, or the kind if none is named."""
        return self.fidelity or self.kind


def _as_score(name: str, given: Any) -> Score:
    if isinstance(given, Score):
        return given
    if not isinstance(given, int | float | np.number):
        raise ArgumentTypeError(
            f"The score of {name!r} is a {type(given).__name__}; give a number or a mixopt.Score."
        )
    return Score(float(given))


def _spell(fidelity: object) -> str:
    return f"{fidelity:.15g}" if isinstance(fidelity, float) else str(fidelity)
