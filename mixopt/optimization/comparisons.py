"""Assessing a mixture: what it is predicted to do, against what, and how sure that is.

Shapes: `n` mixtures, `d` domains, `m` metrics, `k` weights.
"""

from collections.abc import Mapping

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Array, Mixture
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.weight_space import hellinger
from mixopt.proposal import Z95, Comparison, Estimate, Support, Ties
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate

EXAMPLES = 5
"""Mixtures shown of those that cannot be told from the proposal."""
NO_GAIN = Estimate(0.0, 0.0)
ALIKE = 1e-6
"""Largest difference of a ratio between mixtures that are one."""
WORSE = 0.5
"""Probability of being worse from which a metric is named."""


def compare(
    surrogate: Surrogate, ratios: Mixture, others: Mapping[str, Mixture | None]
) -> tuple[Comparison, ...]:
    """The mixture against each of `others`: expected gain, and the metrics that get worse."""
    return tuple(
        Comparison(
            name,
            other,
            NO_GAIN if _same(ratios, other) else surrogate.estimate_gain(ratios, other),
            worse={} if _same(ratios, other) else _worse(surrogate, ratios, other),
        )
        for name, other in others.items()
        if other is not None
    )


def _same(one: Mixture, other: Mixture) -> bool:
    """Whether two mixtures differ by rounding alone: what is left of a difference means nothing."""
    return bool(np.abs(one.vector(tuple(one)) - other.vector(tuple(one))).max() < ALIKE)


def _worse(surrogate: Surrogate, ratios: Mixture, other: Mixture) -> dict[str, float]:
    """Probability of being worse than `other`, by metric, where that is likely; worst first."""
    mean, std = surrogate.differences(
        ratios.vector(surrogate.domains)[None], other.vector(surrogate.domains)
    )
    found = {}
    for fitted, difference, error in zip(surrogate.metrics, mean[0], std[0], strict=True):
        sign = 1.0 if fitted.metric.better == "lower" else -1.0
        chance = Estimate(sign * float(difference), float(error)).chance
        if difference != 0 and chance > WORSE:
            found[fitted.metric.name] = chance
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def find_ties(surrogate: Surrogate, space: SearchSpace, ratios: Mixture, candidates: Array) -> Ties:
    """Those of `candidates` (`n x d`, the space's order) that the proposal does not clearly beat."""
    order = [space.domains.index(name) for name in surrogate.domains]
    mean, std = surrogate.utility_difference(candidates[:, order], ratios.vector(surrogate.domains))
    alike = candidates[mean + Z95 * std >= 0]
    alike = np.vstack([ratios.vector(space.domains), alike])
    ranges = {
        name: (float(low), float(high))
        for name, low, high in zip(space.domains, alike.min(0), alike.max(0), strict=True)
    }
    chosen = _far_apart(alike, EXAMPLES + 1)[1:]
    examples = tuple(Mixture.from_vector(space.domains, row) for row in chosen)
    return Ties((len(alike) - 1) / max(len(candidates), 1), ranges, examples)


def _far_apart(points: Array, n: int) -> Array:
    """The first of `points` (`n x d`) and others in turn the farthest from those before."""
    chosen = [points[0]]
    nearest = hellinger(points, points[:1])[:, 0]
    while len(chosen) < n and nearest.max() > 0.01:
        index = int(nearest.argmax())
        chosen.append(points[index])
        nearest = np.minimum(nearest, hellinger(points, points[index : index + 1])[:, 0])
    return np.stack(chosen)


def find_support(surrogate: Surrogate, ratios: Mixture) -> Support:
    """The nearest trial to `ratios`, and how far that is compared with trials among themselves."""
    seen = surrogate.trials.ratios()
    between = hellinger(seen, seen) + 2 * np.eye(len(seen))
    usual = float(between.min(axis=1).max()) if len(seen) > 1 else 0.0
    away = hellinger(ratios.vector(surrogate.domains)[None], seen)[0]
    nearest = int(away.argmin())
    return Support(surrogate.trials[nearest].id, float(away[nearest]), usual)


def note_extrapolation(
    surrogate: Surrogate, mixtures: Mapping[str, Mixture | None]
) -> tuple[str, ...]:
    """A sentence for each mixture that lies further from every trial than trials from each other."""
    notes = []
    for name, mixture in mixtures.items():
        if mixture is None:
            continue
        support = find_support(surrogate, mixture)
        if support.extrapolates:
            notes.append(
                f"The {name} mixture lies further from every trial (Hellinger "
                f"{support.distance:.2f}) than any trial from its nearest ({support.usual:.2f} at "
                "most): its prediction is an extrapolation."
            )
    return tuple(notes)


def best_seen(surrogate: Surrogate, space: SearchSpace) -> Mixture | None:
    """The feasible mixture of the trial with the highest measured utility, if any is feasible.

    A metric that a trial lacks is filled in by prediction.
    """
    trials = surrogate.trials
    utilities = surrogate.seen_utilities(trials)
    vectors = np.stack([trial.ratios.vector(space.domains) for trial in trials])
    usable = space.contains(vectors, tolerance=1e-6) & np.isfinite(utilities)
    if not usable.any():
        return None
    return trials[int(np.where(usable, utilities, -np.inf).argmax())].ratios


def predict_errors(
    predicted: Mapping[str, Estimate], laws: Mapping[str, LossToError]
) -> dict[str, Estimate]:
    """Benchmark errors from predicted losses, for the metrics whose law is given.

    Raises:
        TrialsError: A law is for no metric that is predicted.
    """
    for name in laws:
        if name not in predicted:
            raise TrialsError(
                f"error_laws names {name!r}, which is no metric that is predicted. "
                f"{did_you_mean(name, predicted)}"
            )
    return {name: law.of(predicted[name]) for name, law in laws.items()}


def describe_fit(surrogate: Surrogate) -> tuple[str, ...]:
    """Sentences on how well runs are predicted that were left out, and what runs there are."""
    told = [one for one in surrogate.metrics if one.weights]
    tested = [one for one in told if np.isfinite(one.rank_correlation)]
    left_out = "too few to leave any out"
    if tested:
        worst = min(tested, key=lambda one: one.rank_correlation)
        left_out = (
            f"runs that were left out are ranked at "
            f"{np.median([one.rank_correlation for one in tested]):+.2f} (median), "
            f"{worst.rank_correlation:+.2f} at worst ({worst.metric.name})"
        )
    name = surrogate.trials.levels[0]
    kind = f"{name} runs" if len(surrogate.fidelities) > 1 else "runs"
    shares: dict[str, float] = {}
    for one in told:
        for name, weight in one.weights.items():
            shares[name] = shares.get(name, 0.0) + weight / len(told)
    leading = sorted(shares.items(), key=lambda item: -item[1])[:3]
    sentences = [
        f"Fitted {len(told)} metrics on {len(surrogate.trials)} {kind}; {left_out}.",
        "Surrogates: " + ", ".join(f"{name} {share:.0%}" for name, share in leading) + ", ...",
    ]
    for level in surrogate.fidelities[:-1]:
        known = [rank for rank in level.rank_correlations.values() if np.isfinite(rank)]
        ranked = f", which rank the dearer ones at {np.median(known):+.2f}" if known else ""
        cost = f", {level.cost:.3g} each" if np.isfinite(level.cost) else ""
        sentences.append(f"With {level.trials} {level.level} runs{cost}{ranked}.")
    return tuple(sentences)
