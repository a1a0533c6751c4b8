"""Functions that the experiments on tables of runs share."""

import numpy as np
from scipy.stats import spearmanr

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.estimate import Z95
from mixopt.surrogates.surrogate import Surrogate


def make_trials(ratios: np.ndarray, losses: np.ndarray, domains: list, metrics: list) -> Trials:
    """Return trials of losses (`n x m`), of which lower is better."""
    return Trials(
        [
            Trial(str(i), Mixture.from_vector(domains, r),
                  {m: Score(float(v)) for m, v in zip(metrics, y, strict=True)})
            for i, (r, y) in enumerate(zip(ratios, losses, strict=True))
        ],
        [Metric(m, "lower") for m in metrics],
        domains,
    )  # fmt: skip


def ranks(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation by column (`m`)."""
    return np.array([spearmanr(p, t)[0] for p, t in zip(predicted.T, truth.T, strict=True)])


def coverage(surrogate: Surrogate, ratios: np.ndarray, truth: np.ndarray) -> dict:
    """Return the share of true values inside 80% and 95% intervals, by metric."""
    mean, std = surrogate.predict(ratios)
    miss, critical = np.abs(mean - truth), surrogate.model.critical_values
    half80 = std * Z95 * critical.half80 / critical.half95
    return {
        "within 80": (miss <= half80).mean(0).tolist(),
        "within 95": (miss <= Z95 * std).mean(0).tolist(),
    }
