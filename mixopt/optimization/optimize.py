"""Proposals: the feasible mixtures that a surrogate predicts to be best.

See docs/methods.md, section 7.5. Shapes: `n` candidates, `k` weights, `d` domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mixopt.errors import InfeasibleError, MixtureError, did_you_mean, require_type
from mixopt.mixture import (
    Array,
    Mixture,
    MixtureLike,
    Seed,
    as_mixture,
    hellinger,
    require_domains,
    require_seed,
)
from mixopt.optimization import comparisons
from mixopt.optimization.design import perturb
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.multistart import Goal, choose_starts, maximize
from mixopt.optimization.outcome_constraint import MIN_MARGIN, OutcomeConstraint
from mixopt.optimization.support import find_support, note_extrapolation
from mixopt.optimization.weight_space import WeightSpace
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
WIDE, STARTS_OF_WIDE = 128, 3  # weights beyond which only the best starts are used: a step costs k³
RADIUS = 0.12  # Hellinger distance within which candidates belong to one mode
COMPARED = 1024  # mixtures of each kind compared to find ties; a quarter for large tables
LARGE_TABLE = 20_000  # scores (runs x metrics) from which fewer candidates are drawn and compared

Reference = Literal["natural", "uniform", "best seen"]
Maximise = Literal["utility", "chance"]
"""Whether the expected utility is maximized, or the probability of a higher one than the reference's."""


@single_threaded
def search_mixtures(
    surrogate: Surrogate,
    space: SearchSpace,
    *,
    seed: Seed = None,
    compositions: Mapping[str, MixtureLike] | None = None,
    maximise: Maximise = "utility",
    reference: "MixtureLike | Reference" = "natural",
    outcome_constraint: OutcomeConstraint | None = None,
    repetition: Repetition | None = None,
    error_laws: Mapping[str, LossToError] | None = None,
    references_in: SearchSpace | None = None,
) -> "FoundMixtures":
    """Return candidates among which the surrogate predicts the best feasible mixtures.

    The differentiable surrogate models are maximized by SLSQP from several starts; candidates are
    drawn at random and perturbed for the others.

    Args:
        surrogate: Fitted to trials over the `d` domains.
        space: Bounds, groups, inequalities and prior over the same domains, in any order.
        seed: Seed or generator of every random draw; fresh randomness if None.
        compositions: Mixture by expert, if weights of experts are searched instead of ratios.
        maximise: `utility`, or `chance`, the probability of a higher utility than `reference`.
        reference: As in `propose`.
        outcome_constraint: Metrics that must not get worse than at a mixture.
        repetition: Repetition of the domains under the target's budget, which lowers their value.
        error_laws: Loss-to-error law by metric.
        references_in: The space of the best trial that proposals are compared with, if another.

    Raises:
        InfeasibleError: No mixture meets every bound; the message names the bounds in conflict.
        MixtureError: The domains of `space` and `surrogate` differ, there is no such `reference` or
            `maximise`, or the chance to beat `natural` is asked for and the space has no prior.
        ArgumentTypeError: An argument is of another type.
    """
    require_type("surrogate", surrogate, Surrogate, "fit the trials with mixopt.fit")
    require_type("space", space, SearchSpace, "give mixopt.SearchSpace(trials.domains, ...)")
    _check_settings(maximise, outcome_constraint, repetition)
    rng = np.random.default_rng(require_seed(seed))
    Mixture.uniform(space.domains).vector(surrogate.domains)
    Mixture.uniform(surrogate.domains).vector(space.domains)
    if repetition is not None:
        surrogate = surrogate.with_repetition(_reorder(repetition, surrogate.domains))
    rows = {name: Mixture({name: 1.0}) for name in space.domains}
    if compositions:
        rows = {name: as_mixture(row, space.domains) for name, row in compositions.items()}
    weights = WeightSpace.of_rows(space, rows)
    search = _Search(surrogate, weights, rng, outcome_constraint)
    references = comparisons.reference_mixtures(
        surrogate, references_in or space, outcome_constraint
    )
    if not isinstance(reference, str):
        references["given"] = as_mixture(reference, space.domains)
    name = reference if isinstance(reference, str) else "given"
    goal = Goal(surrogate)
    if maximise == "chance":
        aim = comparisons.require_reference(name, references, "The reference to beat")
        goal = Goal(surrogate, aim.vector(surrogate.domains))
    elif name != "natural":  # without a prior the decision is about the best run
        comparisons.require_reference(name, references, "The reference")
    centre = Mixture.from_vector(space.domains, space.prior_vector())
    others = [references.get(name) for name in ("uniform", "best seen", "given")]
    pool, values = search.run(goal, [centre, *(mixture for mixture in others if mixture)])
    uniform = weights.ratios(weights.sample_uniform(_compared(surrogate), rng))
    laws = {surrogate.trials.own_name(name): law for name, law in (error_laws or {}).items()}
    return FoundMixtures(search, goal, references, pool, values, uniform, laws,
                         named=compositions is not None)  # fmt: skip


def _compared(surrogate: Surrogate) -> int:
    """Return the number of mixtures that a proposal is compared with to find ties."""
    return COMPARED // 4 if surrogate.model.cv_means.size > LARGE_TABLE else COMPARED


