"""Optimism of proposals, from proposals of an earlier fit that were really trained.

The best of many candidates is chosen by its prediction, so predictions of proposals are too good. Runs
of earlier proposals measure by how much. See docs/methods.md, section 11.9. Shapes: `n` proposals,
`d` domains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Array, Mixture
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import AnyUtility
from mixopt.trials import Trials


@dataclass(frozen=True)
class Optimism:
    """How trained proposals compare with what was predicted of them.

    Attributes:
        bias: Measured minus predicted utility, shrunk towards zero by its error.
        bias_std: Standard deviation of the bias.
        widening: Factor on the standard deviation of gains, at least 1.
        raw: The mean before it was shrunk.
        proposals: Proposals that were trained.
    """

    bias: float
    bias_std: float
    widening: float
    raw: float
    proposals: int

    def correct(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Return corrected means and standard deviations of gains (`q` each)."""
        return mean + self.bias, np.hypot(std * self.widening, self.bias_std)

    def __str__(self) -> str:
        runs = "1 run" if self.proposals == 1 else f"{self.proposals} runs"
        side = "below" if self.raw < 0 else "above"
        return (
            f"{runs} of earlier proposals came out {abs(self.raw):.3f} {side} what was predicted of "
            f"them: gains are corrected by {self.bias:+.3f}, and their intervals widened by "
            f"{self.widening:.2f}."
        )


def split_proposals(trials: Trials, ids: Sequence[str], level: str) -> tuple[Trials, Trials]:
    """Return the trials that were no proposals, and those of one fidelity that were.

    Args:
        trials: All runs.
        ids: Ids of runs that were proposals of an earlier fit; another fidelity may have the same ids.
        level: The fidelity of the proposals.

    Raises:
        TrialsError: An id is of no run of that fidelity.
    """
    known = {trial.id for trial in trials if trial.level == level}
    for name in ids:
        if name not in known:
            raise TrialsError(f"No {level} run has the id {name!r}. {did_you_mean(name, known)}")
    chosen = {(level, name) for name in ids}
    others = [trial for trial in trials if (trial.level, trial.id) not in chosen]
    proposed = [trial for trial in trials if (trial.level, trial.id) in chosen]
    return (
        Trials(others, trials.metrics, trials.domains),
        Trials(proposed, trials.metrics, trials.domains),
    )


def measure_optimism(
    earlier: Surrogate,
    proposed: Trials,
    reference: Mixture,
    slope: float = 1.0,
    utility: AnyUtility | None = None,
) -> Optimism | None:
    """Compare trained proposals with what a surrogate of the other runs predicts of them.

    A bias is the mean of measured minus predicted utilities, and a factor their spread beyond what was
    predicted (Marin's calibration of proposals). The bias is shrunk by its own error (positive-part
    James-Stein): one proposal tells little.

    Args:
        earlier: Fitted to the runs that are no proposals.
        proposed: Runs of proposals (`n`), of the fidelity that `earlier` predicts.
        reference: The mixture that gains are told against.
        slope: Factor on predicted gains that the decision applied already.
        utility: Of the decision, in whose unit the gains are that will be corrected: that of `earlier`
            is in standard deviations over fewer runs. It is that of `earlier` if left out.

    Returns:
        The optimism; None where no proposal has a measured utility.
    """
    if utility is not None and utility.metrics == earlier.utility.metrics:
        earlier = replace(earlier, utility=utility)
    ratios = earlier.ratios_of(proposed)
    measured = earlier.observed_utilities(proposed)
    known = np.isfinite(measured)
    n = int(known.sum())
    if not n:
        return None
    there = float(earlier.expected_utility(reference.vector(earlier.domains)[None])[0])
    mean, std = earlier.predict_utility(ratios[known])
    misses = measured[known] - (there + slope * (mean - there))
    raw, expected = float(misses.mean()), float(np.square(std).mean())
    widening = 1.0
    if n > 1:
        spread = float(np.square(misses - raw).mean()) * (n + 1) / (n - 1)
        widening = float(np.sqrt(max(spread / expected, 1.0)))
    variance = widening**2 * expected / n
    share = max(0.0, 1 - variance / raw**2) if raw else 0.0
    return Optimism(share * raw, float(np.sqrt(share * variance)), widening, raw, n)
