"""Mixtures: points on the simplex of named domains.

Shapes: `d` domains.
"""

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixopt.errors import ArgumentTypeError, MixtureError, UserError, did_you_mean, one_line

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

Seed = int | np.random.Generator | None
"""What `np.random.default_rng` takes; a generator is used, and advanced, as it is."""

SUM_TOLERANCE = 1e-6
"""Largest distance of a mixture's sum from one; more is an error, not rounding."""
HIERARCHY_MARK = ":"
"""`web:science` belongs to the group `web`."""
CHUNK = 2_000_000
"""Distances that are computed at once: 16 MB."""


def require_seed(seed: Seed) -> Seed:
    """Return a seed that `np.random.default_rng` takes; an integer of NumPy as one of Python.

    Args:
        seed: An integer of at least 0, a generator, or None.

    Raises:
        ArgumentTypeError: It is none of these.
        UserError: It is negative.
    """
    try:
        seed = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        try:
            np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(
                f"The seed is a {type(seed).__name__}, from which no random number can be drawn "
                f"({one_line(error)}); give a whole number of at least 0, a generator, or None."
            ) from None
        return seed
    if seed < 0:
        raise UserError(f"The seed is {seed}; give a whole number of at least 0.")
    return seed


def require_domains(what: str, domains: Sequence[str], wanted: Sequence[str]) -> None:
    """Check that something has each domain that is asked of it.

    Args:
        what: Its name at the beginning of a sentence, for the message.
        domains: The domains that it has.
        wanted: Those that it needs (`d`).

    Raises:
        MixtureError: It lacks one.
    """
    known = set(domains)
    for name in wanted:
        if name not in known:
            raise MixtureError(f"{what} has no domain {name!r}. {did_you_mean(name, domains)}")


