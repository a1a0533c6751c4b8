"""Tables of trials: from arrays and data frames, and as a data frame and HTML.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mixopt.errors import ArgumentTypeError, TrialsError, did_you_mean, require_type
from mixopt.mixture import Array, Mixture
from mixopt.trials import LARGEST, Kind, Metric, Score, Trial, Trials

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

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
        scores: Scores (`n x m`); NaN where one is missing. Infinite ones are taken as missing.
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
    values = _drop_infinite(values, names, [metric.name for metric in metrics])
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
        TrialsError: A column is missing or there twice, or holds no numbers.
        MixtureError: The ratios of a row are no mixture.
        ArgumentTypeError: `frame` is no data frame.
    """
    import pandas as pd

    require_type("frame", frame, pd.DataFrame, "pass a pandas DataFrame with a row per trial")
    columns = [_column(frame, "ratio", name) for name in domains]
    scores = [_column(frame, "score", metric.name) for metric in metrics]
    errors = [f"se/{m.name}" if f"se/{m.name}" in frame else None for m in metrics]
    experts = [c for c in frame.columns if str(c).startswith("weight/")]
    for column in (*(e for e in errors if e), *experts, *_FIELDS, "id"):
        _require_once(frame, column)
    # by column: a row of all columns would turn integers into floating-point numbers
    names = [str(name) for name in frame.get("id", frame.index).tolist()]
    values = _drop_infinite(_numbers(frame, scores), names, [metric.name for metric in metrics])
    no_error = np.full(len(frame), np.nan)
    std_errors = [_numbers(frame, [column])[:, 0] if column else no_error for column in errors]
    fields = {name: frame[name].tolist() for name in _FIELDS if name in frame}
    weights, ratios = _numbers(frame, experts), _numbers(frame, columns)
    trials = []
    for place, name in enumerate(names):
        own = {
            field: _FIELDS[field](column[place])
            for field, column in fields.items()
            if not pd.isna(column[place])
        }
        own.setdefault("kind", "trained")
        if own.get("fidelity") == own["kind"]:
            del own["fidelity"]
        pairs = zip(experts, weights[place].tolist(), strict=True)
        by_expert = {str(c).removeprefix("weight/"): value for c, value in pairs if value == value}
        found = {
            metric.name: Score(value, float(errors[place]))
            for metric, value, errors in zip(
                metrics, values[place].tolist(), std_errors, strict=True
            )
            if value == value
        }
        mixture = Mixture.from_vector(domains, ratios[place])
        trials.append(Trial(name, mixture, found, weights=by_expert or None, **own))
    return trials


def _numbers(frame: "pd.DataFrame", columns: Sequence[str]) -> Array:
    """Return columns as numbers (`n x c`), NaN where a cell is empty."""
    return frame[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)


def _drop_infinite(values: Array, names: Sequence[str], metrics: Sequence[str]) -> Array:
    """Return scores (`n x m`) with infinite ones (of diverged runs) as missing, and log them."""
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        row, column = (int(axis[0]) for axis in np.nonzero(infinite))
        log.warning("%d infinite scores (trial %s, %r, ...) are taken as missing.",
                    int(infinite.sum()), names[row], metrics[column])  # fmt: skip
    return np.where(infinite, np.nan, values)


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


def _column(frame: "pd.DataFrame", prefix: str, name: str) -> str:
    column = next((c for c in (f"{prefix}/{name}", name) if c in frame), None)
    if column is None:
        raise TrialsError(
            f"The frame has no column {prefix}/{name} or {name}. {did_you_mean(name, frame.columns)}"
        )
    _require_once(frame, column)
    if frame[column].dtype.kind not in "biuf":
        raise TrialsError(f"Column {column!r} holds {frame[column].dtype} values, not numbers.")
    return column


def _require_once(frame: "pd.DataFrame", column: str) -> None:
    if list(frame.columns).count(column) > 1:
        raise TrialsError(f"The frame has the column {column!r} twice; drop or rename one.")
