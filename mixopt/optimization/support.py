"""What the runs of a table cover, and proposals that stay inside it.

Inside are mixtures whose ratios lie in the runs' ranges and that are about as near to a run as runs
are to each other. See docs/methods.md, section 7.8. Shapes: `n` runs, `d` domains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mixopt.comparison import Support
from mixopt.errors import InfeasibleError
from mixopt.mixture import Array, Mixture, nearest
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_limits import Neighborhood
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials

MARGIN = 0.1
"""Share of a domain's observed range by which a proposal may leave it, on either side."""
HARDLY, OF_WIDEST = 0.03, 0.25
"""A domain hardly varied if its whole range is a Hellinger distance below the first, which counts as
no distance in designs too, and below the second share of the widest domain's."""
USUAL = 0.95  # quantile of the runs' nearest-neighbor distances that is a usual distance
NAMED = 3  # domains that a note names
CONSTANT = 1e-9  # range of a ratio that is the same in all runs


@dataclass(frozen=True, eq=False)
class RunCover:
    """What runs cover.

    Attributes:
        domains: The `d` domains, in the order of every array.
        mixtures: The runs' mixtures, each once (`n x d`).
    """

    domains: tuple[str, ...]
    mixtures: Array

    @classmethod
    def of(cls, surrogate: Surrogate) -> "RunCover":
        """Return the cover of all runs that a surrogate was fitted to, of every fidelity."""
        trials = surrogate.all_trials or surrogate.trials
        if trials not in _COVERS:
            ratios = trials.ratios()
            _, first = np.unique(ratios.round(6), axis=0, return_index=True)
            _COVERS[trials] = cls(surrogate.domains, ratios[np.sort(first)])
        return _COVERS[trials]

    @property
    def low(self) -> Array:
        """Smallest observed ratio by domain (`d`)."""
        return np.asarray(self.mixtures.min(axis=0))

    @property
    def high(self) -> Array:
        """Largest observed ratio by domain (`d`)."""
        return np.asarray(self.mixtures.max(axis=0))

    @cached_property
    def usual(self) -> float:
        """Usual Hellinger distance of a run from its nearest: the 95th percentile, or 0 of one run.

        The largest would let one outlier decide.
        """
        if len(self.mixtures) < 2:
            return 0.0
        _, apart = nearest(self.mixtures, self.mixtures, others=True)
        return float(np.quantile(apart, USUAL))

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """Which domains were constant or hardly varied (`d`), so that their effect is unknown."""
        spans = (np.sqrt(self.high) - np.sqrt(self.low)) / np.sqrt(2)
        hardly = (spans < HARDLY) & (spans < OF_WIDEST * spans.max())
        return np.asarray(hardly | (self.high - self.low < CONSTANT))

    def range(self, natural: Mixture | None = None) -> tuple[Array, Array]:
        """Return the smallest and largest ratio by domain (`d` each) that the runs cover.

        The observed range with a margin; a held domain has its share of the natural mixture if runs
        had that, else the median of the runs.

        Args:
            natural: The natural mixture, if it is known.
        """
        margin = MARGIN * (self.high - self.low)
        low = np.maximum(self.low - margin, 0.0)
        high = np.minimum(self.high + margin, 1.0)
        value = np.median(self.mixtures, axis=0)
        if natural is not None:
            given = natural.vector(self.domains)
            value = np.where((given >= self.low) & (given <= self.high), given, value)
        return np.where(self.held, value, low), np.where(self.held, value, high)

    def outside(self, ratios: Array) -> NDArray[np.intp]:
        """Return the domains whose ratio (`d`) lies beyond the observed range and its margin."""
        margin = MARGIN * (self.high - self.low) + CONSTANT
        away = np.maximum(self.low - margin - ratios, ratios - self.high - margin)
        order = np.argsort(-away, kind="stable")
        return np.asarray(order[away[order] > 0])

    def support(self, surrogate: Surrogate, ratios: Mixture) -> Support:
        """Return the nearest run of a mixture, its distance, and the domains beyond the runs."""
        trials = surrogate.all_trials or surrogate.trials
        own = ratios.vector(self.domains)
        (place,), (away,) = nearest(own[None], trials.ratios())
        names = tuple(self.domains[place] for place in self.outside(own))
        return Support(trials[int(place)].id, float(away), self.usual, names)


_COVERS: WeakKeyDictionary[Trials, RunCover] = WeakKeyDictionary()
"""Covers by table: distances between all runs are computed once for a table, not for each sentence."""


