"""Proposals: the feasible mixtures that a surrogate predicts to be best.

See docs/methods.md, section 7.5. Shapes: `n` candidates, `k` weights, `d` domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mixopt.errors import InfeasibleError, require_type
from mixopt.mixture import Array, Mixture, MixtureLike, Seed, as_mixture
from mixopt.optimization import comparisons
from mixopt.optimization.design import perturb
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.multistart import Goal, choose_starts, maximize
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.weight_space import WeightSpace, hellinger
from mixopt.proposal import Proposal
from mixopt.search_space import SearchSpace
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.threads import single_threaded

POOL, LARGE_POOL = 1024, 16_384
"""Random candidates if most of the stacked model is differentiable, and if most is not."""
REFINEMENTS = 3
TOP = 64  # best candidates that a refinement perturbs
STARTS = 4  # starts from the pool; the reference mixtures are starts too
RADIUS = 0.12  # Hellinger distance within which candidates belong to one mode
COMPARED = 1024  # candidates compared with the proposal to find ties; a quarter for large tables
LARGE_TABLE = 20_000  # scores (runs x metrics) from which fewer candidates are drawn and compared
MIN_MARGIN = -1e-6  # margin, in standard deviations, at which an outcome constraint counts as met

Reference = Literal["natural", "uniform", "best seen"]


@single_threaded
def propose(
    surrogate: Surrogate,
    space: SearchSpace,
    *,
    q: int = 1,
    seed: Seed = None,
    compositions: Mapping[str, MixtureLike] | None = None,
    maximise: Literal["utility", "chance"] = "utility",
    reference: "MixtureLike | Reference" = "natural",
    outcome_constraint: OutcomeConstraint | None = None,
    repetition: Repetition | None = None,
    error_laws: Mapping[str, LossToError] | None = None,
    first: "MixtureLike | None" = None,
) -> list[Proposal]:
    """Return the `q` feasible mixtures that the surrogate predicts to be best, best first.

    The differentiable surrogate models are maximized by SLSQP from several starts; candidates are
    drawn at random and perturbed for the others. The best candidate by the whole stacked model is
    proposed. Further proposals lie outside of the modes of the earlier ones.

    Args:
        surrogate: Fitted to trials over the `d` domains.
        space: Bounds, groups, inequalities and prior over the same domains, in any order.
        q: Number of proposals.
        seed: Seed or generator of every random draw; fresh randomness if None.
        compositions: Mixture by expert, if weights of experts are searched instead of ratios.
        maximise: `utility`, or `chance`, the probability of a higher utility than `reference`.
        reference: For `chance`: `natural` (the prior of `space`), `uniform`, `best seen` (the best
            feasible trial), or a mixture, which is then compared with as `given`.
        outcome_constraint: Metrics that must not get worse than at a mixture.
        repetition: Repetition of the domains under the target's budget, which lowers their value.
        error_laws: Loss-to-error law by metric.
        first: A mixture that was chosen by other evidence and is described as the first proposal.

    Returns:
        The proposals, fewer than `q` if the candidates have fewer modes. Each is compared with the
        natural mixture, the uniform one and the best trial; without a prior no natural mixture is
        assumed and the best trial comes first.

    Raises:
        InfeasibleError: No mixture meets every bound; the message names the bounds in conflict.
        MixtureError: The domains of `space` and `surrogate` differ, or `reference` is `natural` and
            the space has no prior.
        ArgumentTypeError: `surrogate` or `space` is of another type.
    """
    require_type("surrogate", surrogate, Surrogate, "fit the trials with mixopt.fit")
    require_type("space", space, SearchSpace, "give mixopt.SearchSpace(trials.domains, ...)")
    Mixture.uniform(space.domains).vector(surrogate.domains)
    Mixture.uniform(surrogate.domains).vector(space.domains)
    if repetition is not None:
        surrogate = surrogate.with_repetition(_reorder(repetition, surrogate.domains))
    rows = {name: Mixture({name: 1.0}) for name in space.domains}
    if compositions:
        rows = {name: as_mixture(row, space.domains) for name, row in compositions.items()}
    weights = WeightSpace.of_rows(space, rows)
    search = _Search(surrogate, weights, np.random.default_rng(seed), outcome_constraint)
    references = comparisons.reference_mixtures(surrogate, space)
    if not isinstance(reference, str):
        references["given"] = as_mixture(reference, space.domains)
    goal = Goal(surrogate)
    if maximise == "chance":
        name = reference if isinstance(reference, str) else "given"
        aim = comparisons.require_reference(name, references, "The reference to beat")
        goal = Goal(surrogate, aim.vector(surrogate.domains))
    centre = Mixture.from_vector(space.domains, space.prior_vector())
    others = [references.get(name) for name in ("uniform", "best seen", "given")]
    pool, values = search.run(goal, [centre, *(mixture for mixture in others if mixture)])
    proposals: list[Proposal] = []
    for _ in range(q):
        chosen = search.best_allowed(pool, values)
        if first is not None and not proposals:
            chosen = weights.weights_for(as_mixture(first, space.domains).vector(space.domains))[0]
        near = hellinger(search.ratios(pool), search.ratios(chosen[None]))[:, 0] <= RADIUS
        proposals.append(_describe(search, chosen, references, pool, values, error_laws or {},
                                   named=compositions is not None))  # fmt: skip
        if near.all():
            break
        pool, values = pool[~near], values[~near]
    return proposals


def _reorder(repetition: Repetition, domains: Sequence[str]) -> Repetition:
    order = [repetition.domains.index(name) for name in domains]
    available, saturation = repetition.available_tokens[order], repetition.saturation[order]
    return Repetition(tuple(domains), available, repetition.budget_tokens, saturation)


@dataclass(eq=False)
class _Search:
    surrogate: Surrogate
    space: WeightSpace
    rng: np.random.Generator
    outcome_constraint: OutcomeConstraint | None

    def __post_init__(self) -> None:
        self.order = [self.space.space.domains.index(name) for name in self.surrogate.domains]

    def ratios(self, weights: Array) -> Array:
        """Return ratios (`n x d`) in the order of the surrogate's domains."""
        return self.space.ratios(weights)[:, self.order]

    def run(self, goal: Goal, references: Sequence[Mixture]) -> tuple[Array, Array]:
        """Return candidates as weights (`n x k`), denser at higher values, and values (`n`)."""
        smooth = self.surrogate.model.differentiable_share > 0.5
        large = self.surrogate.model.cv_means.size > LARGE_TABLE
        pool = self.space.sample((POOL // 2 if large else POOL) if smooth else LARGE_POOL, self.rng)
        vectors = [mixture.vector(self.space.space.domains) for mixture in references]
        given = np.stack([self.space.weights_for(vector)[0] for vector in vectors])
        pool = self.space.pull(np.vstack([given, pool]))
        values = self._expected(goal, pool)
        starts = np.vstack([pool[: len(given)], choose_starts(self.space, pool, values, STARTS)])
        ends = maximize(goal, self.space, self.order, starts, self.outcome_constraint)
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

    def best_allowed(self, pool: Array, values: Array) -> Array:
        """Return the best candidate (`k`) that meets the outcome constraint.

        Raises:
            InfeasibleError: None does; the message names the metric with the largest violation.
        """
        ranked = np.argsort(-values, kind="stable")
        if (constraint := self.outcome_constraint) is None:
            return np.asarray(pool[ranked[0]])
        closest, least = "", -np.inf
        for start in range(0, len(ranked), COMPARED):
            part = ranked[start : start + COMPARED]
            margins = constraint.margins(self.surrogate, self.ratios(pool[part]))
            kept = (margins >= MIN_MARGIN).all(axis=1)
            if kept.any():
                return np.asarray(pool[part[int(kept.argmax())]])
            best = int(margins.min(axis=1).argmax())
            if margins[best].min() > least:
                least = float(margins[best].min())
                closest = constraint.metric_names(self.surrogate)[int(margins[best].argmin())]
        raise InfeasibleError(
            f"No candidate keeps every metric within its tolerance of the {constraint.name} mixture "
            f"with probability {constraint.probability:g}: the closest misses on {closest!r} by "
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
    # half the best candidates, half from all ranks: ties may lie far from the proposal
    size = COMPARED // 4 if surrogate.model.cv_means.size > LARGE_TABLE else COMPARED
    every = max(1, 2 * len(ranked) // size)
    compared = np.unique(np.concatenate([ranked[: size // 2], ranked[::every]]))
    return Proposal(
        ratios=ratios,
        utility=surrogate.estimate_utility(ratios),
        predicted=predicted,
        comparisons=comparisons.compare(surrogate, ratios, references),
        weights=dict(zip(search.space.experts, weights.tolist(), strict=True)) if named else None,
        notes=comparisons.note_extrapolation(
            surrogate, {"proposal": ratios, "natural": references["natural"]}
        ),
        ties=comparisons.find_ties(surrogate, space, ratios, search.space.ratios(pool[compared])),
        support=comparisons.find_support(surrogate, ratios),
        errors=comparisons.predict_errors(predicted, error_laws),
    )
