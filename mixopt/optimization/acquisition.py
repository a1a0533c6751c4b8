"""What a further run is worth: by how much it raises the expected gain of the mixture chosen after it.

Shapes: `q` mixtures that may be chosen, `n` runs that may be trained, `m` metrics, `c` combinations.
"""

import numpy as np
from scipy.stats import norm

from mixopt.mixture import Array
from mixopt.surrogates.gain_model import GainPosterior, Mixtures


def value_of_runs(
    posterior: GainPosterior, choices: Mixtures, options: Mixtures, combinations: Array
) -> Array:
    """Return what each run is worth (`n`), in the unit of the objective.

    The objective is linear in the gains. Where the worst capability counts, the capability that is
    worst at the best mixture stands for it.

    Args:
        posterior: Of the gains, given what was trained.
        choices: Mixtures that may be chosen, at the tokens that count (`q`).
        options: Runs that may be trained, at their own tokens (`n`).
        combinations: Weights of the objective (`c x m`).
    """
    weights = combinations[:1]
    if len(combinations) > 1:
        each = posterior.gains(choices, combinations)[0]
        best = int(each.min(axis=1).argmax())
        weights = combinations[[int(each[best].argmin())]]
    q, base = len(choices.ratios), posterior.base
    # gains of choices are over the base, what runs observe is over natural
    bases = [] if base is None else [base.pick([0] * q, choices.tokens)]
    asked = choices
    for more in (*bases, options):
        asked = asked.join(more)
    mean, covariance = posterior.over_natural.gains(asked, weights)
    over = np.hstack([np.eye(q), *(-np.eye(q) for _ in bases)])
    n, covariance = over.shape[1], covariance[:, 0, :, 0]
    noise = posterior.model.combined_noise(weights)[0]
    std = np.sqrt(np.diag(covariance)[n:] + noise**2)
    effects = over @ covariance[:n, n:] / std
    # natural or the base, which gains nothing, may be chosen too
    expected = np.append(over @ mean[:n, 0], 0.0)
    return np.array([expected_improvement(expected, np.append(row, 0.0)) for row in effects.T])


def expected_improvement(mean: Array, effects: Array) -> float:
    """Return by how much one observation raises the expected gain of the best choice.

    The knowledge gradient for correlated normal beliefs (Frazier, Powell & Dayanik 2009, algorithm 1):
    E[max_i (mean_i + effects_i·Z)] − max_i mean_i for a standard normal Z.

    Args:
        mean: Expected gains (`q`), natural's 0 among them.
        effects: Change of each mean by an observation one standard deviation above its mean (`q`).
    """
    order = np.lexsort((mean, effects))
    slopes, intercepts = effects[order], mean[order]
    # of equal slopes the highest line counts
    last = np.append(np.diff(slopes) > 0, True)
    slopes, intercepts = slopes[last], intercepts[last]
    upper = [0]
    crossings = [-np.inf]
    for line in range(1, len(slopes)):
        while True:
            top = upper[-1]
            crossing = (intercepts[top] - intercepts[line]) / (slopes[line] - slopes[top])
            if crossing > crossings[-1] or len(upper) == 1:
                break
            upper.pop()
            crossings.pop()
        upper.append(line)
        crossings.append(crossing)
    ends = np.array([*crossings[1:], np.inf])
    starts = np.array(crossings)
    probability = norm.cdf(ends) - norm.cdf(starts)
    moment = norm.pdf(starts) - norm.pdf(ends)
    value = intercepts[upper] @ probability + slopes[upper] @ moment
    return float(max(0.0, value - mean.max()))
