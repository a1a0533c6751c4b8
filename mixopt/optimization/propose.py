"""`mixopt.propose`: proposals of a surrogate, and the decision for a table of runs."""

from collections.abc import Mapping
from dataclasses import replace

from mixopt.errors import MixtureError, did_you_mean, require_count, require_type
from mixopt.mixture import MixtureLike, Seed
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.optimism import Optimism
from mixopt.optimization.optimize import Maximise, Reference, search_mixtures
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.support import RunCover, find_support, restrict_to_runs
from mixopt.optimization.surrogate_decision import decide_by_surrogate
from mixopt.optimization.two_stage import (
    CHOICES,
    ChooseBy,
    choose_by_neighbors,
    note_far_neighbors,
)
from mixopt.proposal import Proposal
from mixopt.search_space import SearchSpace
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.threads import single_threaded
from mixopt.token_budget import Budget


@single_threaded
def propose(
    surrogate: Surrogate,
    space: SearchSpace,
    *,
    q: int = 1,
    seed: Seed = None,
    compositions: Mapping[str, MixtureLike] | None = None,
    maximise: Maximise = "utility",
    reference: "MixtureLike | Reference" = "natural",
    outcome_constraint: OutcomeConstraint | None = None,
    repetition: Repetition | None = None,
    error_laws: Mapping[str, LossToError] | None = None,
    explore: bool = False,
    optimism: Optimism | None = None,
    choose_by: ChooseBy = "surrogate",
    budget: Budget | None = None,
) -> list[Proposal]:
    """Return what to train on by a surrogate, and further mixtures that it predicts to be good.

    The first proposal carries the decision: the mixture with the highest expected gain, if it is
    likely enough to be better than the reference, else the reference itself. Further proposals lie
    outside of the modes of the earlier ones.

    Args:
        surrogate: Fitted to trials over the `d` domains.
        space: Bounds, groups, inequalities and prior over the same domains, in any order.
        q: Number of proposals.
        seed: Seed or generator of every random draw; fresh randomness if None.
        compositions: Mixture by expert, if weights of experts are searched instead of ratios.
        maximise: `utility`, or `chance`, the probability of a higher utility than `reference`.
        reference: What the decision is about, and `chance`: `natural` (the prior of `space`),
            `uniform`, `best seen` (the feasible trial with the highest expected utility), or a
            mixture, which is then compared with as `given`. Without a prior the decision is about
            `best seen`.
        outcome_constraint: Metrics that must not get worse than at a mixture.
        repetition: Repetition of the domains under the target's budget, which lowers their value.
        error_laws: Loss-to-error law by metric.
        explore: Let proposals leave what the trials cover: their ranges by domain, with a margin,
            and the usual distance between them. Weights of experts are always free.
        optimism: What trained proposals of an earlier fit showed (`measure_optimism`); the decision's
            gains are corrected by it.
        choose_by: What chooses among the best candidates: the `surrogate`, or the measured utilities of
            their `neighbors` among the runs.
        budget: Token budget of the target run. Its caps (`budget.caps`) bound the ratios beside
            `space`, and the proposals carry it, so that `mixopt.export` checks how often tokens are
            read. `repetition` lowers the value of repeated tokens as well.

    Returns:
        The proposals, fewer than `q` if the candidates have fewer modes. Each is compared with the
        natural mixture, the uniform one and the best trial; without a prior no natural mixture is
        assumed and the best trial comes first. Where trials were not really trained (merges),
        nothing is decided.

    Raises:
        InfeasibleError: No mixture meets every bound; the message names the bounds in conflict.
        MixtureError: The domains of `space` and `surrogate` differ, there is no such `reference`,
            `maximise` or `choose_by`, or the chance to beat `natural` is asked for and the space has
            no prior.
        UserError: `q` or `seed` is too small.
        ArgumentTypeError: An argument is of another type.
    """
    require_type("surrogate", surrogate, Surrogate, "fit the trials with mixopt.fit")
    require_type("space", space, SearchSpace, "give mixopt.SearchSpace(trials.domains, ...)")
    q = require_count("q", q, 1)
    if budget is not None:
        require_type("budget", budget, Budget, "give mixopt.Budget(tokens, available_tokens, caps)")
        most = {name: min(cap, space.upper.get(name, 1.0)) for name, cap in budget.caps.items()}
        space = replace(space, upper={**space.upper, **most})
    if choose_by not in CHOICES:
        raise MixtureError(
            f"choose_by={choose_by!r} is no way to choose. {did_you_mean(choose_by, CHOICES)}"
        )
    inside = space
    notes: tuple[str, ...] = ()
    if not (explore or compositions) and set(space.domains) == set(surrogate.domains):
        inside, notes = restrict_to_runs(space, RunCover.of(surrogate))
    found = search_mixtures(
        surrogate, inside, seed=seed, compositions=compositions, maximise=maximise,
        reference=reference, outcome_constraint=outcome_constraint, repetition=repetition,
        error_laws=error_laws, references_in=space,
    )  # fmt: skip
    by_neighbors = choose_by == "neighbors"
    if by_neighbors:
        notes = (*note_far_neighbors(surrogate.trials.ratios()), *notes)
    chosen = [choose_by_neighbors(found)] if by_neighbors else found.choose(q)
    name = reference if isinstance(reference, str) else "given"
    decision = decide_by_surrogate(found, space, chosen, name, optimism, with_runs=not by_neighbors)
    if decision is None:
        chosen = found.choose(q, found.mixture(chosen[0])) if by_neighbors else chosen
        proposals = [found.describe(weights) for weights in chosen]
        return [replace(one, notes=(*notes, *one.notes), budget=budget) for one in proposals]
    if name == "natural" and found.references["natural"] is None:
        run = find_support(surrogate, decision.kept).nearest
        notes = (
            f"No natural mixture was given: the reference is {run}, the run with the highest expected "
            "utility.",
            *notes,
        )
    notes = (str(optimism), *notes) if optimism is not None else notes
    proposals = found.propose(q, first=decision.ratios)
    proposals[0] = replace(proposals[0], ratios=decision.ratios, decision=decision)
    return [replace(one, notes=(*notes, *one.notes), budget=budget) for one in proposals]
