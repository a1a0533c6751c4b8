"""Trials: mixtures with their scores, and how a table of them is read and written.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import HoldoutError, TrialsError, did_you_mean
from mixopt.mixture import Mixture

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Direction = Literal["lower", "higher"]
Role = Literal["search", "holdout"]
Kind = Literal["merged", "ensembled", "trained"]
Normalisation = Literal["z", "rank", "raw"]
Aggregation = Literal["mean", "weighted", "worst"]
KINDS: tuple[Kind, ...] = ("ensembled", "merged", "trained")
"""From the cheapest to the dearest."""


@dataclass(frozen=True)
class DomainCount:
    """How much text a domain has.

    Attributes:
        domain: Name.
        tokens: Tokens in the corpus.
        documents: Documents in the corpus.
        available_tokens: What the target run could draw on.
        content: Hash of the text and the tokenizer.
        note: What else a reader should know (that the text is generated, say).
    """

    domain: str
    tokens: int
    documents: int
    available_tokens: int
    content: str
    note: str = ""


@dataclass(frozen=True)
class Metric:
    """What one benchmark measures.

    Attributes:
        name: Name of the benchmark or of the table's column.
        better: Whether lower or higher values are better.
        capability: The group of benchmarks that it belongs to.
        role: `search` scores choose mixtures; `holdout` scores only report.
        own_domain: The domain whose held-out text this is, if it is any's.
    """

    name: str
    better: Direction = "lower"
    capability: str = "all"
    role: Role = "search"
    own_domain: str | None = None


@dataclass(frozen=True)
class Score:
    """A measured value and its standard error (NaN where it is not known)."""

    value: float
    std_error: float = float("nan")


@dataclass(frozen=True)
class Slope:
    """How scores change from a trial's mixture towards another one.

    Attributes:
        towards: The other mixture.
        changes: By metric, the derivative of the score by the share of the way that is gone.
    """

    towards: Mixture
    changes: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One mixture with its scores.

    Attributes:
        id: Unique within its kind.
        ratios: The mixture of tokens that the trial stands for.
        scores: By metric name; a metric that is missing costs that value, not the trial.
        kind: `merged` and `ensembled` stand for a proxy, `trained` for a really trained run.
        weights: The experts' weights, where experts were combined.
        round: Round of the search, from 1.
        seed: Seed of the training, where one was trained.
        tokens: Tokens trained for this trial alone.
        flops: Floating-point operations spent on this trial alone.
        fidelity: What was trained or scored, where that differs (`1B`); the kind if left out.
        cost: What the trial cost, in a unit that all trials share; 0 where it is not known.
        slopes: How the scores change around the mixture, where the scorer has slopes.
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

    @property
    def level(self) -> str:
        """The fidelity, or the kind where none is named."""
        return self.fidelity or self.kind


class Trials(Sequence[Trial]):
    """A table of trials over the same domains and metrics.

    Raises:
        TrialsError: Two trials of one kind share an id, or a score names an unknown metric.
    """

    def __init__(
        self, trials: Sequence[Trial], metrics: Sequence[Metric], domains: Sequence[str]
    ) -> None:
        self._trials = tuple(trials)
        self.metrics = tuple(metrics)
        self.domains = tuple(domains)
        known = {metric.name for metric in self.metrics}
        seen: set[tuple[str, str]] = set()
        for trial in self._trials:
            if (trial.level, trial.id) in seen:
                raise TrialsError(
                    f"Two {trial.level} trials have the id {trial.id!r}; ids are unique."
                )
            seen.add((trial.level, trial.id))
            for name in trial.scores:
                if name not in known:
                    raise TrialsError(
                        f"Trial {trial.id!r} has a score of {name!r}, which is no metric of this "
                        f"table. {did_you_mean(name, known)}"
                    )

    def __len__(self) -> int:
        return len(self._trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> "Trials": ...
    def __getitem__(self, index: int | slice) -> "Trial | Trials":
        if isinstance(index, slice):
            return Trials(self._trials[index], self.metrics, self.domains)
        return self._trials[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __add__(self, other: "Trials") -> "Trials":
        for domain in {*self.domains} ^ {*other.domains}:
            raise TrialsError(
                f"Domain {domain!r} is in one of the tables only; name domains alike in both, or "
                "give it a ratio of 0 where it was not used."
            )
        named = {metric.name: metric for metric in self.metrics}
        for metric in other.metrics:
            same = named.get(metric.name)
            if same is not None and same.better != metric.better:
                raise TrialsError(
                    f"Metric {metric.name!r} is better {same.better} in one table and "
                    f"{metric.better} in the other; say better= alike for both."
                )
            theirs = {m.name for m in other.metrics}
            for name in [n for n in named if n not in theirs] if same is None else []:
                if _ends_with(name, metric.name) or _ends_with(metric.name, name):
                    raise TrialsError(
                        f"Metric {name!r} of one table is called {metric.name!r} in the other; "
                        "name metrics alike in both."
                    )
        metrics = [*self.metrics, *(m for m in other.metrics if m.name not in named)]
        return Trials([*self, *other], metrics, self.domains)

    def labelled(self, fidelity: str) -> "Trials":
        """The same trials under the name of what was trained (`1M`), to be added to others."""
        return Trials([replace(t, fidelity=fidelity) for t in self], self.metrics, self.domains)

    def where(self, *, kind: Kind) -> "Trials":
        """The trials that were obtained as `kind`."""
        return Trials([t for t in self if t.kind == kind], self.metrics, self.domains)

    def at(self, level: str) -> "Trials":
        """The trials of one fidelity."""
        return Trials([t for t in self if t.level == level], self.metrics, self.domains)

    @property
    def digest(self) -> str:
        """A hash of all that the table says."""
        told = {
            "domains": self.domains,
            "metrics": [asdict(metric) for metric in self.metrics],
            "trials": [
                {**vars(trial), "ratios": dict(trial.ratios),
                 "scores": {name: [s.value, s.std_error] for name, s in trial.scores.items()},
                 "slopes": [[dict(s.towards), dict(s.changes)] for s in trial.slopes]}
                for trial in self
            ],
        }  # fmt: skip
        return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()

    @property
    def levels(self) -> tuple[str, ...]:
        """The fidelities, in the order in which they first appear."""
        return tuple(dict.fromkeys(trial.level for trial in self))

    @property
    def search_metrics(self) -> tuple[Metric, ...]:
        """The metrics that may choose mixtures."""
        return tuple(metric for metric in self.metrics if metric.role == "search")

    @property
    def holdout_metrics(self) -> tuple[Metric, ...]:
        """The metrics that chose nothing, which alone may be reported as a result."""
        return tuple(metric for metric in self.metrics if metric.role == "holdout")

    def metric(self, name: str) -> Metric:
        """The metric called `name`.

        Raises:
            TrialsError: No metric has that name.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise TrialsError(
            f"No metric is called {name!r}. {did_you_mean(name, [m.name for m in self.metrics])}"
        )

    def require_search(self, names: Sequence[str]) -> tuple[Metric, ...]:
        """The metrics called `names`, every one of them allowed to choose mixtures.

        Raises:
            HoldoutError: One of them has `role: holdout`.
            TrialsError: One of them does not exist.
        """
        metrics = tuple(self.metric(name) for name in names)
        for metric in metrics:
            if metric.role == "holdout":
                raise HoldoutError(
                    f"Benchmark {metric.name!r} has role holdout, so its scores may not reach a "
                    "surrogate; choose by search benchmarks, or change its role before the search."
                )
        return metrics

    def require_holdout(self, names: Sequence[str]) -> tuple[Metric, ...]:
        """The metrics called `names`, none of which chose a mixture.

        Raises:
            HoldoutError: One of them has `role: search`.
            TrialsError: One of them does not exist.
        """
        metrics = tuple(self.metric(name) for name in names)
        for metric in metrics:
            if metric.role == "search":
                raise HoldoutError(
                    f"Benchmark {metric.name!r} has role search: it chose the mixture, so its score is "
                    "no result; report benchmarks with role holdout."
                )
        return metrics

    def ratios(self) -> Array:
        """Mixtures, `n x d`, in the order of `domains`."""
        if not self._trials:
            return np.empty((0, len(self.domains)))
        return np.stack([trial.ratios.vector(self.domains) for trial in self])

    def values(self, metrics: Sequence[Metric]) -> Array:
        """Scores, `n x m`, NaN where a trial lacks one."""
        return self._scores(metrics, lambda score: score.value)

    def std_errors(self, metrics: Sequence[Metric]) -> Array:
        """Standard errors, `n x m`, NaN where they are not known."""
        return self._scores(metrics, lambda score: score.std_error)

    def _scores(self, metrics: Sequence[Metric], pick: Callable[[Score], float]) -> Array:
        missing = Score(float("nan"))
        rows = [[pick(t.scores.get(metric.name, missing)) for metric in metrics] for t in self]
        return np.array(rows, dtype=np.float64).reshape(len(self), len(metrics))

    def to_frame(self) -> "pd.DataFrame":
        """One row per trial: id, kind, round, seed, `ratio/*`, `weight/*`, `score/*`, `se/*`, ...

        Fidelity and cost are there where any trial has one; `read_trials(runs=...)` reads it back.
        Slopes are left out.
        """
        import pandas as pd

        rows = []
        for trial in self:
            row: dict[str, object] = {"id": trial.id, "kind": trial.kind, "round": trial.round}
            row["seed"] = trial.seed
            row |= {f"ratio/{name}": trial.ratios.get(name, 0.0) for name in self.domains}
            row |= {f"weight/{name}": weight for name, weight in (trial.weights or {}).items()}
            for metric in self.metrics:
                score = trial.scores.get(metric.name, Score(float("nan")))
                row[f"score/{metric.name}"] = score.value
                row[f"se/{metric.name}"] = score.std_error
            row |= {"tokens": trial.tokens, "flops": trial.flops}
            if any(other.fidelity for other in self):
                row["fidelity"] = trial.level
            if any(other.cost for other in self):
                row["cost"] = trial.cost
            rows.append(row)
        return pd.DataFrame(rows)


def _ends_with(name: str, ending: str) -> bool:
    """Whether `name` is `ending` behind a prefix."""
    return name.endswith(ending) and name.removesuffix(ending)[-1:] in ("_", "/", ".")
