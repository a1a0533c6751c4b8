"""The noise of training, and how many runs it would take to tell where a study stays with natural.

Shapes: `c` combinations, `m` metrics.
"""

import numpy as np

from mixopt.decision import NEAREST_ALLOWED
from mixopt.estimate import Estimate
from mixopt.evidence import PairedNoise
from mixopt.mixture import Array, Mixture
from mixopt.optimization.decision import TIE, runs_needed, say_runs_needed
from mixopt.optimization.objective import Objective
from mixopt.pipeline.confirmation import trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import StudyGains
from mixopt.pipeline.mixture_runs import has_text
from mixopt.pipeline.seed_noise import repeated_gains
from mixopt.surrogates.gain_model import SAME, GainPosterior, Mixtures


def advise_runs(
    context: StudyContext,
    gains: StudyGains,
    posterior: GainPosterior,
    chosen: Mixtures,
    gain: Estimate,
) -> str:
    """Return how many more runs would tell whether a mixture is better, or why none would.

    Of the lengths that runs may have, the one that takes the fewest tokens is named.

    Args:
        context: The study.
        gains: The objective, and natural.
        posterior: Of the gains, given all runs.
        chosen: The candidate (one row), at the tokens at which gains are stated.
        gain: Its gain.

    Returns:
        A sentence or two; empty without another candidate, or where no run of it can be trained.
    """
    if np.abs(chosen.ratios[0] - gains.kept).max() < SAME:  # there is no other candidate
        return ""
    objective = gains.objective
    reference = "natural" if gains.keeps_natural else NEAREST_ALLOWED
    if not gain.mean > 0:
        return f"No candidate is expected to be better than the {reference} mixture."
    tie = TIE * objective.usual_gain
    if gain.mean <= tie:
        return f"A gain of at most {tie:.2g} {objective.gain_unit} counts as none."
    weights = counted_combination(posterior, chosen, objective)
    noise = float(posterior.model.combined_noise(weights)[0])
    mixture = Mixture.from_vector(context.config.domains, chosen.ratios[0])
    lengths = [n for n in trainable_lengths(context) if has_text(context, mixture, n)]
    if not lengths:
        return ""
    needed = {}
    for length in lengths:
        both = chosen.pick([0, 0], np.array([chosen.tokens[0], float(length)]))
        covariance = posterior.gains(both, weights)[1][:, 0, :, 0]
        known = Estimate(gain.mean, float(np.sqrt(covariance[0, 0])))
        needed[length] = runs_needed(known, noise, (covariance[1, 1], covariance[0, 1]))
    length = min(lengths, key=lambda n: (n * needed[n], n))
    if np.isinf(needed[length]):
        return (
            f"Runs of up to {lengths[-1]:,} tokens cannot tell a gain of {gain.mean:+.3f} at "
            f"{chosen.tokens[0]:,.0f} tokens, whatever their number: longer ones are needed."
        )
    how = (
        f"runs of {length:,} tokens, of which a difference has a noise of {noise:.3f} "
        f"{objective.gain_unit}"
    )
    return say_runs_needed(gain, needed[length], reference, about="about", how=how)


def paired_noise(posterior: GainPosterior, chosen: Mixtures, objective: Objective) -> PairedNoise:
    """Return the noise of one paired difference of the utility.

    Args:
        posterior: Of the gains, given all runs.
        chosen: The candidate (one row).
        objective: The study's.
    """
    weights = counted_combination(posterior, chosen, objective)
    known = [np.isfinite(own).sum(axis=0) for own in repeated_gains(posterior.runs)]
    start = np.isfinite(objective.seed_gains).astype(int)
    counts = sum((np.maximum(n - 1, 0) for n in known), start=start)
    differences = int(counts[weights[0] != 0].max(initial=0))
    return PairedNoise(float(posterior.model.combined_noise(weights)[0]), differences)


def counted_combination(posterior: GainPosterior, chosen: Mixtures, objective: Objective) -> Array:
    """Return the weights of metrics by which a mixture is judged (`1 x m`).

    Where the worst capability counts, it is the one that is expected to be worst there.

    Args:
        posterior: Of the gains, given all runs.
        chosen: The mixture (one row).
        objective: The study's.
    """
    combinations = objective.combinations()
    worst = int(posterior.gains(chosen, combinations)[0][0].argmin())
    return combinations[[worst]]
