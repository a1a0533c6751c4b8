"""From a table of runs to proposals, as a recipe says: what the command line does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, cast

from mixopt.config.constraints import REFERENCES, BudgetConfig, ProposalConfig
from mixopt.errors import MixtureError
from mixopt.mixture import Budget, Mixture
from mixopt.optimization.comparisons import best_seen
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.optimize import Reference, propose
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.proposal import Proposal
from mixopt.search_space import SearchSpace
from mixopt.surrogates.fit import fit
from mixopt.surrogates.repetition import Repetition
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials


def space_of(trials: Trials, recipe: ProposalConfig) -> SearchSpace:
    """The mixtures that `recipe` lets be proposed, around the natural one."""
    return space_over(tuple(trials.domains), recipe, natural_of(trials, recipe))


def space_over(
    domains: tuple[str, ...], recipe: ProposalConfig, natural: Mixture | None = None
) -> SearchSpace:
    """The mixtures of `domains` that `recipe` lets be proposed."""
    caps = budget_of(recipe.budget, domains).caps if recipe.budget else {}
    prior = natural or (Mixture(recipe.natural) if recipe.natural else None)
    return recipe.space(domains, caps=caps, prior=prior)


def natural_of(trials: Trials, recipe: ProposalConfig) -> Mixture:
    """The natural mixture: the recipe's, or the mean of the runs."""
    if recipe.natural is not None:
        return Mixture.from_vector(
            trials.domains, Mixture(recipe.natural).vector(tuple(trials.domains))
        )
    return Mixture.from_vector(trials.domains, trials.ratios().mean(axis=0))


def budget_of(target: BudgetConfig, domains: tuple[str, ...]) -> Budget:
    """What the target run reads of `domains`, and what there is to read.

    Raises:
        MixtureError: It names another domain.
    """
    limit = target.max_repetition
    for name in (*target.available_tokens, *(limit if isinstance(limit, Mapping) else ())):
        if name not in domains:
            Mixture({name: 1.0}).vector(domains)  # raises, naming the nearest domain
    most = {
        name: limit.get(name, 1.0) if isinstance(limit, Mapping) else limit
        for name in target.available_tokens
    }
    return Budget(target.tokens, target.available_tokens, most)


def propose_from_table(
    trials: Trials, recipe: ProposalConfig, *, q: int = 1, seed: int = 0
) -> tuple[Surrogate, list[Proposal]]:
    """The surrogate of `trials` and the `q` mixtures that it recommends.

    Raises:
        TrialsError: The trials cannot be fitted, or the recipe names no such metric.
        MixtureError: The recipe names a domain that the trials do not have.
        InfeasibleError: No mixture meets every limit.
    """
    space = space_of(trials, recipe)
    surrogate = fit(
        trials,
        target=recipe.target,
        capability_weights=recipe.capability_weights,
        surrogates=recipe.surrogates,
        fidelities=recipe.fidelities,
        seed=seed,
    )
    repetition = None
    if recipe.budget is not None and recipe.budget.repetition_term:
        repetition = Repetition.of(
            space.domains,
            recipe.budget.available_tokens,
            budget_tokens=recipe.budget.tokens,
            saturation=recipe.budget.saturation,
        )
    reference = recipe.reference
    proposals = propose(
        surrogate,
        space,
        q=q,
        seed=seed,
        maximise=cast(Literal["utility", "chance"], recipe.maximise),
        reference=cast(Reference, reference) if isinstance(reference, str) else Mixture(reference),
        guard=_guard(recipe, surrogate, space),
        repetition=repetition,
        error_laws={
            name: LossToError(law.epsilon, law.k, law.gamma)
            for name, law in recipe.error_laws.items()
        },
    )
    if recipe.budget is not None:
        budget = budget_of(recipe.budget, space.domains)
        proposals = [replace(proposal, budget=budget) for proposal in proposals]
    return surrogate, proposals


def _guard(
    recipe: ProposalConfig, surrogate: Surrogate, space: SearchSpace
) -> OutcomeConstraint | None:
    said = recipe.no_worse
    if said is None:
        return None
    name = said.than if isinstance(said.than, str) else "given"
    mixtures = {
        "natural": Mixture.from_vector(space.domains, space.prior_vector()),
        "uniform": Mixture.uniform(space.domains),
        "best seen": best_seen(surrogate, space),
    }
    assert set(mixtures) == set(REFERENCES)
    than = mixtures[said.than] if isinstance(said.than, str) else Mixture(said.than)
    if than is None:
        raise MixtureError("No run is feasible, so there is no best seen to keep up with.")
    return OutcomeConstraint(than, said.tolerance, said.probability, tuple(said.metrics), name)
