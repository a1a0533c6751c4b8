"""Spending: what would make predictions of real training better, for the tokens that it costs.

A proposal's ranks go through two hands: the surrogate ranks candidates as the proxy would, and the
proxy ranks them as training does. More merges mend the first, longer or more experts the second, and
real runs correct both. What each could buy is measured where it can be, and bounded where not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.rank_fidelity import spearman
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Score, Trials
from mixopt.validation import Purchase, RankFidelity


@dataclass(frozen=True)
class Prices:
    """Training tokens that one more of each costs.

    Attributes:
        expert_tokens: All experts trained as long again.
        merge_tokens: One candidate scored, in tokens of training that cost as much.
        run_tokens: One real run.
    """

    expert_tokens: float
    merge_tokens: float
    run_tokens: float


def weigh_purchases(
    overall: RankFidelity,
    *,
    surrogate: Surrogate,
    corrected: Surrogate | None,
    truth: Array,
    trials: int,
    runs: int,
    prices: Prices,
) -> tuple[Purchase, ...]:
    """What would buy most rank correlation with real training, the best per token first.

    Args:
        overall: How the proxy ranks the trained mixtures by utility.
        surrogate: Fitted to the proxy's trials.
        corrected: Fitted to these and the trained mixtures; None where they are too few.
        truth: Trained utility of the mixtures (`n`).
        trials: Candidates that were scored.
        runs: Real runs that were trained.
        prices: Of more.
    """
    reach = overall.attainable if np.isfinite(overall.attainable) else 1.0
    proxy = overall.spearman if np.isfinite(overall.spearman) else 0.0
    seen = surrogate.seen_utilities(surrogate.trials)
    follows = spearman(surrogate.cv_utilities, seen)
    missed = 1 - follows if np.isfinite(follows) else 0.0
    purchases = [
        # what the surrogate misses of the proxy falls about as one over the trials
        Purchase(
            "merges", trials, max(proxy, 0.0) * missed / 2, trials * prices.merge_tokens, False
        ),
        Purchase("experts", 1, max(reach - proxy, 0.0), prices.expert_tokens, True),
    ]
    if corrected is not None:
        mended = spearman(corrected.cv_utilities, truth)
        if np.isfinite(mended):
            gain = max(mended - proxy, 0.0)
            purchases.append(Purchase("runs", runs, gain, runs * prices.run_tokens, False))
    return tuple(sorted(purchases, key=lambda p: -p.per_token))


def mean_over_seeds(tables: Sequence[Trials]) -> Trials:
    """One trial for each mixture: the mean of its seeds, with the standard error that they tell."""
    first = tables[0]
    rows = []
    for place, trial in enumerate(first):
        scores = {}
        for metric in first.metrics:
            values = np.array([table[place].scores[metric.name].value for table in tables])
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
            scores[metric.name] = Score(float(values.mean()), float(error))
        flops = sum(table[place].flops for table in tables)
        tokens = sum(table[place].tokens for table in tables)
        rows.append(replace(trial, scores=scores, seed=None, flops=flops, tokens=tokens))
    return Trials(rows, first.metrics, first.domains)
