"""Proposing: the best feasible mixtures by a surrogate, and how sure it is.

Shapes: `n` candidates, `k` weights, `d` domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mixopt.errors import InfeasibleError, MixtureError
from mixopt.mixture import Array, Mixture, Seed
from mixopt.optimization.comparisons import (
    best_seen,
    compare,
    find_support,
    find_ties,
    note_extrapolation,
    predict_errors,
)
from mixopt.optimization.design import perturb
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.multistart import Goal, climb
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.weight_space import WeightSpace, as_weights, hellinger
from mixopt.proposal import Proposal
from mixopt.search_space import SearchSpace
from mixopt.surrogates.repetition import Repetition
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.threads import single_threaded

POOL, LARGE_POOL = 1024, 16_384
"""Simulated candidates where most laws can be climbed, and where most cannot."""
REFINEMENTS = 3
TOP = 64
"""Best candidates that new ones are drawn around."""
STARTS = 4
"""Climbs from the pool; natural and best seen are climbed from too."""
RADIUS = 0.12
"""Hellinger distance within which candidates count as one mode."""
LOOKED_AT = 1024
"""Candidates that are compared with the proposal one by one; a quarter for large tables."""
LARGE_TABLE = 20_000
"""Scores (runs x metrics) from which fewer candidates are simulated and looked at."""
KEPT_LIMIT = -1e-6
"""A guard's margin that counts as kept, in standard deviations of the metric."""

Reference = Literal["natural", "uniform", "best seen"]


@single_threaded
def propose(
    surrogate: Surrogate,
    space: SearchSpace,
    *,
    q: int = 1,
    seed: Seed = None,
    compositions: Mapping[str, Mixture] | None = None,
    maximise: Literal["utility", "chance"] = "utility",
    reference: Mixture | Reference = "natural",
    guard: OutcomeConstraint | None = None,
    repetition: Repetition | None = None,
    error_laws: Mapping[str, LossToError] | None = None,
) -> list[Proposal]:
    """The `q` feasible mixtures the surrogate expects most of, best first.

    Smooth surrogates are climbed by gradient from many starts, trees are simulated, and the best
    of all by the whole portfolio is proposed. Further proposals lie outside of the modes of those
    before.

    Args:
        surrogate: Fitted on `n x d` mixtures and `n x m` scores.
        space: Bounds, groups, inequalities and prior over the same `d` domains.
        q: Proposals to return.
        seed: Seed or generator of every random draw; fresh randomness if None.
        compositions: Rows of ratios by expert, where weights of experts are searched.
        maximise: The expected utility, or the chance of beating `reference`.
        reference: The mixture to beat; one that is given by its ratios is compared with as `given`.
        guard: Metrics that must not get worse than at a mixture.
        repetition: How the target's budget repeats the domains; their worth falls with it.
        error_laws: By metric, what turns its loss into a benchmark's error.

    Raises:
        InfeasibleError: No mixture meets every bound; the message names the bounds in conflict.
        MixtureError: The space is over other domains than the surrogate.
    """
    Mixture.uniform(space.domains).vector(surrogate.domains)
    Mixture.uniform(surrogate.domains).vector(space.domains)
    if repetition is not None:
        surrogate = surrogate.repeating(_reorder(repetition, surrogate.domains))
    rows = compositions or {name: Mixture({name: 1.0}) for name in space.domains}
    search = _Search(
        surrogate, WeightSpace.of_rows(space, rows), np.random.default_rng(seed), guard
    )
    references = _references(surrogate, space)
    if not isinstance(reference, str):
        references["given"] = reference
    aim = references[reference] if isinstance(reference, str) else reference
    if maximise == "chance" and aim is None:
        raise MixtureError(
            "No trial is feasible, so there is none to beat; name another reference."
        )
    goal = Goal(surrogate)
    if maximise == "chance" and aim is not None:
        goal = Goal(surrogate, aim.vector(surrogate.domains))
    pool, values = search.run(goal, [m for m in references.values() if m is not None])
    proposals = []
    for _ in range(q):
        chosen = search.best_allowed(pool, values)
        near = hellinger(search.ratios(pool), search.ratios(chosen[None]))[:, 0] <= RADIUS
        proposals.append(_describe(search, chosen, references, pool, values, error_laws or {},
                                   named=compositions is not None))  # fmt: skip
        if near.all():
            break
        pool, values = pool[~near], values[~near]
    return proposals


def _reorder(repetition: Repetition, domains: Sequence[str]) -> Repetition:
    order = [repetition.domains.index(name) for name in domains]
    return Repetition(
        tuple(domains),
        repetition.available_tokens[order],
        repetition.budget_tokens,
        repetition.saturation[order],
    )


def _references(surrogate: Surrogate, space: SearchSpace) -> dict[str, Mixture | None]:
    return {
        "natural": Mixture.from_vector(space.domains, space.prior_vector()),
        "uniform": Mixture.uniform(space.domains),
        "best seen": best_seen(surrogate, space),
    }


