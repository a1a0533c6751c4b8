"""Trials: mixtures with their scores, and their form as arrays and data frames.

Shapes: `n` trials, `d` domains, `m` metrics, `k` experts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike

from mixopt.errors import HoldoutError, TrialsError, did_you_mean, require_type
from mixopt.mixture import Array
from mixopt.trial import ARROWS, KINDS, LARGEST, Direction, Kind, Metric, Role, Score, Trial
from mixopt.trial_checks import (
    as_domains,
    find_places,
    require_alike,
    require_domains,
    require_names,
    require_spelling,
    require_word,
)

if TYPE_CHECKING:
    import pandas as pd


class Trials(Sequence[Trial]):
    """A table of `n` trials over the same `d` domains and `m` metrics.

    Args:
        trials: The trials.
        metrics: The metrics that scores may name.
        domains: The domains, in the order of every array.

    Raises:
        TrialsError: Two metrics or two domains share a name, two trials of one fidelity an id, or a
            score or a ratio names an unknown metric or domain.
        ArgumentTypeError: An element is no `Trial` or no `Metric`, or `domains` is one string.
    """

    def __init__(
        self, trials: Sequence[Trial], metrics: Sequence[Metric], domains: Sequence[str]
    ) -> None:
        self._trials = tuple(trials)
        self.metrics = tuple(metrics)
        self.domains = as_domains(domains)
        for metric in self.metrics:
            require_type("A metric", metric, Metric, "give mixopt.Metric(name, better)")
        for trial in self._trials:
            require_type("A trial", trial, Trial, "give mixopt.Trial(id, ratios, scores)")
        require_names(self._trials, self.metrics)
        require_domains(self._trials, self.domains)

    @classmethod
    def from_arrays(
        cls,
        ratios: ArrayLike,
        scores: ArrayLike,
        *,
        domains: Sequence[str],
        metrics: "Sequence[Metric] | Mapping[str, Direction]",
        std_errors: ArrayLike | None = None,
        ids: Sequence[str] | None = None,
        kind: Kind = "trained",
    ) -> "Trials":
        """Return the trials of a design matrix and its scores.

        Args:
            ratios: Mixtures (`n x d`). Data frames are read by position too; their columns and
                indices are compared, so that no mixture gets another's scores.
            scores: Scores (`n x m`); NaN where one is missing.
            domains: Names of the columns of `ratios`.
            metrics: The metrics of the columns of `scores`, or `{"loss": "lower"}`.
            std_errors: Standard errors of the scores (`n x m`), NaN if unknown.
            ids: Names of the trials (`n`); 0 to n - 1 if None.
            kind: How all trials were obtained.

        Returns:
            The trials, in the order of the rows.

        Raises:
            TrialsError: The shapes do not fit together, or the columns or indices of data frames.
            MixtureError: A row of `ratios` is no mixture.
            ArgumentTypeError: An array holds something else than numbers.
        """
        from mixopt.trial_tables import as_metrics, read_arrays

        named, domains = as_metrics(metrics), as_domains(domains)
        trials = read_arrays(ratios, scores, domains, named, std_errors, ids, kind)
        return cls(trials, named, domains)

    @classmethod
    def from_frame(
        cls,
        frame: "pd.DataFrame",
        *,
        domains: Sequence[str],
        metrics: "Sequence[Metric] | Mapping[str, Direction]",
    ) -> "Trials":
        """Return the trials of a data frame with one row per trial, the inverse of `to_frame`.

        Columns are `ratio/X` or `X` for domain X, `score/Y` or `Y` for metric Y, and optionally
        `se/Y`, `id` (else the index), and the other columns of `to_frame`. `read_trials` takes
        tables of other tools, finds these columns itself, and accepts counts and percentages.

        Args:
            frame: The table.
            domains: Names of the `d` domains.
            metrics: The `m` metrics, or `{"loss": "lower"}`.

        Returns:
            The trials, in the order of the rows.

        Raises:
            TrialsError: A column is missing, a cell is no number, or ids repeat.
            MixtureError: The ratios of a row are no mixture.
            ArgumentTypeError: `frame` is no data frame.
        """
        from mixopt.trial_tables import as_metrics, read_frame

        named, domains = as_metrics(metrics), as_domains(domains)
        return cls(read_frame(frame, domains, named), named, domains)

    def __len__(self) -> int:
        return len(self._trials)

    def __repr__(self) -> str:
        counts = Counter(trial.level for trial in self)
        kinds = ", ".join(f"{count} {level}" for level, count in counts.items())
        metrics = [f"{m.name} {ARROWS[m.better]}" for m in self.metrics]
        return (
            f"Trials({kinds or 'none'}; {len(self.domains)} domains: {_shorten(self.domains)}; "
            f"{len(self.metrics)} metrics: {_shorten(metrics)})"
        )

    def _repr_html_(self) -> str:
        from mixopt.trial_tables import show_html

        return show_html(self)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: "slice | Sequence[int] | ArrayLike") -> "Trials": ...
    def __getitem__(self, index: Any) -> "Trial | Trials":
        if isinstance(index, SupportsIndex) and not isinstance(index, bool | np.ndarray):
            return self._trials[index]
        if isinstance(index, slice):
            return Trials(self._trials[index], self.metrics, self.domains)
        chosen = [self._trials[place] for place in find_places(index, len(self))]
        return Trials(chosen, self.metrics, self.domains)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __add__(self, other: "Trials") -> "Trials":
        require_type("What is added", other, Trials, "give Trials(trials, metrics, domains)")
        require_alike(self, other)
        named = {metric.name for metric in self.metrics}
        metrics = [*self.metrics, *(m for m in other.metrics if m.name not in named)]
        return Trials([*self, *other], metrics, self.domains)

    def __radd__(self, other: object) -> "Trials":
        # sum([a, b]) begins with 0
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def labelled(self, fidelity: str) -> "Trials":
        """Return the trials with `fidelity` as the name of what was trained (`1M`)."""
        return Trials([replace(t, fidelity=fidelity) for t in self], self.metrics, self.domains)

    def where(self, *, kind: Kind) -> "Trials":
        """Return the trials of one kind.

        Raises:
            TrialsError: No kind has that name.
        """
        require_word("kind is", kind, KINDS)
        return Trials([t for t in self if t.kind == kind], self.metrics, self.domains)

    def at(self, level: str) -> "Trials":
        """Return the trials of one fidelity, none if no trial is of it.

        Raises:
            TrialsError: `level` is another spelling of a fidelity of the table.
        """
        require_spelling(level, self.levels)
        return Trials([t for t in self if t.level == level], self.metrics, self.domains)

    @property
    def digest(self) -> str:
        """Hash of the whole content."""
        content = {
            "domains": self.domains,
            "metrics": [_compared(metric) for metric in self.metrics],
            "trials": [
                {**_known(trial), "ratios": dict(trial.ratios),
                 "scores": {name: [s.value, s.std_error] for name, s in trial.scores.items()},
                 "slopes": [[dict(s.towards), dict(s.changes)] for s in trial.slopes]}
                for trial in self
            ],
        }  # fmt: skip
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    @property
    def levels(self) -> tuple[str, ...]:
        """The fidelities, in the order in which they first appear."""
        return tuple(dict.fromkeys(trial.level for trial in self))

    @property
    def search_metrics(self) -> tuple[Metric, ...]:
        """The metrics with role search."""
        return tuple(metric for metric in self.metrics if metric.role == "search")

    @property
    def holdout_metrics(self) -> tuple[Metric, ...]:
        """The metrics with role holdout, which alone may be reported as a result."""
        return tuple(metric for metric in self.metrics if metric.role == "holdout")

    def own_name(self, name: str) -> str:
        """Return the name of the metric whose name, or else whose column in the table, is `name`.

        Args:
            name: Any other is returned as it is.
        """
        by_column = {metric.column: metric.name for metric in self.metrics if metric.column}
        return name if any(m.name == name for m in self.metrics) else by_column.get(name, name)

    def metric(self, name: str) -> Metric:
        """Return the metric called `name`, as `own_name` finds it.

        Raises:
            TrialsError: No metric has that name.
        """
        own = self.own_name(name)
        for metric in self.metrics:
            if metric.name == own:
                return metric
        raise TrialsError(
            f"No metric is called {name!r}. {did_you_mean(name, [m.name for m in self.metrics])}"
        )

    def require_search(self, names: Sequence[str]) -> tuple[Metric, ...]:
        """Return the metrics called `names` if all of them may choose mixtures.

        Raises:
            HoldoutError: One of them has `role: holdout`.
            TrialsError: One of them does not exist.
        """
        why = (
            ", so its scores may not reach a surrogate; choose by search benchmarks, or change its "
            "role before the search."
        )
        return self._refuse("holdout", names, why)

    def require_holdout(self, names: Sequence[str]) -> tuple[Metric, ...]:
        """Return the metrics called `names` if none of them may choose mixtures.

        Raises:
            HoldoutError: One of them has `role: search`.
            TrialsError: One of them does not exist.
        """
        why = ": it chose the mixture, so its score is no result; report benchmarks with role holdout."
        return self._refuse("search", names, why)

    def _refuse(self, role: Role, names: Sequence[str], why: str) -> tuple[Metric, ...]:
        metrics = tuple(self.metric(name) for name in names)
        for metric in metrics:
            if metric.role == role:
                raise HoldoutError(f"Benchmark {metric.name!r} has role {role}{why}")
        return metrics

    def ratios(self) -> Array:
        """Return the mixtures (`n x d`), in the order of `domains`."""
        return self._ratios.copy()

    @cached_property
    def _ratios(self) -> Array:
        if not self._trials:
            return np.empty((0, len(self.domains)))
        return np.stack([trial.ratios.vector(self.domains) for trial in self])

    def values(self, metrics: Sequence[Metric]) -> Array:
        """Return the scores (`n x m`), NaN where a trial lacks one or has an infinite one."""
        values = self._scores(metrics, 0)
        return np.where(np.abs(values) <= LARGEST, values, np.nan)

    def std_errors(self, metrics: Sequence[Metric]) -> Array:
        """Return the standard errors (`n x m`), NaN where unknown."""
        return self._scores(metrics, 1)

    def _scores(self, metrics: Sequence[Metric], part: int) -> Array:
        """Return values (part 0) or standard errors (1) of the metrics (`n x m`)."""
        missing = Score(float("nan"))
        for name in {metric.name for metric in metrics} - self._by_metric.keys():
            scores = [trial.scores.get(name, missing) for trial in self]
            self._by_metric[name] = np.array([[s.value, s.std_error] for s in scores]).reshape(
                -1, 2
            )
        columns = [self._by_metric[metric.name][:, part] for metric in metrics]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))

    @cached_property
    def _by_metric(self) -> dict[str, Array]:
        """Values and standard errors (`n x 2`) of the metrics that were asked for."""
        return {}

    def to_frame(self) -> "pd.DataFrame":
        """Return a data frame with one row per trial, the inverse of `from_frame`.

        Returns:
            Columns id, kind, round, seed, `ratio/*`, `weight/*`, `score/*`, `se/*`, tokens and
            flops; fidelity, cost and cost_unit if any trial has one. Slopes are left out.
            `read_trials(runs=...)` reads the table too.
        """
        from mixopt.trial_tables import write_frame

        return write_frame(self)


def _compared(metric: Metric) -> dict[str, Any]:
    """Return the fields of a metric but the name of its column, by which it is only found."""
    return {name: value for name, value in asdict(metric).items() if name != "column"}


def _known(trial: Trial) -> dict[str, Any]:
    """Return the fields of a trial; a unit that is not known is none, as before there were units."""
    return {name: value for name, value in vars(trial).items() if name != "cost_unit" or value}


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