def restrict_to_runs(space: SearchSpace, cover: RunCover) -> tuple[SearchSpace, tuple[str, ...]]:
    """Return the mixtures of a space that runs cover.

    Where the space's own limits forbid all of them, the limits hold and the runs' ranges give way by
    the least total amount. Where the space has mixtures to stay near to, these hold instead of the
    distance between runs.

    Args:
        space: The mixtures that may be proposed, over the same `d` domains in any order.
        cover: What the runs cover.

    Returns:
        The restricted space, and sentences on where limits lead out of what the runs cover.
    """
    order = [cover.domains.index(name) for name in space.domains]
    low, high = (side[order] for side in cover.range(space.natural))
    least = _least_ratios(space, low, high)
    notes = []
    own_low, own_high = space.bounds()
    for place, name in enumerate(space.domains):
        beyond = max(low[place] - least[place], least[place] - high[place])
        if beyond > CONSTANT:
            seen = f"{cover.low[order[place]]:.2%} to {cover.high[order[place]]:.2%}"
            notes.append(
                f"The limits put {name} at {least[place]:.2%}, and runs had {seen}: the limits hold, "
                "and predictions there are extrapolations."
            )
            # some room beyond the least, so that a proposal is not a single point
            low[place] = min(low[place], least[place] - MARGIN * beyond)
            high[place] = max(high[place], least[place] + MARGIN * beyond)
    low, high = np.maximum(low, own_low), np.maximum(np.minimum(high, own_high), own_low)
    low = np.minimum(low, high)
    free = [name for name in space.domains if name not in space.frozen]
    bounds = dict(zip(space.domains, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    try:
        inside = replace(
            space,
            lower={name: bounds[name][0] for name in free},
            upper={name: bounds[name][1] for name in free},
        )
        near = Neighborhood(cover.mixtures[:, order], cover.usual)
        away = _least_distance(inside, near)
    except InfeasibleError:
        sentence = (
            "The limits allow no mixture that the runs cover: the limits hold, and predictions there "
            "are extrapolations."
        )
        return space, (sentence,)
    if away > cover.usual:
        notes.append(
            f"The limits allow no mixture nearer to a run than {away:.2f} (Hellinger), and runs are "
            f"usually within {cover.usual:.2f} of each other: predictions are extrapolations."
        )
    if space.near is not None:  # what the user asks to stay near to is a limit too
        return inside, tuple(notes)
    # half a usual distance beyond the least leaves a choice
    reach = max(cover.usual, away + cover.usual / 2)
    return replace(inside, near=replace(near, distance=reach)), tuple(notes)


def _least_ratios(space: SearchSpace, low: Array, high: Array) -> Array:
    """Return allowed ratios (`d`) that leave the ranges by the least total amount.

    A linear program over the ratios and one excess for each domain.
    """
    d = len(space.domains)
    own_low, own_high = space.bounds()
    eye = np.eye(d)
    above = [np.hstack([eye, -eye]), np.hstack([-eye, -eye])]
    limits = [high, -low]
    for row in space.rows:
        for sign, limit in ((1.0, row.high), (-1.0, row.low)):
            if np.isfinite(limit):
                above.append(np.concatenate([sign * row.normal, np.zeros(d)])[None])
                limits.append(np.array([sign * limit]))
    solved = linprog(
        np.concatenate([np.zeros(d), np.ones(d)]), np.vstack(above), np.concatenate(limits),
        np.concatenate([np.ones(d), np.zeros(d)])[None], [1.0],
        bounds=[*zip(own_low, np.maximum(own_high, own_low), strict=True), *[(0, None)] * d],
    )  # fmt: skip
    if not solved.success:  # rounding where the limits leave a single point
        return np.clip(np.clip((low + high) / 2, low, high), own_low, own_high)
    return np.asarray(solved.x, dtype=np.float64)[:d]


def _least_distance(space: SearchSpace, near: Neighborhood) -> float:
    """Return the distance of the allowed mixture nearest to a run from that run."""
    weights = WeightSpace.of_domains(space)
    allowed = weights.ratios(weights.pull(near.mixtures))
    return float(nearest(allowed, near.mixtures)[1].min())


def find_support(surrogate: Surrogate, ratios: Mixture) -> Support:
    """Return the nearest trial of a mixture and its distance, beside distances between trials.

    Args:
        surrogate: Has the `n` trials.
        ratios: The mixture, over `d` domains.
    """
    return RunCover.of(surrogate).support(surrogate, ratios)


def note_extrapolation(
    surrogate: Surrogate, mixtures: Mapping[str, Mixture | None]
) -> tuple[str, ...]:
    """Return warnings for predictions that extrapolate.

    Args:
        surrogate: Has the `n` trials.
        mixtures: Mixtures by name; None is skipped.

    Returns:
        A sentence for each mixture that runs do not cover, with the domains that lead out.
    """
    cover = RunCover.of(surrogate)
    notes = []
    for name, mixture in mixtures.items():
        if mixture is None:
            continue
        support = cover.support(surrogate, mixture)
        if not support.extrapolates:
            continue
        own = mixture.vector(cover.domains)
        where = _describe(cover, own, support.domains)
        far = (
            f"lies further from every trial (Hellinger {support.distance:.2f}) than trials usually "
            f"from their nearest ({support.usual:.2f})"
            if support.distance > support.usual
            else "leaves the range of the trials"
        )
        notes.append(f"The {name} mixture {far}: its prediction is an extrapolation, {where}.")
    return tuple(notes)


def _describe(cover: RunCover, ratios: Array, outside: tuple[str, ...]) -> str:
    """Return which domains make a mixture (`d`) an extrapolation, in words."""
    places = [cover.domains.index(name) for name in outside]
    if places:
        listed = [
            f"{cover.domains[j]} {ratios[j]:.2%} (trials {cover.low[j]:.2%} to {cover.high[j]:.2%})"
            for j in places[:NAMED]
        ]
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        return f"in {', '.join(listed)}{more}"
    run = cover.mixtures[int(nearest(ratios[None], cover.mixtures)[0][0])]
    share = np.square(np.sqrt(ratios) - np.sqrt(run))
    leading = np.argsort(-share, kind="stable")[:NAMED]
    listed = [f"{cover.domains[j]} {ratios[j]:.1%} (nearest trial {run[j]:.1%})"
              for j in leading if share[j] > 0]  # fmt: skip
    return f"by a combination that no trial is near, mostly in {', '.join(listed)}"
