"""Tables of trials: from arrays and data frames, as a data frame and HTML, and whether two are alike.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mixopt.errors import ArgumentTypeError, TrialsError, did_you_mean, require_type
from mixopt.mixture import Mixture
from mixopt.trials import Kind, Metric, Score, Trial, Trials

if TYPE_CHECKING:
    import pandas as pd

_FIELDS: dict[str, Callable[[Any], Any]] = {
    "kind": str, "round": int, "seed": int, "tokens": int, "flops": float, "fidelity": str,
    "cost": float,
}  # fmt: skip
"""Fields of a trial that a frame may have as columns."""
MAX_ROWS = 10
"""Rows that a notebook shows."""


def as_metrics(given: Any) -> tuple[Metric, ...]:
    """Return metrics as they are given, or with the directions of a dict.

    Args:
        given: Metrics, or `{"loss": "lower"}`.

    Raises:
        TrialsError: A direction is neither `lower` nor `higher`.
        ArgumentTypeError: There is something else than metrics.
    """
    if isinstance(given, Mapping):
        for name, better in given.items():
            if better not in ("lower", "higher"):
                raise TrialsError(f"Metric {name!r} is better {better!r}; say 'lower' or 'higher'.")
        return tuple(Metric(name, better) for name, better in given.items())
    if isinstance(given, str) or not all(isinstance(one, Metric) for one in given):
        raise ArgumentTypeError(
            "metrics without a direction are ambiguous; give mixopt.Metric(name, better) for each, "
            "or a dict such as {'loss': 'lower', 'acc': 'higher'}."
        )
    return tuple(given)


def read_arrays(
    ratios: ArrayLike,
    scores: ArrayLike,
    domains: Sequence[str],
    metrics: Sequence[Metric],
    std_errors: ArrayLike | None,
    ids: Sequence[str] | None,
    kind: Kind,
) -> list[Trial]:
    """Return the trials of a design matrix and its scores; see `Trials.from_arrays`.

    Args:
        ratios: Mixtures (`n x d`).
        scores: Scores (`n x m`); NaN where one is missing.
        domains: Names of the columns of `ratios`.
        metrics: The metrics of the columns of `scores`.
        std_errors: Standard errors of the scores (`n x m`), NaN if unknown.
        ids: Names of the trials (`n`); 0 to n - 1 if None.
        kind: How all trials were obtained.

    Raises:
        TrialsError: The shapes do not fit together.
        MixtureError: A row of `ratios` is no mixture.
        ArgumentTypeError: An array holds something else than numbers.
    """
    try:
        mixtures, values = (np.asarray(array, dtype=np.float64) for array in (ratios, scores))
        given = np.full(values.shape, np.nan) if std_errors is None else std_errors
        errors = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            "ratios, scores and std_errors are arrays of numbers; one of them is not."
        ) from None
    n = len(mixtures) if mixtures.ndim else 0
    names = [str(i) for i in range(n)] if ids is None else [str(one) for one in ids]
    for what, shape, wanted in (
        ("ratios", mixtures.shape, (n, len(domains))),
        ("scores", values.shape, (n, len(metrics))),
        ("std_errors", errors.shape, (n, len(metrics))),
        ("ids", (len(names),), (n,)),
    ):
        if shape != wanted:
            raise TrialsError(
                f"{what} has the shape {shape} and {wanted} is needed for {n} trials, "
                f"{len(domains)} domains and {len(metrics)} metrics."
            )
    trials = []
    for name, row, row_values, row_errors in zip(names, mixtures, values, errors, strict=True):
        pairs = zip(metrics, row_values.tolist(), row_errors.tolist(), strict=True)
        found = {m.name: Score(value, error) for m, value, error in pairs if value == value}
        trials.append(Trial(name, Mixture.from_vector(domains, row), found, kind=kind))
    return trials


def read_frame(
    frame: "pd.DataFrame", domains: Sequence[str], metrics: Sequence[Metric]
) -> list[Trial]:
    """Return the trials of a data frame; see `Trials.from_frame`.

    Args:
        frame: One row per trial.
        domains: Names of the `d` domains.
        metrics: The `m` metrics.

    Raises:
        TrialsError: A column is missing or holds no numbers.
        MixtureError: The ratios of a row are no mixture.
        ArgumentTypeError: `frame` is no data frame.
    """
    import pandas as pd

    require_type("frame", frame, pd.DataFrame, "pass a pandas DataFrame with a row per trial")
    columns = [_column(frame, "ratio", name) for name in domains]
    scores = [_column(frame, "score", metric.name) for metric in metrics]
    errors = [f"se/{m.name}" if f"se/{m.name}" in frame else None for m in metrics]
    experts = [str(c) for c in frame.columns if str(c).startswith("weight/")]
    trials = []
    for index, row in frame.iterrows():
        fields = {
            name: convert(row[name])
            for name, convert in _FIELDS.items()
            if name in frame and not pd.isna(row[name])
        }
        fields.setdefault("kind", "trained")
        if fields.get("fidelity") == fields["kind"]:
            del fields["fidelity"]
        named_weights = ((c.removeprefix("weight/"), float(row[c])) for c in experts)
        weights = {name: weight for name, weight in named_weights if weight == weight}
        name = str(row["id"] if "id" in frame else index)
        pairs = zip(metrics, (row[c] for c in scores), errors, strict=True)
        found = {
            m.name: Score(float(value), float(row[error]) if error else float("nan"))
            for m, value, error in pairs
            if not pd.isna(value)
        }
        ratios = Mixture.from_vector(domains, row[columns].to_numpy(dtype=np.float64))
        trials.append(Trial(name, ratios, found, weights=weights or None, **fields))
    return trials


def write_frame(trials: Trials) -> "pd.DataFrame":
    """Return a data frame with one row per trial; see `Trials.to_frame`.

    Args:
        trials: The `n` trials.
    """
    import pandas as pd

    # by column: a dict for each row, with a look at all trials in each, was quadratic
    columns: dict[str, Any] = {
        name: [getattr(trial, name) for trial in trials] for name in ("id", "kind", "round", "seed")
    }
    ratios = trials.ratios().T
    columns |= {f"ratio/{name}": row for name, row in zip(trials.domains, ratios, strict=True)}
    given = [trial.weights or {} for trial in trials]
    for name in dict.fromkeys(name for weights in given for name in weights):
        columns[f"weight/{name}"] = [weights.get(name, float("nan")) for weights in given]
    values, errors = trials.values(trials.metrics).T, trials.std_errors(trials.metrics).T
    for metric, scores, std_errors in zip(trials.metrics, values, errors, strict=True):
        columns[f"score/{metric.name}"], columns[f"se/{metric.name}"] = scores, std_errors
    columns |= {name: [getattr(trial, name) for trial in trials] for name in ("tokens", "flops")}
    if any(trial.fidelity for trial in trials):
        columns["fidelity"] = [trial.level for trial in trials]
    if any(trial.cost for trial in trials):
        columns["cost"] = [trial.cost for trial in trials]
    return pd.DataFrame(columns)


def show_html(trials: Trials) -> str:
    """Return ratios and scores of the first trials as an HTML table.

    Args:
        trials: The `n` trials.
    """
    frame = write_frame(trials[:MAX_ROWS])
    shown = [c for c in frame.columns if c == "id" or c.startswith(("ratio/", "score/"))]
    more = f"<p>... {len(trials)} trials</p>" if len(trials) > MAX_ROWS else ""
    table = frame[shown].to_html(index=False, float_format="{:.4g}".format)
    return f"<b>{escape(repr(trials))}</b>{table}{more}"


def require_alike(first: Trials, second: Trials) -> None:
    """Check that two tables name domains and metrics alike.

    Args:
        first: A table.
        second: Another one.

    Raises:
        TrialsError: They do not.
    """
    for domain in {*first.domains} ^ {*second.domains}:
        raise TrialsError(
            f"Domain {domain!r} is in one of the tables only; name domains alike in both, or "
            "give it a ratio of 0 where it was not used."
        )
    named = {metric.name: metric for metric in first.metrics}
    for metric in second.metrics:
        same = named.get(metric.name)
        if same is not None and same.better != metric.better:
            raise TrialsError(
                f"Metric {metric.name!r} is better {same.better} in one table and "
                f"{metric.better} in the other; say better= alike for both."
            )
        theirs = {m.name for m in second.metrics}
        for name in [n for n in named if n not in theirs] if same is None else []:
            if _ends_with(name, metric.name) or _ends_with(metric.name, name):
                raise TrialsError(
                    f"Metric {name!r} of one table is called {metric.name!r} in the other; "
                    "name metrics alike in both."
                )


def _column(frame: "pd.DataFrame", prefix: str, name: str) -> str:
    column = next((c for c in (f"{prefix}/{name}", name) if c in frame), None)
    if column is None:
        raise TrialsError(
            f"The frame has no column {prefix}/{name} or {name}. {did_you_mean(name, frame.columns)}"
        )
    if frame[column].dtype.kind not in "biuf":
        raise TrialsError(f"Column {column!r} holds {frame[column].dtype} values, not numbers.")
    return column


def _ends_with(name: str, ending: str) -> bool:
    return name.endswith(ending) and name.removesuffix(ending)[-1:] in ("_", "/", ".")
