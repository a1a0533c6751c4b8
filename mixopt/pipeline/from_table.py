"""Proposals from a table of runs by a config, as `mixopt propose --runs` makes them."""

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from mixopt.config.constraints import BudgetConfig, ProposalConfig
from mixopt.mixture import Mixture, as_mixture
from mixopt.optimization.comparisons import reference_mixtures, require_reference
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.optimism import Optimism, measure_optimism, split_proposals
from mixopt.optimization.optimize import Reference
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.propose import propose
from mixopt.optimization.surrogate_decision import calibrate_gains
from mixopt.optimization.two_stage import ChooseBy
from mixopt.proposal import Proposal
from mixopt.search_space import SearchSpace
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.fit import fit
from mixopt.surrogates.surrogate import Surrogate
from mixopt.token_budget import Budget
from mixopt.trials import Trials


def space_of(domains: Sequence[str], config: ProposalConfig) -> SearchSpace:
    """Return the mixtures that a config lets be proposed, around its natural mixture.

    Args:
        domains: The `d` domains.
        config: Limits and budget.

    Raises:
        MixtureError: The config names another domain.
        InfeasibleError: The limits cannot all hold.
    """
    caps = budget_of(config.budget, domains).caps if config.budget else {}
    return config.space(tuple(domains), caps=caps, prior=config.natural)


def budget_of(target: BudgetConfig, domains: Sequence[str]) -> Budget:
    """Return the token budget of the target run.

    Args:
        target: The budget of a config.
        domains: The `d` domains.

    Raises:
        MixtureError: The budget names another domain.
    """
    limit = target.max_repetition
    for name in (*target.available_tokens, *(limit if isinstance(limit, Mapping) else ())):
        if name not in domains:
            Mixture({name: 1.0}).vector(domains)  # raises, with the nearest domain
    if not isinstance(limit, Mapping):
        limit = dict.fromkeys(target.available_tokens, limit)
    most = {name: limit.get(name, 1.0) for name in target.available_tokens}
    return Budget(target.tokens, target.available_tokens, most)


def repetition_of(config: ProposalConfig, domains: Sequence[str]) -> Repetition | None:
    """Return how the target's budget repeats domains; None where that shall not count.

    Args:
        config: With or without a budget.
        domains: The `d` domains.
    """
    if config.budget is None or not config.budget.repetition_term:
        return None
    return Repetition.of(
        tuple(domains), config.budget.available_tokens, budget_tokens=config.budget.tokens,
        saturation=config.budget.saturation,
    )  # fmt: skip


def propose_from_table(
    trials: Trials,
    config: ProposalConfig,
    *,
    q: int = 1,
    seed: int = 0,
    proposed: Sequence[str] = (),
) -> tuple[Surrogate, list[Proposal]]:
    """Fit a surrogate to trials and propose mixtures.

    Args:
        trials: The runs.
        config: Limits, target, budget and outcome constraint.
        q: Number of proposals.
        seed: Seed of the fit and of the search.
        proposed: Ids of runs that were proposals of an earlier fit. The other runs are fitted too, and
            how far they predict these corrects the decision's gains.

    Returns:
        The surrogate of the runs, and the proposals, best first.

    Raises:
        TrialsError: The trials cannot be fitted, or the config names an unknown metric.
        MixtureError: The config names a domain that the trials do not have, or compares with the
            natural mixture and gives none.
        InfeasibleError: No mixture meets every limit.
    """
    space = space_of(trials.domains, config)
    surrogate = _fit(trials, config, seed)
    repetition = repetition_of(config, space.domains)
    reference = config.reference
    constraint = _outcome_constraint(config, surrogate, space)
    optimism = None
    if proposed:
        own = _reference_of(config, reference_mixtures(surrogate, space, constraint), space)
        optimism = _measure_optimism(surrogate, config, own, proposed, seed)
    return surrogate, propose(
        surrogate,
        space,
        q=q,
        seed=seed,
        maximise=cast(Literal["utility", "chance"], config.maximise),
        reference=cast(Reference, reference) if isinstance(reference, str) else reference,
        outcome_constraint=constraint,
        repetition=repetition,
        error_laws={n: LossToError(x.epsilon, x.k, x.gamma) for n, x in config.error_laws.items()},
        explore=config.explore,
        choose_by=cast(ChooseBy, config.choose_by),
        optimism=optimism,
        budget=budget_of(config.budget, space.domains) if config.budget else None,
    )


def _fit(trials: Trials, config: ProposalConfig, seed: int) -> Surrogate:
    return fit(
        trials, target=config.target, capability_weights=config.capability_weights,
        surrogates=config.surrogates, fidelities=config.fidelities, seed=seed,
    )  # fmt: skip


def _measure_optimism(
    surrogate: Surrogate,
    config: ProposalConfig,
    reference: Mixture,
    proposed: Sequence[str],
    seed: int,
) -> Optimism | None:
    level = surrogate.fidelities[-1].level
    others, chosen = split_proposals(surrogate.all_trials or surrogate.trials, proposed, level)
    earlier = _fit(others, config, seed)
    calibration = calibrate_gains(earlier)
    slope = 1.0 if calibration is None else calibration.slope
    # nothing is known where all runs of the fidelity were proposals
    predicted = earlier.fidelities[-1].level
    return measure_optimism(earlier, chosen.at(predicted), reference, slope, surrogate.utility)


def _reference_of(
    config: ProposalConfig, references: Mapping[str, Mixture | None], space: SearchSpace
) -> Mixture:
    """Return the mixture that the decision's gains are over."""
    if not isinstance(config.reference, str):
        return as_mixture(config.reference, space.domains)
    # without a natural mixture the decision is about the best run
    found = references[config.reference] or references["best seen"] or references["uniform"]
    assert found is not None
    return found


def _outcome_constraint(
    config: ProposalConfig, surrogate: Surrogate, space: SearchSpace
) -> OutcomeConstraint | None:
    given = config.no_worse
    if given is None:
        return None
    if isinstance(given.than, str):
        references = reference_mixtures(surrogate, space)
        name, reference = given.than, require_reference(given.than, references, "no_worse.than")
    else:
        name, reference = "given", Mixture(given.than)
    metrics = tuple(given.metrics)
    return OutcomeConstraint(reference, given.tolerance, given.probability, metrics, name)
