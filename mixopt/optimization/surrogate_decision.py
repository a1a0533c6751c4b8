"""The decision for a table of runs: by a surrogate's posterior of utility differences.

See docs/methods.md, section 11.8. Shapes: `n` runs, `q` candidates, `d` domains, `m` metrics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mixopt.decision import NATIVE, NEAREST_ALLOWED, SAME_RATIO, SPREADS, Decision
from mixopt.estimate import Estimate
from mixopt.mixture import Array, Mixture, nearest
from mixopt.optimization.decision import TIE, decide, runs_needed, say_runs_needed
from mixopt.optimization.nearest_allowed import nearest_allowed
from mixopt.optimization.optimism import Optimism
from mixopt.optimization.optimize import FoundMixtures
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_space import SearchSpace
from mixopt.surrogates.repeats import group_repeats, measure_noise
from mixopt.surrogates.surrogate import Surrogate

QUANTILES = 512  # points that stand for a normal posterior
FEWEST_MIXTURES = 6  # mixtures left out of a fit from which its predictions are checked
MOST_CANDIDATES = 256  # runs that may be recommended: those of the highest expected utility


@dataclass(frozen=True)
class Calibration:
    """How far differences of left-out runs are what the surrogate predicted.

    Attributes:
        slope: Of measured utilities on out-of-fold predictions, shrunk towards zero by its error
            and from 0 to 1.
        std_error: Its standard error.
        missed: Root mean square of what is left, which is a run's noise at most.
    """

    slope: float
    std_error: float
    missed: float


def calibrate_gains(surrogate: Surrogate) -> Calibration | None:
    """Compare measured utilities with out-of-fold predictions; None with too few runs.

    A surrogate that has learned noise predicts differences that left-out runs do not show, and the
    best of many candidates is chosen by such differences.

    Args:
        surrogate: Fitted to `n` runs of the highest fidelity.
    """
    predicted = surrogate.cv_utilities
    measured = surrogate.observed_utilities(surrogate.trials)
    known = np.isfinite(predicted) & np.isfinite(measured)
    groups = group_repeats(surrogate.trials.ratios()[known])
    counts = np.bincount(groups)
    if len(counts) < FEWEST_MIXTURES:
        return None
    x = np.bincount(groups, predicted[known]) / counts
    y = np.bincount(groups, measured[known]) / counts
    centred, df = x - x.mean(), len(x) - 2
    square = float(centred @ centred)
    if not square > 1e-12 * float(np.square(y - y.mean()).sum()):
        return Calibration(0.0, 0.0, float(y.std()))
    slope = float(centred @ y) / square
    left = y - y.mean() - slope * centred
    # the variance of Student's t with so few degrees of freedom
    variance = float(left @ left) / df / square * df / (df - 2)
    missed = float(np.sqrt(left @ left / df))
    # positive-part James-Stein: a slope within its own error of zero tells nothing
    shrunk = slope - variance / slope if slope > 0 else 0.0
    return Calibration(float(np.clip(shrunk, 0.0, 1.0)), float(np.sqrt(variance)), missed)


def decide_by_surrogate(
    found: FoundMixtures,
    space: SearchSpace,
    chosen: Sequence[Array],
    reference: str = "natural",
    optimism: Optimism | None = None,
    *,
    with_runs: bool = True,
) -> Decision | None:
    """Decide whether to train on the best mixture of a table's surrogate, or on the reference.

    Candidates are the choices of the search and the runs of the highest fidelity that the limits allow.

    Args:
        found: The surrogate, its candidates and the reference mixtures.
        space: The user's own limits.
        chosen: Weights of the choices, the best first.
        reference: Name of the reference. Without a natural mixture, `natural` means the best run.
        optimism: Of earlier proposals that were trained; gains are corrected by it.
        with_runs: Whether runs are candidates too.

    Returns:
        The decision; None where trials were not really trained, where weights of experts were
        searched, or where there is nothing to compare with.
    """
    surrogate = found.surrogate
    name = reference
    if name == "natural" and found.references["natural"] is None:
        name = "best seen"
    aim = found.references.get(name)
    if aim is None or found.named or any(t.kind != "trained" for t in surrogate.trials):
        return None
    near = nearest_allowed(WeightSpace.of_domains(space), aim.vector(space.domains))
    kept = Mixture.from_vector(space.domains, near)
    there = kept.vector(surrogate.domains)
    if np.abs(there - aim.vector(surrogate.domains)).max() > SAME_RATIO:
        name = NEAREST_ALLOWED
    rows = _list_candidates(found, space, chosen, kept, with_runs)
    calibration = calibrate_gains(surrogate)
    means, stds = _gains(surrogate, rows, there, calibration)
    if optimism is not None:
        means, stds = optimism.correct(means, stds)
    known = np.vstack([there, surrogate.trials.ratios()])
    unit = _spread(surrogate)
    points = ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
    choice = decide((means + np.outer(points, stds)) / unit, nearest(rows, known)[1])
    best = rows[choice.candidate]
    gain = Estimate(float(means[choice.candidate]), float(stds[choice.candidate]))
    lower = surrogate.fidelities[:-1]
    counts = [f"{level.trials} {level.level} runs" for level in lower]
    tokens = {trial.tokens for trial in surrogate.trials}
    candidate = Mixture.from_vector(surrogate.domains, best)
    return Decision(
        moves=choice.moves,
        candidate=Mixture({domain: candidate[domain] for domain in space.domains}),
        kept=kept,
        gain=gain,
        tokens=tokens.pop() if len(tokens) == 1 and min(tokens) > 0 else None,
        runs=len(surrogate.trials),
        capabilities=_by_capability(surrogate, best, there, calibration),
        differences=_by_metric(surrogate, best, there, calibration),
        reference=name,
        level=surrogate.fidelities[-1].level if lower else "",
        proxies=", ".join(counts),
        advice="" if choice.moves else _advise(found, gain, name, kept, calibration),
        unit=SPREADS if surrogate.utility.normalise == "z" else NATIVE,
    )


def _list_candidates(
    found: FoundMixtures,
    space: SearchSpace,
    chosen: Sequence[Array],
    kept: Mixture,
    with_runs: bool,
) -> Array:
    """Return the mixtures that may be recommended (`q x d`), without the reference."""
    surrogate = found.surrogate
    runs = surrogate.trials.ratios()
    order = [surrogate.domains.index(name) for name in space.domains]
    allowed = space.contains(runs[:, order], tolerance=1e-6) & with_runs
    constraint = found.search.outcome_constraint
    if constraint is not None and allowed.any():
        allowed &= constraint.met(surrogate, runs)
    # of many runs the best ones: differences cost a factor for each metric
    best = np.argsort(-np.where(allowed, surrogate.trial_utilities, -np.inf), kind="stable")
    best = np.sort(best[: min(MOST_CANDIDATES, int(allowed.sum()))])
    rows = np.vstack([found.search.ratios(np.stack(chosen)), runs[best]])
    _, first = np.unique(rows.round(9), axis=0, return_index=True)
    rows = rows[np.sort(first)]
    others = rows[np.abs(rows - kept.vector(surrogate.domains)).max(axis=1) >= SAME_RATIO]
    return others if len(others) else rows[:1]


def _gains(
    surrogate: Surrogate, rows: Array, there: Array, calibration: Calibration | None
) -> tuple[Array, Array]:
    """Return mean and standard deviation of the gain of mixtures (`q x d`) over one (`d`)."""
    return _calibrate(*surrogate.utility_difference(rows, there), calibration)


def _calibrate(mean: Array, std: Array, calibration: Calibration | None) -> tuple[Array, Array]:
    """Return mean and standard deviation of predicted differences after a calibration."""
    if calibration is None:
        return mean, std
    # adding zero turns a negative zero into zero, for printing
    return calibration.slope * mean + 0.0, np.hypot(std, calibration.std_error * mean)


def _spread(surrogate: Surrogate) -> float:
    usual = float(np.nanstd(surrogate.observed_utilities(surrogate.trials)))
    return usual if usual > 0 else 1.0


def _by_capability(
    surrogate: Surrogate, best: Array, there: Array, calibration: Calibration | None
) -> dict[str, Estimate]:
    """Return the calibrated gain by capability, where there are several."""
    if len(surrogate.capability_utilities) < 2:
        return {}
    gains = surrogate.capability_differences(best[None], there)
    return {name: _estimate(*_calibrate(*gain, calibration)) for name, gain in gains.items()}


def _by_metric(
    surrogate: Surrogate, best: Array, there: Array, calibration: Calibration | None
) -> dict[str, Estimate]:
    """Return the calibrated difference of the scores by metric."""
    mean, std = _calibrate(*surrogate.differences(best[None], there), calibration)
    return {
        fitted.metric.name: _estimate(mean[:, place], std[:, place])
        for place, fitted in enumerate(surrogate.metrics)
    }


def _estimate(mean: Array, std: Array) -> Estimate:
    return Estimate(float(mean[0]), float(std[0]))


def _advise(
    found: FoundMixtures,
    gain: Estimate,
    reference: str,
    kept: Mixture,
    calibration: Calibration | None,
) -> str:
    """Return what it would take to tell, and whether the reference itself may be trained on."""
    surrogate, constraint = found.surrogate, found.search.outcome_constraint
    advice = _runs_needed(surrogate, gain, reference, calibration)
    if constraint is None or constraint.met(surrogate, kept.vector(surrogate.domains)[None])[0]:
        return advice
    return f"The {reference} mixture does not meet the outcome constraint itself. {advice}".strip()


def _runs_needed(
    surrogate: Surrogate, gain: Estimate, reference: str, calibration: Calibration | None
) -> str:
    """Return how many runs of both mixtures would make the chance reach `CHANCE`, in words.

    The gain is taken to be what is expected of it now. `k` runs of each measure it with the variance
    2 noise² / k, which joins the posterior's.
    """
    if calibration is not None and calibration.slope == 0:
        return "Left-out runs are not predicted at all: these runs do not show how mixtures differ."
    if not gain.mean > 0:
        return f"No candidate is expected to be better than the {reference} mixture."
    if gain.mean <= TIE * _spread(surrogate):
        return f"A gain below {TIE:g} of the runs' spread counts as none."
    trials = surrogate.trials
    utilities = surrogate.observed_utilities(trials)
    known = np.isfinite(utilities)
    repeats = measure_noise(trials.ratios()[known], utilities[known, None])
    if repeats is not None:
        noise, how = float(repeats.stds[0]), f"a run's noise is {repeats.stds[0]:.3f}, by repeats"
        about = "about"
    elif calibration is not None:
        noise, about = calibration.missed, "at most about"
        how = f"left-out runs are missed by {noise:.3f}; no mixture was run twice"
    else:
        return ""
    runs = runs_needed(gain, math.sqrt(2) * noise)
    return say_runs_needed(gain, runs, reference, about=about, how=how)