@dataclass(eq=False)
class _Search:
    """Candidates for one surrogate in one space."""

    surrogate: Surrogate
    space: WeightSpace
    rng: np.random.Generator
    guard: OutcomeConstraint | None

    def __post_init__(self) -> None:
        domains = self.space.space.domains
        self.order = [domains.index(name) for name in self.surrogate.domains]

    def ratios(self, weights: Array) -> Array:
        """Ratios (`n x d`) in the surrogate's order of domains."""
        return self.space.ratios(weights)[:, self.order]

    def run(self, goal: Goal, references: Sequence[Mixture]) -> tuple[Array, Array]:
        """Weights (`n x k`), densest where the goal is high, and the goal's values (`n`)."""
        smooth = self.surrogate.portfolio.smooth_share > 0.5
        large = self.surrogate.portfolio.cv_means.size > LARGE_TABLE
        pool = self.space.sample((POOL // 2 if large else POOL) if smooth else LARGE_POOL, self.rng)
        given = np.stack([self._weights_of(mixture) for mixture in references])
        pool = self.space.pull(np.vstack([given, pool]))
        values = self._expected(goal, pool)
        starts = np.vstack([pool[: len(given)], self._peaks(pool, values)])
        ends = climb(goal, self.space, self.order, starts, self.guard)
        pool = np.vstack([ends, pool])
        values = np.concatenate([self._expected(goal, ends), values])
        for _ in range(REFINEMENTS):
            best = pool[np.argsort(-values, kind="stable")[:TOP]]
            more = perturb(self.space, best, POOL // 4, self.rng)
            pool = np.vstack([pool, more])
            values = np.concatenate([values, self._expected(goal, more)])
        return pool, values

    def _expected(self, goal: Goal, weights: Array) -> Array:
        if goal.reference is None:
            return self.surrogate.expected_utility(self.ratios(weights))
        return goal.values(self.ratios(weights))

    def _weights_of(self, mixture: Mixture) -> Array:
        return self.space.weights_for(mixture.vector(self.space.space.domains))[0]

    def _peaks(self, pool: Array, values: Array) -> Array:
        """The best of the pool that lie apart (`STARTS x k` at most)."""
        left = np.argsort(-values, kind="stable")
        chosen: list[int] = []
        ratios = self.ratios(pool)
        while len(left) and len(chosen) < STARTS:
            chosen.append(int(left[0]))
            left = left[hellinger(ratios[left], ratios[chosen[-1:]])[:, 0] > RADIUS]
        return pool[chosen]

    def best_allowed(self, pool: Array, values: Array) -> Array:
        """The best candidate (`k`) that keeps the guard.

        Raises:
            InfeasibleError: None does; the message names the metric that is the furthest off.
        """
        ranked = np.argsort(-values, kind="stable")
        if self.guard is None:
            return np.asarray(pool[ranked[0]])
        closest, least = "", -np.inf
        for start in range(0, len(ranked), LOOKED_AT):
            part = ranked[start : start + LOOKED_AT]
            margins = self.guard.margins(self.surrogate, self.ratios(pool[part]))
            kept = (margins >= KEPT_LIMIT).all(axis=1)
            if kept.any():
                return np.asarray(pool[part[int(kept.argmax())]])
            best = int(margins.min(axis=1).argmax())
            if margins[best].min() > least:
                least = float(margins[best].min())
                closest = self.guard.guarded(self.surrogate)[int(margins[best].argmin())]
        raise InfeasibleError(
            f"No candidate keeps every metric within its tolerance of the {self.guard.name} mixture "
            f"with probability {self.guard.probability:g}: the closest misses on {closest!r} by "
            f"{-least:.2f} of its standard deviations; raise the tolerance, lower the probability, "
            "or widen the bounds."
        )


def _describe(
    search: _Search,
    weights: Array,
    references: Mapping[str, Mixture | None],
    pool: Array,
    values: Array,
    error_laws: Mapping[str, LossToError],
    *,
    named: bool,
) -> Proposal:
    surrogate, space = search.surrogate, search.space.space
    ratios = Mixture.from_vector(space.domains, search.space.ratios(weights[None])[0])
    predicted = surrogate.estimate(ratios)
    ranked = np.argsort(-values, kind="stable")
    # the best, and as many from anywhere: the ties are a region, not a neighbourhood
    size = LOOKED_AT // 4 if surrogate.portfolio.cv_means.size > LARGE_TABLE else LOOKED_AT
    looked_at = np.unique(
        np.concatenate([ranked[: size // 2], ranked[:: max(1, 2 * len(ranked) // size)]])
    )
    return Proposal(
        ratios=ratios,
        utility=surrogate.estimate_utility(ratios),
        predicted=predicted,
        comparisons=compare(surrogate, ratios, references),
        weights=as_weights(search.space.experts, weights) if named else None,
        notes=note_extrapolation(surrogate, {"proposal": ratios, "natural": references["natural"]}),
        ties=find_ties(surrogate, space, ratios, search.space.ratios(pool[looked_at])),
        support=find_support(surrogate, ratios),
        errors=predict_errors(predicted, error_laws),
    )
