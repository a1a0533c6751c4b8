"""Checks of trials and of tables of them: words, names, domains, and whether two tables are alike.

Shapes: `n` trials, `d` domains.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.errors import ArgumentTypeError, TrialsError, did_you_mean
from mixopt.io.model_sizes import parse_size

if TYPE_CHECKING:
    from mixopt.trial import Metric, Trial
    from mixopt.trials import Trials

SHOWN = 6
"""Names that a message lists."""
ENDINGS = ("_", "/", ".")
"""Marks before the name of a metric that has a prefix."""


def require_word(what: str, value: object, words: Sequence[str]) -> None:
    """Check that a value is one of a few words.

    Args:
        what: Beginning of the message, up to the value (`Metric 'acc' is better`).
        value: What was given.
        words: The words that are allowed.

    Raises:
        TrialsError: It is none of them.
    """
    if not isinstance(value, str) or value not in words:
        *first, last = map(repr, words)
        raise TrialsError(f"{what} {value!r}; say {', '.join(first)} or {last}.")


def require_spelling(level: str, levels: Sequence[str]) -> None:
    """Check that a fidelity is not spelled otherwise than in the table (`1b`, `1000M`).

    Args:
        level: What is asked for; a subset of a table may have no trial of it.
        levels: The fidelities of the table.

    Raises:
        TrialsError: It has another spelling there.
    """
    size = parse_size(level)
    for name in levels if level not in levels else ():
        if name.casefold() == level.casefold() or (size is not None and parse_size(name) == size):
            raise TrialsError(f"No trial has fidelity {level!r}. Did you mean {name!r}?")


def as_domains(domains: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of domains as text: the columns of `pd.DataFrame(array)` are numbers.

    Args:
        domains: The `d` names.

    Raises:
        ArgumentTypeError: They are one string.
        TrialsError: A name repeats.
    """
    if isinstance(domains, str):
        raise ArgumentTypeError(f"domains is the string {domains!r}; give a list of names.")
    names = tuple(map(str, domains))
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise TrialsError(f"domains has {repeated[0]!r} twice; name each domain once.")
    return names


def require_names(trials: Sequence["Trial"], metrics: Sequence["Metric"]) -> None:
    """Check that ids and metrics have names of their own, and scores those of the metrics.

    Args:
        trials: The `n` trials.
        metrics: The metrics that their scores may name.

    Raises:
        TrialsError: Two metrics share a name, two trials of one fidelity an id, or a score names an
            unknown metric.
    """
    counts = Counter(metric.name for metric in metrics)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise TrialsError(f"Two metrics have the name {repeated[0]!r}; names are unique.")
    known = set(counts)
    seen: set[tuple[str, str]] = set()
    for trial in trials:
        if (trial.level, trial.id) in seen:
            raise TrialsError(
                f"Two {trial.level} trials have the id {trial.id!r}; ids are unique, so give "
                "other ids, or name what was trained with trials.labelled('1B') where it differs."
            )
        seen.add((trial.level, trial.id))
        for name in trial.scores:
            if name not in known:
                raise TrialsError(
                    f"Trial {trial.id!r} has a score of {name!r}, which is no metric of this "
                    f"table. {did_you_mean(name, known)}"
                )


def require_domains(trials: Sequence["Trial"], domains: Sequence[str]) -> None:
    """Check that trials have ratios of known domains only.

    Args:
        trials: The `n` trials.
        domains: The `d` domains.

    Raises:
        TrialsError: A trial has a positive ratio of another domain.
    """
    known = set(domains)
    for trial in trials:
        if known.issuperset(trial.ratios):
            continue
        for domain, ratio in trial.ratios.items():
            if ratio > 0 and domain not in known:
                raise TrialsError(
                    f"Trial {trial.id!r} has a ratio of {domain!r}, which is no domain of this "
                    f"table. {did_you_mean(domain, known)}"
                )