def _check_settings(
    maximise: str, constraint: OutcomeConstraint | None, repetition: Repetition | None
) -> None:
    if maximise not in (known := get_args(Maximise)):
        raise MixtureError(
            f"maximise={maximise!r} is nothing to maximise. {did_you_mean(maximise, known)}"
        )
    if constraint is not None:
        remedy = "give mixopt.OutcomeConstraint(reference, ...)"
        require_type("outcome_constraint", constraint, OutcomeConstraint, remedy)
    if repetition is not None:
        remedy = "give mixopt.Repetition.of(trials.domains, ...)"
        require_type("repetition", repetition, Repetition, remedy)


def _reorder(repetition: Repetition, domains: Sequence[str]) -> Repetition:
    require_domains("The repetition", repetition.domains, domains)
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
        values = self.expected(goal, pool)
        starts = np.vstack([pool[: len(given)], choose_starts(self.space, pool, values, STARTS)])
        if len(self.space.experts) > WIDE:
            reached = self.expected(goal, starts)
            starts = starts[np.argsort(-reached, kind="stable")[:STARTS_OF_WIDE]]
        ends = maximize(goal, self.space, self.order, starts, self.outcome_constraint)
        pool = np.vstack([ends, pool])
        values = np.concatenate([self.expected(goal, ends), values])
        for _ in range(REFINEMENTS):
            best = pool[np.argsort(-values, kind="stable")[:TOP]]
            more = perturb(self.space, best, POOL // 4, self.rng)
            pool = np.vstack([pool, more])
            values = np.concatenate([values, self.expected(goal, more)])
        return pool, values

    def expected(self, goal: Goal, weights: Array) -> Array:
        """Return the goal (`n`) at weights (`n x k`), by all models of the surrogate."""
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


@dataclass(eq=False)
class FoundMixtures:
    """The candidates of a search, and proposals from them.

    Attributes:
        search: Surrogate, weights and limits.
        goal: What the search maximized.
        references: Mixtures that proposals are compared with, by name.
        pool: Candidates as weights (`n x k`).
        values: The goal at each of them (`n`).
        uniform: Ratios of uniform draws from the feasible mixtures (`? x d`).
        error_laws: Loss-to-error law by metric.
        named: Whether weights are of experts with names.
    """

    search: _Search
    goal: Goal
    references: Mapping[str, Mixture | None]
    pool: Array
    values: Array
    uniform: Array
    error_laws: Mapping[str, LossToError]
    named: bool

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate, at the repetition of the target's budget."""
        return self.search.surrogate

    def choose(self, q: int, first: Mixture | None = None) -> list[Array]:
        """Return the weights (`k` each) of the `q` best candidates, the best first.

        Each lies outside of the modes of those before; there are fewer if there are fewer modes.

        Args:
            q: Number of candidates.
            first: A mixture that was chosen by other evidence, as the first of them.

        Raises:
            InfeasibleError: No candidate meets the outcome constraint.
        """
        search, pool, values = self.search, self.pool, self.values
        chosen: list[Array] = []
        for _ in range(q):
            if first is not None and not chosen:
                weights, _ = search.space.weights_for(first.vector(search.space.space.domains))
            else:
                weights = search.best_allowed(pool, values)
            chosen.append(weights)
            near = hellinger(search.ratios(pool), search.ratios(weights[None]))[:, 0] <= RADIUS
            if near.all():
                break
            pool, values = pool[~near], values[~near]
        return chosen

    def mixture(self, weights: Array) -> Mixture:
        """Return the ratios of weights (`k`) as a mixture."""
        space = self.search.space
        return Mixture.from_vector(space.space.domains, space.ratios(weights[None])[0])

    def propose(self, q: int, first: Mixture | None = None) -> list[Proposal]:
        """Return the candidates of `choose` as proposals."""
        return [self.describe(weights) for weights in self.choose(q, first)]

    @single_threaded
    def describe(self, weights: Array) -> Proposal:
        """Return one candidate (`k`) with predictions and comparisons."""
        surrogate, space = self.surrogate, self.search.space
        ratios = self.mixture(weights)
        predicted = surrogate.estimate(ratios)
        # good candidates and some of all ranks: ties may lie far from the proposal
        ranked, size = np.argsort(-self.values, kind="stable"), _compared(surrogate)
        every = max(1, 2 * len(ranked) // size)
        compared = np.unique(np.concatenate([ranked[: size // 2], ranked[::every]]))
        others = space.ratios(self.pool[compared])
        named = dict(zip(space.experts, weights.tolist(), strict=True)) if self.named else None
        compared_with = comparisons.compare(surrogate, ratios, self.references)
        natural = self.references["natural"]
        same = any(row.same for row in compared_with if row.name == "natural")
        return Proposal(
            ratios=ratios,
            utility=surrogate.estimate_utility(ratios),
            predicted=predicted,
            comparisons=compared_with,
            weights=named,
            notes=note_extrapolation(
                surrogate, {"natural": natural} | ({} if same else {"proposal": ratios})
            ),
            ties=comparisons.find_ties(surrogate, space.space, ratios, self.uniform, others),
            support=find_support(surrogate, ratios),
            errors=comparisons.predict_errors(predicted, self.error_laws),
        )
