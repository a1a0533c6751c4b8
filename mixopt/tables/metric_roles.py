"""Roles and capabilities of the metrics of a table, as the user names them."""

from collections.abc import Mapping, Sequence

from mixopt.errors import TrialsError, did_you_mean
from mixopt.trial import Direction, Metric


def make_metrics(
    names: Mapping[str, str],
    directions: Mapping[str, Direction],
    where: str,
    *,
    holdout: Sequence[str],
    capabilities: Mapping[str, Sequence[str]],
    own: Mapping[str, str],
) -> list[Metric]:
    """Return the metrics of a table.

    Args:
        names: Name of each metric by column.
        directions: Which way it is better, by column.
        where: Name of the table.
        holdout: Metrics that are only reported; a metric may be named as its column is in the file.
        capabilities: Metrics by capability, likewise.
        own: Column by its name in the file.

    Raises:
        TrialsError: A name is no metric, or a metric is in two capabilities.
    """
    known = list(names.values())
    in_file = dict(zip(names, names, strict=True))
    in_file |= {column: name for name, column in own.items()}
    short = {column: names[name] for column, name in own.items() if name in names} | dict(names)
    short |= {name: name for name in known}
    holdout = [short.get(name, name) for name in holdout]
    members = {key: [short.get(m, m) for m in listed] for key, listed in capabilities.items()}
    for name in (*holdout, *(m for listed in members.values() for m in listed)):
        if name not in known:
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, known)}")
    capability_of: dict[str, str] = {}
    for key, listed in members.items():
        for name in listed:
            if capability_of.setdefault(name, key) != key:
                raise TrialsError(
                    f"Metric {name!r} is in the capabilities {capability_of[name]!r} and {key!r}; "
                    "list it in one."
                )
    return [
        Metric(
            name,
            directions[column],
            role="holdout" if name in holdout else "search",
            capability=capability_of.get(name, "all"),
            column=in_file[column] if in_file[column] != name else "",
        )
        for column, name in names.items()
    ]