def require_alike(first: "Trials", second: "Trials") -> None:
    """Check that two tables name domains and metrics alike, and use metrics alike.

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
    theirs = {metric.name for metric in second.metrics}
    for metric in second.metrics:
        same = named.get(metric.name)
        if same is None:
            _require_other_name(metric.name, [name for name in named if name not in theirs])
            continue
        for own, other, what, remedy in (
            (same.better, metric.better, "is better", "say better= alike for both"),
            (same.role, metric.role, "has the role", "say holdout= alike for both"),
            (same.capability, metric.capability, "is of the capability",
             "say capabilities= alike for both"),
        ):  # fmt: skip
            if own != other:
                raise TrialsError(
                    f"Metric {metric.name!r} {what} {own} in one table and {other} in the other; "
                    f"{remedy}."
                )


def _require_other_name(name: str, others: Sequence[str]) -> None:
    for other in others:
        if _ends_with(name, other) or _ends_with(other, name):
            raise TrialsError(
                f"Metric {other!r} of one table is called {name!r} in the other; "
                "name metrics alike in both."
            )


def _ends_with(name: str, ending: str) -> bool:
    return name.endswith(ending) and name.removesuffix(ending)[-1:] in ENDINGS


def find_places(index: Any, n: int) -> list[int]:
    """Return the positions that a mask or an array of positions selects.

    Args:
        index: A mask (`n`), or positions.
        n: Number of trials.

    Raises:
        ArgumentTypeError: It is neither.
        TrialsError: The mask has another length.
        IndexError: A position is outside of the table.
    """
    chosen = np.asarray(index)
    if chosen.ndim != 1 or (chosen.dtype.kind not in "biu" and chosen.size):
        what = repr(index) if isinstance(index, str) else f"a {type(index).__name__}"
        raise ArgumentTypeError(
            f"Trials are selected by position, a slice, a mask or a list of positions, not by {what}; "
            "find one by its id with [t for t in trials if t.id == ...]."
        )
    if chosen.dtype.kind == "b":
        if len(chosen) != n:
            raise TrialsError(
                f"The mask has {len(chosen)} values for {n} trials; give one for each."
            )
        return np.flatnonzero(chosen).tolist()
    return [int(place) for place in chosen]


def require_same_rows(tables: Mapping[str, Any]) -> None:
    """Check that data frames and Series, which are read by position, have one index.

    Args:
        tables: Arrays, frames or anything else by the name of their argument.

    Raises:
        TrialsError: Two of them have different indices.
    """
    indices = {what: table.index for what, table in tables.items() if hasattr(table, "iloc")}
    for what, index in indices.items():
        first = next(iter(indices))
        if not index.equals(indices[first]):
            raise TrialsError(
                f"{first} and {what} are read by position, and their rows have different indices; "
                "join them by index to one frame and give it to Trials.from_frame."
            )


def require_columns(what: str, table: Any, names: Sequence[str]) -> None:
    """Check that a data frame, which is read by position, has the columns of some names.

    Args:
        what: Name of the argument.
        table: An array or a frame; columns that are numbered are positions.
        names: Domains or metrics; a column may have a prefix (`ratio/web`).

    Raises:
        TrialsError: It has others, or the same in another order.
    """
    columns = [str(column) for column in getattr(table, "columns", ())]
    numbered = columns == [str(place) for place in range(len(columns))]
    if numbered or len(columns) != len(names):  # none, or a shape that is refused as such
        return
    pairs = zip(columns, names, strict=True)
    if not all(column == name or column.endswith(f"/{name}") for column, name in pairs):
        raise TrialsError(
            f"{what} is read by position, and its columns are {shorten_list(columns)} where "
            f"{shorten_list(names)} are named; give them in that order, or the whole frame to "
            "Trials.from_frame."
        )


def shorten_list(names: Sequence[str]) -> str:
    """Return the first of some names, in one line.

    Args:
        names: Any number of them.
    """
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
