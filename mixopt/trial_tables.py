"""Tables of trials: from arrays and data frames, and as a data frame and HTML.

Shapes: `n` trials, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mixopt.errors import ArgumentTypeError, MixtureError, TrialsError, did_you_mean, require_type
from mixopt.io.parsing import show
from mixopt.mixture import SUM_TOLERANCE, Array, Mixture
from mixopt.trial import KINDS, LARGEST, Kind, Metric, Score, Trial
from mixopt.trial_checks import require_columns, require_same_rows, shorten_list
from mixopt.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_FIELDS: dict[str, Callable[[Any], Any]] = {
    "kind": str, "round": int, "seed": int, "tokens": int, "flops": float, "fidelity": str,
    "cost": float, "cost_unit": str,
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
    named = isinstance(given, Iterable) and not isinstance(given, str)
    metrics = list(given) if named else [given]
    if not all(isinstance(one, Metric) for one in metrics):
        raise ArgumentTypeError(
            "metrics without a direction are ambiguous; give mixopt.Metric(name, better) for each, "
            "or a dict such as {'loss': 'lower', 'acc': 'higher'}."
        )
    return tuple(metrics)


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
        TrialsError: The shapes do not fit together, or the columns or rows of data frames.
        MixtureError: A row of `ratios` is no mixture.
        ArgumentTypeError: An array holds something else than numbers.
    """
    require_same_rows({"ratios": ratios, "scores": scores, "std_errors": std_errors, "ids": ids})
    scored = [metric.name for metric in metrics]
    for what, table, own in (
        ("ratios", ratios, domains), ("scores", scores, scored), ("std_errors", std_errors, scored),
    ):  # fmt: skip
        require_columns(what, table, own)
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
    rows = zip(names, _as_mixtures(mixtures, names, domains), values, errors, strict=True)
    for name, mixture, row_values, row_errors in rows:
        pairs = zip(metrics, row_values.tolist(), row_errors.tolist(), strict=True)
        found = {m.name: Score(value, error) for m, value, error in pairs if value == value}
        trials.append(Trial(name, mixture, found, kind=kind))
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
    frame = frame.set_axis(list(map(str, frame.columns)), axis="columns")
    columns = [_column(frame, "ratio", name) for name in domains]
    scores = [_column(frame, "score", metric.name) for metric in metrics]
    errors = [f"se/{m.name}" if f"se/{m.name}" in frame else None for m in metrics]
    experts = [c for c in frame.columns if c.startswith("weight/")]
    for column in (*(e for e in errors if e), *experts, *_FIELDS, "id"):
        _require_once(frame, column)
    taken = {*columns, *scores}  # a domain may be called id, and a metric cost
    ids = frame["id"] if "id" in frame and "id" not in taken else frame.index
    # by column: a row of all columns would turn integers into floating-point numbers
    names = [str(name) for name in ids.tolist()]
    values = _drop_infinite(_numbers(frame, scores), names, [metric.name for metric in metrics])
    no_error = np.full(len(frame), np.nan)
    std_errors = [
        _convert(frame[column], names, float, np.nan) if column else no_error for column in errors
    ]
    fields = {
        name: _convert(frame[name], names, make, None)
        for name, make in _FIELDS.items()
        if name in frame and name not in taken and (name != "kind" or _holds_kinds(frame[name]))
    }
    weights = np.array([_convert(frame[c], names, float, np.nan) for c in experts])
    weights = weights.reshape(len(experts), len(frame)).T
    mixtures = _as_mixtures(_numbers(frame, columns), names, domains)
    trials = []
    for place, name in enumerate(names):
        own = {
            field: column[place] for field, column in fields.items() if column[place] is not None
        }
        own.setdefault("kind", "trained")
        if own.get("fidelity") == own["kind"]:
            del own["fidelity"]
        pairs = zip(experts, weights[place].tolist(), strict=True)
        by_expert = {c.removeprefix("weight/"): value for c, value in pairs if value == value}
        found = {
            metric.name: Score(value, float(errors[place]))
            for metric, value, errors in zip(
                metrics, values[place].tolist(), std_errors, strict=True
            )
            if value == value
        }
        trials.append(Trial(name, mixtures[place], found, weights=by_expert or None, **own))
    return trials


def _as_mixtures(ratios: Array, names: Sequence[str], domains: Sequence[str]) -> list[Mixture]:
    """Return the mixtures of rows (`n x d`); an error names the first run that has none."""
    sums = ratios.sum(axis=1)
    wrong = (ratios >= 0).all(axis=1) & np.isfinite(sums) & (np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise MixtureError(
            f"Run {names[place]}: its ratios sum to {sums[place]:.6g}, not to 1; divide each row "
            "by its sum, ratios / ratios.sum(axis=1, keepdims=True), if they are rounded or counts."
        )
    mixtures = []
    for name, row in zip(names, ratios, strict=True):
        try:
            mixtures.append(Mixture.from_vector(domains, row))
        except MixtureError as error:
            raise MixtureError(f"Run {name}: {error}") from None
    return mixtures


def _holds_kinds(cells: "pd.Series[Any]") -> bool:
    """Return whether a column `kind` holds kinds of trials; many other things are called so."""
    others = [str(cell) for cell in cells.dropna().unique() if cell not in KINDS]
    if others:
        log.warning(
            "The column 'kind' holds other words (%s) than %s and is left out; call it fidelity if "
            "it says what was trained.", shorten_list(others), ", ".join(KINDS),
        )  # fmt: skip
    return not others


def _convert(
    cells: "pd.Series[Any]", names: Sequence[str], make: Callable[[Any], Any], empty: Any
) -> list[Any]:
    """Return the cells of a column as `make` makes them (`n`), `empty` for those without a value."""
    made = []
    for name, cell, blank in zip(names, cells.tolist(), cells.isna().tolist(), strict=True):
        try:
            made.append(empty if blank else make(cell))
        except (TypeError, ValueError, OverflowError):
            wanted = "a whole number" if make is int else "a number"
            raise TrialsError(
                f"Run {name}: its {cells.name} is {show(cell)}; give {wanted}, or leave it empty."
            ) from None
    return made


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
    for name in ("cost", "cost_unit"):
        if any(getattr(trial, name) for trial in trials):
            columns[name] = [getattr(trial, name) for trial in trials]
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
