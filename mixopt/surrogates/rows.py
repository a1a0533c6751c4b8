"""Mixtures as rows of an array, from what users pass to a surrogate.

Shapes: `n` mixtures, `d` domains.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mixopt.errors import ArgumentTypeError, MixtureError, did_you_mean
from mixopt.mixture import Array, Mixture, MixtureLike, as_mixture

if TYPE_CHECKING:
    import pandas as pd

SUM_SLACK = 0.01
"""Largest distance of a row's sum from one: what is written with two digits still counts."""

MixturesLike: TypeAlias = "Array | pd.DataFrame | Sequence[MixtureLike] | MixtureLike"
"""Mixtures: an array or a list in the order of the domains, a data frame with a column for each domain,
or one mixture by name."""


def as_rows(ratios: MixturesLike, domains: Sequence[str]) -> Array:
    """Return mixtures as an array (`n x d`); one that is an array already is returned as it is.

    Args:
        ratios: An array (`n x d`) in the order of `domains`, a data frame with a column for each domain
            (one left out is 0), a list of mixtures, or a single mixture, dict or Series by name.
        domains: The `d` domains.

    Raises:
        MixtureError: The shape is another one, a row does not sum to one, or a domain is unknown.
        ArgumentTypeError: `ratios` is none of these.
    """
    given: Any = ratios
    if hasattr(given, "columns"):
        rows = _rows_of_frame(given, domains)
    elif hasattr(given, "items"):
        rows = _as_vector(given, domains)[None]
    elif isinstance(given, list | tuple) and given and all(hasattr(one, "items") for one in given):
        rows = np.stack([_as_vector(one, domains) for one in given])
    else:
        rows = _as_numbers(given)
    if rows.ndim != 2 or rows.shape[1] != len(domains):
        one = " of one mixture" if rows.ndim == 1 else ""
        raise MixtureError(
            f"Ratios of shape {rows.shape}{one} were given; give an array of n x {len(domains)}, one "
            f"row for each mixture, in the order of {_listed(domains)}."
        )
    _check_sums(rows)
    return rows


def as_row(ratios: MixtureLike, domains: Sequence[str]) -> Array:
    """Return one mixture as an array (`d`); one that is an array already is returned as it is.

    Args:
        ratios: A mixture, a dict or a Series by name, or an array (`d`) in the order of `domains`.
        domains: The `d` domains.

    Raises:
        MixtureError: The shape is another one, the ratios do not sum to one, or a domain is unknown.
        ArgumentTypeError: `ratios` is none of these.
    """
    if hasattr(ratios, "items"):
        return _as_vector(ratios, domains)
    row = _as_numbers(ratios)
    if row.shape != (len(domains),):
        raise MixtureError(
            f"The reference has the shape {row.shape}; give one mixture, {len(domains)} ratios in the "
            f"order of {_listed(domains)}."
        )
    _check_sums(row[None])
    return row


def _as_vector(named: Any, domains: Sequence[str]) -> Array:
    # a mixture is not made anew, which would round its ratios again
    mixture = named if isinstance(named, Mixture) else as_mixture(named, domains)
    return mixture.vector(domains)


def _as_numbers(given: Any) -> Array:
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiub":
        return given
    try:
        if given is None or isinstance(given, str | bytes):
            raise TypeError
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"A {type(given).__name__} is no table of mixtures; give an array with a row for each, a "
            "data frame with a column for each domain, or a mixture by name."
        ) from None


def _rows_of_frame(frame: Any, domains: Sequence[str]) -> Array:
    names = [str(name) for name in frame.columns]
    numbers = _as_numbers(frame.to_numpy())
    if names == [str(place) for place in range(len(domains))] and not set(names) & set(domains):
        return numbers  # without names of its own
    places = {name: place for place, name in enumerate(domains)}
    rows = np.zeros((len(numbers), len(domains)))
    for column, name in zip(numbers.T, names, strict=True):
        if name not in places:
            raise MixtureError(
                f"Column {name!r} is none of the domains; leave it out. {did_you_mean(name, domains)}"
            )
        rows[:, places[name]] += column
    return rows


def _check_sums(rows: Array) -> None:
    sums = rows.sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= SUM_SLACK))
    if len(wrong):
        raise MixtureError(
            f"The ratios of row {wrong[0]} sum to {sums[wrong[0]]:.6g}, not to 1; divide them by their "
            "sum (percentages by 100)."
        )


def _listed(domains: Sequence[str]) -> str:
    return ", ".join(domains[:8]) + ", ..." * (len(domains) > 8)
