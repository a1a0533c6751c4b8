"""Comparisons of a mixture with reference mixtures, with its ties and with the trials.

See docs/methods.md, section 7.8. Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from mixopt.comparison import Comparison, Ties
from mixopt.errors import MixtureError, TrialsError, did_you_mean
from mixopt.estimate import Z95, Estimate
from mixopt.mixture import Array, Mixture, MixtureLike, as_mixture, hellinger
from mixopt.optimization.loss_to_error import LossToError
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.outliers import describe_outlying_trials
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trial import Metric

EXAMPLES = 5  # ties that a proposal lists
NO_GAIN = Estimate(0.0, 0.0)
SAME_RATIO = 1e-6  # largest difference of a ratio between mixtures that count as the same
WORSE = 0.5  # probability of a worse score from which a metric is listed


def reference_mixtures(
    surrogate: Surrogate, space: SearchSpace, constraint: OutcomeConstraint | None = None
) -> dict[str, Mixture | None]:
    """Return the mixtures that proposals are compared with.

    Args:
        surrogate: Fitted to the trials, over `d` domains.
        space: The mixtures that may be proposed; its prior is the natural mixture.
        constraint: What the best trial must meet.

    Returns:
        `natural` (None without a prior), `uniform`, and `best seen` (None if no trial is feasible).
        The first is what verdicts are about, so `best seen` comes first without a prior.
    """
    best, uniform = _best_seen(surrogate, space, constraint), Mixture.uniform(space.domains)
    if space.natural is None:
        return {"best seen": best, "uniform": uniform, "natural": None}
    natural = Mixture.from_vector(space.domains, space.prior_vector())
    return {"natural": natural, "uniform": uniform, "best seen": best}


def require_reference(name: str, references: Mapping[str, Mixture | None], use: str) -> Mixture:
    """Return a reference mixture by name.

    Args:
        name: `natural`, `uniform` or `best seen`.
        references: What `reference_mixtures` returns.
        use: What the reference is for, for the message.

    Raises:
        MixtureError: The name is unknown, or there is no such mixture.
    """
    if name not in references:
        raise MixtureError(f"{use} {name!r} is no mixture. {did_you_mean(name, references)}")
    mixture = references[name]
    if mixture is None:
        why = (
            "no natural mixture is given; give prior= of the search space (--natural on the shell)"
            if name == "natural"
            else "no trial is feasible; widen the bounds"
        )
        raise MixtureError(f"{use} is the {name} mixture and {why}, or name another reference.")
    return mixture


def compare(
    surrogate: Surrogate, ratios: MixtureLike, others: "Mapping[str, MixtureLike | None]"
) -> tuple[Comparison, ...]:
    """Compare a mixture with others.

    Args:
        surrogate: Predicts the scores.
        ratios: The mixture; an array (`d`) is in the order of the surrogate's domains.
        others: Other mixtures by name; None is skipped.

    Returns:
        A comparison with each of `others`: the predicted gain and the metrics that get worse.
    """
    own = as_mixture(ratios, surrogate.domains)
    rows = []
    for name, given in others.items():
        if given is None:
            continue
        other = given if isinstance(given, Mixture) else as_mixture(given, surrogate.domains)
        if np.abs(own.vector(tuple(own)) - other.vector(tuple(own))).max() < SAME_RATIO:
            rows.append(Comparison(name, other, NO_GAIN, worse={}))
        else:
            gain = surrogate.estimate_gain(own, other)
            rows.append(Comparison(name, other, gain, worse=_worse(surrogate, own, other)))
    return tuple(rows)


def worse_scores(
    differences: Mapping[str, Estimate], metrics: Iterable[Metric]
) -> dict[str, float]:
    """Return the probability of a worse score by metric, if above `WORSE`, the largest first.

    Args:
        differences: Score differences by metric, in its units; those of other metrics count for nothing.
        metrics: Say which direction is better.
    """
    worse = {}
    for metric in metrics:
        difference = differences.get(metric.name)
        if difference is None or difference.mean == 0:
            continue
        sign = 1.0 if metric.better == "lower" else -1.0
        chance = Estimate(sign * difference.mean, difference.std_error).chance
        if chance > WORSE:
            worse[metric.name] = chance
    return dict(sorted(worse.items(), key=lambda item: -item[1]))


def _worse(surrogate: Surrogate, ratios: Mixture, other: Mixture) -> dict[str, float]:
    """Return what the surrogate predicts to be worse."""
    domains = surrogate.domains
    mean, std = surrogate.differences(ratios.vector(domains)[None], other.vector(domains))
    metrics = [fitted.metric for fitted in surrogate.metrics]
    pairs = zip(metrics, mean[0], std[0], strict=True)
    return worse_scores(
        {m.name: Estimate(float(gap), float(err)) for m, gap, err in pairs}, metrics
    )


def find_ties(
    surrogate: Surrogate, space: SearchSpace, ratios: Mixture, uniform: Array, others: Array
) -> Ties:
    """Return the mixtures that the proposal does not beat with 95% confidence.

    Args:
        surrogate: Predicts utility differences.
        space: The mixtures that may be proposed.
        ratios: The proposal.
        uniform: Uniform draws from them (`n x d`), in the order of the space's domains.
        others: Further candidates (`? x d`), good ones say, which count for no share.

    Returns:
        Their share of the uniform draws; and of both, the range of each ratio and some mixtures far
        from each other.
    """
    order = [space.domains.index(name) for name in surrogate.domains]
    candidates = np.vstack([uniform, others])
    mean, std = surrogate.utility_difference(candidates[:, order], ratios.vector(surrogate.domains))
    tied = mean + Z95 * std >= 0
    alike = np.vstack([ratios.vector(space.domains), candidates[tied]])
    ranges = {
        name: (float(low), float(high))
        for name, low, high in zip(space.domains, alike.min(0), alike.max(0), strict=True)
    }
    chosen = _far_apart(alike, EXAMPLES + 1)[1:]
    examples = tuple(Mixture.from_vector(space.domains, row) for row in chosen)
    return Ties(float(tied[: len(uniform)].mean()), ranges, examples)


def _far_apart(points: Array, n: int) -> Array:
    """Return the first of `points` (`n x d`), then greedily the farthest from those chosen."""
    chosen = [points[0]]
    nearest = hellinger(points, points[:1])[:, 0]
    while len(chosen) < n and nearest.max() > 0.01:
        index = int(nearest.argmax())
        chosen.append(points[index])
        nearest = np.minimum(nearest, hellinger(points, points[index : index + 1])[:, 0])
    return np.stack(chosen)


def _best_seen(
    surrogate: Surrogate, space: SearchSpace, constraint: OutcomeConstraint | None = None
) -> Mixture | None:
    """Return the mixture of the feasible trial with the highest expected utility, if any is feasible.

    The highest measured utility would belong to a lucky trial: it holds the noise of one run.
    """
    trials = surrogate.trials
    expected = surrogate.trial_utilities
    measured = np.isfinite(surrogate.observed_utilities(trials))
    vectors = np.stack([trial.ratios.vector(space.domains) for trial in trials])
    usable = space.contains(vectors, tolerance=1e-6) & measured
    if constraint is not None:
        usable &= constraint.met(surrogate, trials.ratios())
    if not usable.any():
        return None
    return trials[int(np.where(usable, expected, -np.inf).argmax())].ratios


def predict_errors(
    predicted: Mapping[str, Estimate], laws: Mapping[str, LossToError]
) -> dict[str, Estimate]:
    """Return benchmark errors from predicted losses.

    Args:
        predicted: Predicted loss by metric.
        laws: Loss-to-error law by metric.

    Returns:
        Error by metric that has a law.

    Raises:
        TrialsError: A law is for a metric that is not predicted.
    """
    for name in laws:
        if name not in predicted:
            raise TrialsError(
                f"error_laws names {name!r}, which is no metric that is predicted. "
                f"{did_you_mean(name, predicted)}"
            )
    return {name: law.of(predicted[name]) for name, law in laws.items()}


def describe_fit(surrogate: Surrogate) -> tuple[str, ...]:
    """Return sentences on the quality of a fit.

    Args:
        surrogate: The fit to `n` trials.

    Returns:
        Rank correlations of left-out runs, the weights of the surrogate models, the runs of each
        fidelity, and real runs that lie far from all others.
    """
    fitted = [one for one in surrogate.metrics if one.weights]
    tested = [one for one in fitted if np.isfinite(one.rank_correlation)]
    left_out = "too few to be ranked by leaving some out"
    if tested:
        worst = min(tested, key=lambda one: one.rank_correlation)
        median = np.median([one.rank_correlation for one in tested])
        left_out = (f"runs that were left out are ranked at {median:+.2f} (median), "
                    f"{worst.rank_correlation:+.2f} at worst ({worst.metric.name})")  # fmt: skip
    name = surrogate.trials.levels[0]
    kind = f"{name} runs" if len(surrogate.fidelities) > 1 else "runs"
    shares: dict[str, float] = {}
    for one in fitted:
        for name, weight in one.weights.items():
            shares[name] = shares.get(name, 0.0) + weight / len(fitted)
    leading = sorted(shares.items(), key=lambda item: -item[1])[:3]
    sentences = [
        f"Fitted {len(fitted)} metrics on {len(surrogate.trials)} {kind}; {left_out}.",
        "Surrogates: " + ", ".join(f"{name} {share:.0%}" for name, share in leading) + ", ...",
    ]
    if (noise := surrogate.noise) is not None:
        spreads = np.nanstd(
            surrogate.trials.values([one.metric for one in surrogate.metrics]), axis=0
        )
        share = np.median((noise.stds / np.where(spreads > 0, spreads, 1.0))[spreads > 0])
        sentences.append(
            f"{noise.repeats} repeats of {noise.mixtures} mixtures measure the noise of one run: "
            f"{share:.2f} of the spread of all runs (median metric)."
        )
    for level in surrogate.fidelities[:-1]:
        known = [rank for rank in level.rank_correlations.values() if np.isfinite(rank)]
        ranked = f", which rank the costlier ones at {np.median(known):+.2f}" if known else ""
        cost = f", {level.cost:.3g} each" if np.isfinite(level.cost) else ""
        sentences.append(f"With {level.trials} {level.level} runs{cost}{ranked}.")
    sentences += describe_outlying_trials(surrogate.trials)
    return tuple(sentences)
