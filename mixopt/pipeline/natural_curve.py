"""Natural's own runs as a curve of utility by tokens, and a candidate's gain told on it."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mixopt.decision import EquivalentTokens
from mixopt.mixture import Array
from mixopt.optimization.equivalent_tokens import NaturalCurve, find_equivalent_tokens
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.surrogates.gain_model import SAME, GainPosterior

DRAWS = 4096


def natural_curve(
    gains: StudyGains, posterior: GainPosterior, observations: Sequence[Observation]
) -> NaturalCurve | str:
    """Return how natural's utility grows with its tokens, or why that is not known.

    Args:
        gains: The unit of the utility.
        posterior: Has the noise of seeds.
        observations: Runs at their lengths, natural ones among them.
    """
    combinations = gains.objective.combinations()
    by_seed: dict[int, dict[int, Array]] = defaultdict(dict)
    for each in observations:
        if np.abs(each.ratios - gains.natural).max() < SAME and np.isfinite(each.scores).all():
            by_seed[each.seed][each.tokens] = each.scores
    lengths, utilities = [], []
    for own in by_seed.values():
        lengths.append(np.array(sorted(own), dtype=np.float64))
        scores = np.stack([own[tokens] for tokens in sorted(own)])
        utilities.append(gains.objective.gains(scores, scores[-1]) @ combinations.T)
    noise = posterior.model.combined_noise(combinations)
    return NaturalCurve.measure(lengths, utilities, noise)


def equivalent_tokens(
    gains: StudyGains,
    posterior: GainPosterior,
    candidate: Array,
    observations: Sequence[Observation],
    seed: int,
) -> EquivalentTokens | str:
    """Return a candidate's gain as tokens of training on natural, or why that cannot be said.

    It is stated at the tokens of the decision, or at natural's longest run where that is shorter: beyond
    it natural's own curve is not known.

    Args:
        gains: What is known of gains.
        posterior: Given the runs.
        candidate: Its ratios (`d`).
        observations: Runs at their lengths, natural ones among them.
        seed: Of the draws.
    """
    curve = natural_curve(gains, posterior, observations)
    if isinstance(curve, str):
        return curve
    tokens = min(float(gains.tokens), curve.longest)
    rng = np.random.default_rng([seed, 1_000_005])
    at = gains.mixtures(candidate[None], tokens)
    draws = posterior.draw(at, gains.objective.combinations(), DRAWS, rng)[:, 0]
    return find_equivalent_tokens(curve, draws, tokens, rng)
