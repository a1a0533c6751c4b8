"""The mixtures that may be proposed: linear limits on the simplex, and a distance from the prior.

Every linear limit is a `Row`, low <= normal · ratios <= high, with its description. Samplers and
optimizers read rows; they do not depend on groups, frozen ratios or other kinds of limits.

Shapes: `d` domains, `n` mixtures, `c` rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixopt.errors import (
    ArgumentTypeError,
    InfeasibleError,
    MixtureError,
    did_you_mean,
    require_type,
)
from mixopt.linear_limits import BOUND_TOLERANCE, Row, explain_conflict
from mixopt.mixture import (
    HIERARCHY_MARK,
    SUM_TOLERANCE,
    Array,
    Mixture,
    MixtureLike,
    as_mixture,
    members_of,
)
from mixopt.search_limits import Group, Inequality, Neighborhood

ROUNDING = 1e-12
"""A ratio of at most this counts as zero."""
MAX_SHOWN = 8
"""Domains that the repr lists."""


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """The mixtures that may be proposed.

    Attributes:
        domains: The `d` domains, whose order every vector follows.
        lower: Smallest ratio by domain; 0 if left out. Here, in `upper`, `frozen`, members of groups
            and inequalities, `web` stands for the sum of all `web:...` if no domain has that name.
        upper: Largest ratio by domain; 1 if left out.
        prior: The natural mixture, usually proportional to the available tokens: a mixture, a
            dict, a Series, or an array in the order of `domains`. Candidates are drawn around it,
            proposals are compared with it, and `max_kl` is measured from it. Without one,
            candidates are drawn around the uniform mixture and no comparison is called natural.
        frozen: Fixed ratio by domain.
        groups: Bounds on sums of domains; a group `web` without members holds all `web:...`.
        inequalities: Other linear limits.
        max_kl: Largest Kullback-Leibler divergence of a mixture from the prior, in nats.
        near: Mixtures to stay near to, the runs of a table, say.

    Raises:
        MixtureError: A bound names an unknown domain or lies outside [0, 1], or `max_kl` is given
            without a prior.
        InfeasibleError: The bounds cannot all hold; the message names those in conflict.
        ArgumentTypeError: `domains` is a single string, a bound is not a number, or an argument is of
            another type.
    """

    domains: tuple[str, ...]
    lower: Mapping[str, float] = field(default_factory=dict)
    upper: Mapping[str, float] = field(default_factory=dict)
    prior: "MixtureLike | None" = None
    frozen: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    inequalities: tuple[Inequality, ...] = ()
    max_kl: float | None = None
    near: Neighborhood | None = None

    def __post_init__(self) -> None:
        domains: Any = self.domains
        if isinstance(domains, str):
            raise ArgumentTypeError(
                f"domains is the string {self.domains!r}; give a list of names."
            )
        self._check_types()
        # names are text: the columns of pd.DataFrame(array) are numbers
        object.__setattr__(self, "domains", tuple(map(str, domains)))
        for name in ("lower", "upper", "frozen"):
            named = {str(domain): bound for domain, bound in getattr(self, name).items()}
            object.__setattr__(self, name, named)
        repeated = {name for name in self.domains if self.domains.count(name) > 1}
        if repeated or not self.domains:
            raise MixtureError(
                f"Domains must be named once each; repeated: {', '.join(sorted(repeated)) or '-'}."
            )
        for side, bounds in (("lower", self.lower), ("upper", self.upper), ("frozen", self.frozen)):
            for domain, bound in bounds.items():
                self._check_bound(side, domain, bound)
        self._gather_groups()
        for name, group in self.groups.items():
            self._check_group(name, group)
        for inequality in self.inequalities:
            for domain in inequality.coefficients:
                self._check_domain(f"The inequality {inequality}", domain)
            if not np.isfinite([*inequality.coefficients.values(), inequality.limit]).all():
                raise MixtureError(
                    f"The inequality {inequality} holds a number that is not finite."
                )
        if self.near is not None and self.near.mixtures.shape[1] != len(self.domains):
            raise MixtureError(
                f"The mixtures to stay near to have {self.near.mixtures.shape[1]} ratios and there are "
                f"{len(self.domains)} domains; give one ratio for each."
            )
        if self.prior is not None:
            object.__setattr__(self, "prior", as_mixture(self.prior, self.domains))
        if self.max_kl is not None and not self.max_kl >= 0:
            raise MixtureError(f"max_kl is {self.max_kl:g}; it is a distance, at least 0.")
        if self.max_kl is not None and self.prior is None:
            raise MixtureError(
                f"max_kl is {self.max_kl:g} and limits the distance from the prior, and there is no "
                "prior; give prior=, the natural mixture, or leave max_kl out."
            )
        self._check_feasible()

    def _check_types(self) -> None:
        domains, inequalities = (getattr(self, name) for name in ("domains", "inequalities"))
        if hasattr(domains, "domains"):
            raise ArgumentTypeError(
                f"domains is a {type(domains).__name__}; give its names, which are its .domains."
            )
        for name in ("lower", "upper", "frozen", "groups"):
            if not hasattr(given := getattr(self, name), "items"):
                example = "{'web': 0.5}" if name != "groups" else "{'web': mixopt.Group(upper=0.5)}"
                raise ArgumentTypeError(
                    f"{name} is a {type(given).__name__}; give a mapping, such as {example}."
                )
        for name, group in self.groups.items():
            require_type(f"The group {name!r}", group, Group, "give mixopt.Group(lower, upper)")
        if isinstance(inequalities, Inequality | Mapping):
            raise ArgumentTypeError("inequalities is a single one; give a list of them.")
        object.__setattr__(self, "inequalities", tuple(inequalities))
        for inequality in self.inequalities:
            remedy = "give mixopt.Inequality(coefficients, limit)"
            require_type("An inequality", inequality, Inequality, remedy)
        if self.max_kl is not None and not isinstance(self.max_kl, int | float | np.number):
            raise ArgumentTypeError(f"max_kl is a {type(self.max_kl).__name__}; give a number.")
        if self.near is not None:
            require_type("near", self.near, Neighborhood, "give a Neighborhood(mixtures, distance)")

    def _check_bound(self, side: str, domain: str, bound: float) -> None:
        self._check_domain(f"The {side} {'ratio' if side == 'frozen' else 'bound'}", domain)
        if not isinstance(bound, int | float | np.number):
            raise ArgumentTypeError(
                f"The {side} bound of {domain!r} is a {type(bound).__name__}; give a number."
            )
        if not (np.isfinite(bound) and 0 <= bound <= 1):
            raise MixtureError(
                f"The {side} bound of {domain!r} is {bound:g}; bounds lie between 0 and 1."
            )

    def _gather_groups(self) -> None:
        """Make bounds on the sum of groups of the bounds that name a group and no domain."""
        bounds: dict[str, tuple[float, float]] = {}
        for side, given in (("lower", self.lower), ("upper", self.upper), ("frozen", self.frozen)):
            own = {name: bound for name, bound in given.items() if name not in self.domains}
            for name, bound in own.items():
                low, high = bounds.get(name, (0.0, 1.0))
                low = max(low, bound) if side != "upper" else low
                bounds[name] = low, min(high, bound) if side != "lower" else high
            if own:
                kept = {name: bound for name, bound in given.items() if name not in own}
                object.__setattr__(self, side, kept)
        if bounds:
            groups = dict(self.groups)
            for name, (low, high) in bounds.items():
                other = groups.get(name, Group())
                groups[name] = Group(max(low, other.lower), min(high, other.upper), other.domains)
            object.__setattr__(self, "groups", groups)

    def _check_domain(self, what: str, domain: str) -> None:
        if domain not in self.domains and not members_of(domain, self.domains):
            raise MixtureError(
                f"{what} of {domain!r} names no domain of this search. "
                f"{did_you_mean(domain, self.domains)}"
            )

    def _check_group(self, name: str, group: Group) -> None:
        for domain in group.domains:
            self._check_domain(f"The group {name!r}", domain)
        if not self.members(name):
            tops = sorted({d.split(HIERARCHY_MARK)[0] for d in self.domains if HIERARCHY_MARK in d})
            raise MixtureError(
                f"The group {name!r} has no domains; list them, or name domains "
                f"{name}{HIERARCHY_MARK}... {did_you_mean(name, tops) if tops else ''}".rstrip()
            )
        if not 0 <= group.lower <= group.upper <= 1:
            raise MixtureError(
                f"The group {name!r} is bounded by {group.lower:g} and {group.upper:g}; give "
                "0 <= lower <= upper <= 1."
            )

    def _check_feasible(self) -> None:
        low, high = self.bounds()
        crossed = [d for d, a, b in zip(self.domains, low, high, strict=True) if a > b]
        if crossed:
            index = self.domains.index(crossed[0])
            raise InfeasibleError(
                f"Domain {crossed[0]!r} must have at least {low[index]:g} and may have at most "
                f"{high[index]:g}; lower the one or raise the other."
            )
        if low.sum() > 1 + BOUND_TOLERANCE:
            named = ", ".join(f"{d} {a:g}" for d, a in zip(self.domains, low, strict=True) if a > 0)
            raise InfeasibleError(
                f"The lower bounds sum to {low.sum():.4g}, which is above 1 ({named}); lower some."
            )
        if high.sum() < 1 - BOUND_TOLERANCE:
            named = ", ".join(f"{d} {b:.4g}" for d, b in zip(self.domains, high, strict=True))
            raise InfeasibleError(
                f"The upper bounds sum to {high.sum():.4g}, which is below 1 ({named}); "
                "raise some, allow more repetition, or shrink the target's token budget."
            )
        if self.groups or self.inequalities:
            explain_conflict(self.rows, np.eye(len(self.domains)))

    def members(self, group: str) -> tuple[str, ...]:
        """Return the domains of a group: those it lists, or those named `GROUP:...`."""
        listed = self.groups[group].domains if group in self.groups else ()
        if not listed:
            return members_of(group, self.domains)
        return tuple(d for name in listed for d in self._expand(name))

    def _expand(self, name: str) -> tuple[str, ...]:
        """Return the domain of a name, or those of the group."""
        return (name,) if name in self.domains else members_of(name, self.domains)

    def bounds(self) -> tuple[Array, Array]:
        """Return the lower and upper bounds (`d` each), equal for a frozen ratio.

        A sum that is at most 0, of a group or an inequality, bounds each of its domains by 0.
        """
        low, high = self._own_bounds()
        for row in self._sums:
            if row.high == 0 and (row.normal[high > 0] >= 0).all():
                # a domain that must have more is a conflict of the sum, which names itself
                high[(row.normal > 0) & (low == 0)] = 0.0
        return low, high

    def _own_bounds(self) -> tuple[Array, Array]:
        """Return the bounds (`d` each) that each domain has by itself."""
        low = np.array([float(self.lower.get(domain, 0.0)) for domain in self.domains])
        high = np.array([float(self.upper.get(domain, 1.0)) for domain in self.domains])
        for index, domain in enumerate(self.domains):
            if domain in self.frozen:
                low[index] = max(low[index], self.frozen[domain])
                high[index] = min(high[index], self.frozen[domain])
        if self.max_kl is not None:
            # the divergence is infinite for a domain that the prior lacks
            high[self.prior_vector() == 0] = 0.0
        return low, high

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every linear limit except Σ ratios = 1 and ratios >= 0."""
        low, high = self._own_bounds()
        rows = []
        for index, domain in enumerate(self.domains):
            if low[index] > 0 or high[index] < 1:
                # a row of an identity matrix would keep the whole matrix in memory
                unit = np.zeros(len(self.domains))
                unit[index] = 1.0
                text = _in_words(domain, low[index], high[index])
                rows.append(Row(unit, low[index], high[index], text))
        return (*rows, *self._sums)

    @cached_property
    def _sums(self) -> tuple[Row, ...]:
        """The limits of groups and inequalities."""
        rows = []
        for name, group in self.groups.items():
            members = np.isin(np.array(self.domains), self.members(name)).astype(np.float64)
            text = _in_words(f"the group {name}", group.lower, group.upper)
            rows.append(Row(members, group.lower, group.upper, text))
        for inequality in self.inequalities:
            normal = np.zeros(len(self.domains))
            for name, coefficient in inequality.coefficients.items():
                normal[np.isin(self.domains, self._expand(name))] += coefficient
            rows.append(Row(normal, -np.inf, inequality.limit, str(inequality)))
        return tuple(rows)

    def prior_vector(self) -> Array:
        """Return the center of sampling (`d`): the prior, or the uniform mixture without one."""
        return (self.natural or Mixture.uniform(self.domains)).vector(self.domains)

    @property
    def natural(self) -> Mixture | None:
        """The prior as a mixture, or None."""
        return self.prior if isinstance(self.prior, Mixture) else None

    def divergence(self, ratios: ArrayLike) -> Array:
        """Return the Kullback-Leibler divergence (`n`, nats) of mixtures (`n x d`) from the prior."""
        points, prior = np.atleast_2d(np.asarray(ratios, dtype=np.float64)), self.prior_vector()
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(points > ROUNDING, points * np.log(points / prior), 0.0)
        return np.asarray(np.maximum(terms.sum(axis=1), 0.0))

    def contains(
        self, ratios: ArrayLike, *, tolerance: float = BOUND_TOLERANCE
    ) -> NDArray[np.bool_]:
        """Return which mixtures meet every limit and sum to one.

        Args:
            ratios: Mixtures (`n x d`).
            tolerance: Slack of each limit.

        Returns:
            True (`n`) for a mixture that may be proposed.
        """
        points = np.atleast_2d(np.asarray(ratios, dtype=np.float64))
        inside = (points >= -tolerance).all(axis=1)
        inside &= np.abs(points.sum(axis=1) - 1) <= SUM_TOLERANCE
        for row in self.rows:
            value = points @ row.normal
            inside &= (value >= row.low - tolerance) & (value <= row.high + tolerance)
        if self.max_kl is not None:
            inside &= self.divergence(points) <= self.max_kl + max(tolerance, 1e-9)
        if self.near is not None and inside.any():
            inside[inside] = self.near.contains(points[inside])
        return np.asarray(inside)

    def __repr__(self) -> str:
        more = ", ..." if len(self.domains) > MAX_SHOWN else ""
        parts = [f"{len(self.domains)} domains: {', '.join(self.domains[:MAX_SHOWN])}{more}"]
        parts += [f"prior {self.natural!r}"] if self.natural else []
        parts += [row.text for row in self.rows[:MAX_SHOWN]]
        parts += ["..."] if len(self.rows) > MAX_SHOWN else []
        parts += [f"at most {self.max_kl:g} nats from the prior"] if self.max_kl is not None else []
        if self.near is not None:
            runs, distance = len(self.near.mixtures), self.near.distance
            parts += [f"within Hellinger distance {distance:.2g} of the nearest of {runs} mixtures"]
        return f"SearchSpace({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        import pandas as pd

        low, high = self.bounds()
        table = pd.DataFrame({"lower": low, "upper": high}, index=pd.Index(self.domains))
        if self.natural:
            table.insert(0, "prior", self.prior_vector())
        sums = [escape(row.text) for row in self.rows if np.count_nonzero(row.normal) > 1]
        others = "".join(f"<li>{text}</li>" for text in sums)
        return f"<b>SearchSpace</b>{table.to_html(float_format='{:.4g}'.format)}<ul>{others}</ul>"


def _in_words(what: str, low: float, high: float) -> str:
    if low == high:
        return f"{what} = {low:.4g}"
    parts = [f"{what} >= {low:.4g}"] if low > 0 else []
    return " and ".join(parts + ([f"{what} <= {high:.4g}"] if high < 1 else []))