class Mixture(Mapping[str, float]):
    """A point on the simplex of named domains, in the order given.

    Its numbers are *ratios* when tokens are drawn and *weights* when parameters are merged.

    Args:
        ratios: Ratio by domain (`d`): a dict, another mixture or a pandas Series.

    Raises:
        MixtureError: A ratio is negative or not finite, or the ratios do not sum to one.
        ArgumentTypeError: `ratios` has no names, or a ratio is not a number.
    """

    __slots__ = ("_ratios",)

    def __init__(self, ratios: "Mapping[str, float] | pd.Series[float]") -> None:
        values = _named_numbers(ratios)
        if not values:
            raise MixtureError("A mixture needs at least one domain; none was given.")
        for domain, ratio in values.items():
            if not math.isfinite(ratio) or ratio < 0:
                raise MixtureError(
                    f"The ratio of {domain!r} is {ratio:g}; ratios are finite and not negative."
                )
        total = sum(values.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise MixtureError(
                f"The ratios of {', '.join(values)} sum to {total:.6g}, not to 1; "
                "correct them, or use Mixture.normalised if they are counts."
            )
        # rounding alone: a mixture that is written and read again keeps its bits
        if abs(total - 1) <= len(values) * np.finfo(np.float64).eps:
            total = 1.0
        self._ratios = {domain: ratio / total for domain, ratio in values.items()}

    @classmethod
    def normalised(cls, amounts: "Mapping[str, float] | pd.Series[float]") -> "Mixture":
        """Return the mixture proportional to amounts such as token counts.

        Args:
            amounts: Amount by domain, not negative.

        Raises:
            MixtureError: An amount is negative or not finite, or all of them are zero.
        """
        values = _named_numbers(amounts)
        total = sum(values.values())
        if not np.isfinite(total) or total <= 0:
            raise MixtureError(
                f"Amounts of {', '.join(values) or 'no domain'} sum to {total:g}; "
                "a mixture needs a positive sum."
            )
        return cls({domain: amount / total for domain, amount in values.items()})

    @classmethod
    def from_vector(cls, domains: Sequence[str], vector: ArrayLike) -> "Mixture":
        """Return the mixture of an array.

        Args:
            domains: Names of the `d` domains.
            vector: Ratios (`d`) in the order of `domains`.

        Raises:
            MixtureError: The array does not have one ratio for each domain, or is no mixture.
        """
        values = np.asarray(vector, dtype=np.float64)
        if values.shape != (len(domains),):
            raise MixtureError(
                f"{values.size} ratios were given for {len(domains)} domains; give one for each."
            )
        return cls(dict(zip(domains, values.tolist(), strict=True)))

    @classmethod
    def uniform(cls, domains: Sequence[str]) -> "Mixture":
        """Return the mixture with the same ratio for each of `domains`."""
        return cls.normalised(dict.fromkeys(domains, 1.0))

    def vector(self, domains: Sequence[str]) -> Array:
        """Return the ratios (`d`) in the order of `domains`, 0 for a domain without one.

        Raises:
            MixtureError: The mixture has a positive ratio of a domain that is not in `domains`.
        """
        if list(self._ratios) == list(domains):
            return np.array(list(self._ratios.values()))
        known = set(domains)  # a search in the sequence itself is quadratic in the domains
        for domain, ratio in self._ratios.items():
            if ratio > 0 and domain not in known:
                raise MixtureError(
                    f"Domain {domain!r} is not one of the domains. {did_you_mean(domain, domains)}"
                )
        return np.array([self._ratios.get(domain, 0.0) for domain in domains])

    def __getitem__(self, domain: str) -> float:
        return self._ratios[domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ratios)

    def __len__(self) -> int:
        return len(self._ratios)

    def __hash__(self) -> int:
        return hash(frozenset(self._ratios.items()))

    def __repr__(self) -> str:
        inside = ", ".join(f"{domain}: {ratio:.4g}" for domain, ratio in self._ratios.items())
        return f"Mixture({inside})"


def group_names(domains: Sequence[str]) -> tuple[str, ...]:
    """Return the groups that names of domains tell: `web` of `web:q1`; none that is a domain itself.

    Args:
        domains: The `d` domains.
    """
    found = [
        name[:place]
        for name in domains
        for place, mark in enumerate(name)
        if mark == HIERARCHY_MARK and name[:place] not in domains
    ]
    return tuple(dict.fromkeys(found))


def members_of(group: str, domains: Sequence[str]) -> tuple[str, ...]:
    """Return the domains named `GROUP:...`.

    Args:
        group: Name of the group.
        domains: The `d` domains.
    """
    return tuple(name for name in domains if name.startswith(group + HIERARCHY_MARK))


def apportion(quotas: ArrayLike, total: int, *, tolerance: float = 0.0) -> NDArray[np.int64]:
    """Return integers that sum to `total`, close to `quotas` (largest-remainder method).

    Args:
        quotas: Exact shares (`d`), which sum to `total`.
        total: Sum of the integers.
        tolerance: A quota that is less than this below an integer counts as that integer.
    """
    exact = np.asarray(quotas, dtype=np.float64)
    counts = np.floor(exact + tolerance).astype(np.int64)
    rest = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts


def hellinger(first: Array, second: Array) -> Array:
    """Return Hellinger distances (from 0 to 1) between mixtures.

    Args:
        first: Mixtures (`a x d`).
        second: Mixtures (`b x d`).

    Returns:
        Distances (`a x b`).
    """
    overlap = np.sqrt(first) @ np.sqrt(second).T
    return np.asarray(np.sqrt(np.clip(1 - overlap, 0.0, None)))


def nearest(first: Array, second: Array, *, others: bool = False) -> tuple[NDArray[np.intp], Array]:
    """Return the nearest of some mixtures in Hellinger distance, without a matrix of all distances.

    Args:
        first: Mixtures (`a x d`).
        second: Mixtures (`b x d`).
        others: Whether `first` and `second` are the same mixtures, and each one's nearest is another.

    Returns:
        Index in `second` and distance of the nearest of each mixture (`a` each).
    """
    roots, there = np.sqrt(first), np.sqrt(second).T
    places, overlaps = np.empty(len(first), dtype=np.intp), np.empty(len(first))
    step = max(1, CHUNK // max(len(second), 1))
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        overlap = roots[part] @ there
        if others:
            rows = np.arange(len(overlap))
            overlap[rows, start + rows] = -1.0
        places[part] = overlap.argmax(axis=1)
        overlaps[part] = overlap.max(axis=1)
    return places, np.sqrt(np.clip(1 - overlaps, 0.0, None))


MixtureLike: TypeAlias = "Mapping[str, float] | pd.Series[float] | ArrayLike"
"""A mixture, a dict or a Series of ratios by domain, or an array in the order of the domains."""


def as_mixture(value: MixtureLike, domains: Sequence[str] | None = None) -> Mixture:
    """Return ratios in any accepted form as a mixture.

    Args:
        value: A mixture, a dict or a pandas Series of ratios by domain (a domain left out has
            none), or an array (`d`) in the order of `domains`.
        domains: The `d` domains, whose order the result takes; the value's own names if None.

    Raises:
        MixtureError: The ratios are no mixture, or name a domain that is not in `domains`.
        ArgumentTypeError: `value` is none of these types.
    """
    named: Any = value
    if hasattr(named, "items"):
        mixture = named if isinstance(named, Mixture) else Mixture(named)
        if domains is None or tuple(mixture) == tuple(domains):
            return mixture
        return Mixture.from_vector(domains, mixture.vector(domains))
    if domains is None or isinstance(value, str | bytes) or value is None:
        raise _no_mixture(value)
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise _no_mixture(value) from None
    return Mixture.from_vector(domains, vector)


def _named_numbers(given: Any) -> dict[str, float]:
    if not hasattr(given, "items"):
        raise _no_mixture(given)
    values: dict[str, float] = {}
    for name, number in given.items():
        if str(name) in values:
            raise MixtureError(f"Domain {str(name)!r} has two ratios; give each domain once.")
        try:
            values[str(name)] = float(number)
        except OverflowError:
            raise MixtureError("A ratio is too large for a number; ratios sum to one.") from None
        except (TypeError, ValueError):
            raise ArgumentTypeError(
                f"The ratio of {name!r} is a {type(number).__name__}, not a number; give a number "
                "for each domain."
            ) from None
    return values


def _no_mixture(value: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"A {type(value).__name__} is no mixture here; give a Mixture, or a dict or Series of "
        "ratios by domain."
    )
