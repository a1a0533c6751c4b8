"""Proposing: the best feasible mixtures by a surrogate, and how sure it is."""

from collections.abc import Mapping, Sequence

import numpy as np

from mixopt.mixture import Array, Mixture, SearchSpace
from mixopt.proposal import Comparison, Estimate, Proposal
from mixopt.proposals.design import perturb
from mixopt.proposals.fitting import Surrogate
from mixopt.proposals.weights import WeightSpace, as_weights, hellinger

POOL = 8192
REFINEMENTS = 3
TOP = 64
"""Candidates that a proposal is the average of (RegMix 100 of 10^5, DeMix 128 of 2·10^5)."""
RADIUS = 0.12
"""Hellinger distance within which candidates count as one mode, so that none averages two."""


def propose(
    surrogate: Surrogate,
    space: SearchSpace,
    *,
    q: int = 1,
    rng: np.random.Generator,
    compositions: Mapping[str, Mixture] | None = None,
) -> list[Proposal]:
    """The `q` feasible mixtures the surrogate expects most of, best first.

    Each is the average of the best simulated candidates around one mode, which lowers regret
    against the single best one at every number of runs that was tried (METHODS §10).

    Args:
        surrogate: Fitted on `n x d` mixtures and `n x m` scores.
        space: Bounds, caps and prior over the same `d` domains.
        q: Proposals to return.
        rng: Source of all randomness here.
        compositions: Rows of ratios by expert, where weights of experts are searched.

    Raises:
        InfeasibleError: No mixture meets every bound; the message names the bounds in conflict.
        MixtureError: The space is over other domains than the surrogate.
    """
    Mixture.uniform(space.domains).vector(surrogate.domains)
    Mixture.uniform(surrogate.domains).vector(space.domains)
    rows = compositions or {name: Mixture({name: 1.0}) for name in space.domains}
    weights = WeightSpace.of_rows(space, rows)
    order = [space.domains.index(name) for name in surrogate.domains]
    pool, mean = _simulate(surrogate, weights, order, rng)
    proposals = []
    for _ in range(q):
        best = pool[int(mean.argmax())]
        near = hellinger(weights.ratios(pool), weights.ratios(best[None]))[:, 0] <= RADIUS
        top = np.flatnonzero(near)[np.argsort(-mean[near], kind="stable")[:TOP]]
        centre = pool[top].mean(axis=0)
        proposals.append(
            _describe(surrogate, weights, order, centre, named=compositions is not None)
        )
        if near.all():
            break
        pool, mean = pool[~near], mean[~near]
    return sorted(proposals, key=lambda proposal: -proposal.utility.mean)


def _simulate(
    surrogate: Surrogate, space: WeightSpace, order: Sequence[int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """A pool of feasible weights that is denser where utility is high, and its utilities."""
    pool = space.sample(POOL, rng)
    mean, _ = surrogate.predict_utility(space.ratios(pool)[:, order])
    for _ in range(REFINEMENTS):
        best = pool[np.argsort(-mean, kind="stable")[:TOP]]
        more = perturb(space, best, POOL // 8, rng)
        more_mean, _ = surrogate.predict_utility(space.ratios(more)[:, order])
        pool, mean = np.vstack([pool, more]), np.concatenate([mean, more_mean])
    return pool, mean


def _describe(
    surrogate: Surrogate, space: WeightSpace, order: Sequence[int], weights: Array, *, named: bool
) -> Proposal:
    vector = space.ratios(weights[None])[0]
    ratios = Mixture.from_vector(space.space.domains, vector)
    references = {
        "natural": Mixture.from_vector(space.space.domains, space.space.prior_vector()),
        "uniform": Mixture.uniform(space.space.domains),
        "best seen": best_seen(surrogate, space.space),
    }
    return Proposal(
        ratios=ratios,
        utility=_utility_at(surrogate, ratios),
        predicted=predict_metrics(surrogate, ratios),
        comparisons=tuple(
            Comparison(name, other, _predicted_gain(surrogate, ratios, other))
            for name, other in references.items()
            if other is not None
        ),
        weights=as_weights(space.experts, weights) if named else None,
        notes=_note_extrapolation(
            surrogate, {"proposal": ratios, "natural": references["natural"]}
        ),
    )


def _note_extrapolation(
    surrogate: Surrogate, mixtures: Mapping[str, Mixture | None]
) -> tuple[str, ...]:
    """A sentence for each mixture that lies further from every trial than trials from each other."""
    seen = surrogate.trials.ratios()
    between = hellinger(seen, seen) + 2 * np.eye(len(seen))
    usual = float(between.min(axis=1).max())
    notes = []
    for name, mixture in mixtures.items():
        if mixture is None:
            continue
        away = float(hellinger(mixture.vector(surrogate.domains)[None], seen).min())
        if away > usual:
            notes.append(
                f"The {name} mixture lies further from every trial (Hellinger {away:.2f}) than any "
                f"trial from its nearest ({usual:.2f} at most): its prediction is an extrapolation."
            )
    return tuple(notes)


def best_seen(surrogate: Surrogate, space: SearchSpace) -> Mixture | None:
    """The feasible mixture of the trial with the highest measured utility, if any is feasible."""
    trials = surrogate.trials
    utilities = surrogate.utility.of(trials.values(surrogate.utility.metrics))
    vectors = np.stack([trial.ratios.vector(space.domains) for trial in trials])
    usable = space.contains(vectors, tolerance=1e-6) & np.isfinite(utilities)
    if not usable.any():
        return None
    return trials[int(np.where(usable, utilities, -np.inf).argmax())].ratios


def predict_metrics(surrogate: Surrogate, ratios: Mixture) -> dict[str, Estimate]:
    """Predicted score of `ratios` by metric, in the metric's own units."""
    mean, std = surrogate.predict(ratios.vector(surrogate.domains)[None])
    names = [fitted.metric.name for fitted in surrogate.metrics]
    return {
        name: Estimate(float(m), float(s))
        for name, m, s in zip(names, mean[0], std[0], strict=True)
    }


def _utility_at(surrogate: Surrogate, ratios: Mixture) -> Estimate:
    mean, std = surrogate.predict_utility(ratios.vector(surrogate.domains)[None])
    return Estimate(float(mean[0]), float(std[0]))


def _predicted_gain(surrogate: Surrogate, ratios: Mixture, other: Mixture) -> Estimate:
    """Difference of the predictions; errors taken as independent, which is on the wide side."""
    here, there = _utility_at(surrogate, ratios), _utility_at(surrogate, other)
    return Estimate(here.mean - there.mean, float(np.hypot(here.std_error, there.std_error)))
