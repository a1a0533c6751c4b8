"""Validation of proxies: how they rank mixtures that were really trained, and what would help most.

The surrogate ranks candidates as the proxy would, and the proxy ranks them as training does. More
merges reduce the first error, longer experts the second, and real runs both.
See docs/methods.md, section 9.1. Shapes: `n` mixtures, the same in the same order everywhere; `s` seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.validation import Cost, Purchase, RankFidelity, Validation
from mixopt.surrogates.rank_correlation import spearman, spearman_interval
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import AnyUtility, Utility
from mixopt.trial import Kind, Metric, Score
from mixopt.trials import Trials

MakeUtility = Callable[[Trials], AnyUtility]  # utility of search metrics, in the scale of a table

SMALL_SHARE = 0.003  # added to a ratio before its logarithm, so that zero has a logarithm


def quarter_overlap(proxy: Array, truth: Array) -> float:
    """Return the share of the best quarter by `truth` that is in the best quarter by `proxy`.

    Args:
        proxy: Utilities by the proxy (`n`), higher is better.
        truth: Trained utilities (`n`), higher is better.

    Returns:
        A share; NaN if `proxy` is constant.
    """
    if np.ptp(proxy) == 0:
        return float("nan")
    size = max(1, len(truth) // 4)
    first, second = (np.argsort(-values, kind="stable")[:size] for values in (proxy, truth))
    return len(np.intersect1d(first, second)) / size


def own_domain_baseline(trials: Trials, metrics: Sequence[Metric]) -> Array:
    """Return the baseline of rank fidelity: log of the own domain's ratio, without any training.

    On held-out text of the domains themselves this baseline ranks as well as training does, so a
    proxy is only useful where it ranks better (docs/methods.md).

    Args:
        trials: The mixtures.
        metrics: Metrics; those without a domain of their own are left out.

    Returns:
        Mean over the metrics (`n`); NaN if no metric has a domain of its own.
    """
    ratios = trials.ratios()
    own = [trials.domains.index(m.own_domain) for m in metrics if m.own_domain]
    if not own:
        return np.full(len(trials), np.nan)
    return np.asarray(np.log(ratios[:, own] + SMALL_SHARE).mean(axis=1))


def measure_fidelity(
    proxies: Mapping[Kind, Trials], trained: Sequence[Trials], *, utility: MakeUtility
) -> tuple[RankFidelity, ...]:
    """Measure how each proxy ranks the trained mixtures.

    Args:
        proxies: Scores of the `n` mixtures by each proxy.
        trained: Scores of the same mixtures by training, one table per seed (`s`).
        utility: Makes the utility in the scale of a table, as in the search.

    Returns:
        By proxy, the rank fidelity of the utility (`overall`), then of every metric.
    """
    search, rows = trained[0].search_metrics, []
    for kind, proxy in proxies.items():
        truths = [utility(table).of(table.values(search)) for table in trained]
        guess = utility(proxy).of(proxy.values(search))
        baseline = own_domain_baseline(trained[0], search)
        rows.append(_compare("overall", kind, guess, truths, baseline))
        for metric in trained[0].metrics:
            sign = 1.0 if metric.better == "higher" else -1.0
            columns = [sign * table.values([metric])[:, 0] for table in trained]
            guess = sign * proxy.values([metric])[:, 0]
            baseline = own_domain_baseline(trained[0], [metric])
            rows.append(_compare(metric.name, kind, guess, columns, baseline))
    return tuple(rows)


def _compare(
    name: str, kind: Kind, guess: Array, truths: Sequence[Array], baseline: Array
) -> RankFidelity:
    truth = np.mean(truths, axis=0)
    rho = spearman(guess, truth)
    pairs = [spearman(a, b) for a, b in combinations(truths, 2)]
    between_seeds = float(np.mean(pairs)) if pairs else float("nan")
    interval, overlap = spearman_interval(rho, len(truth)), quarter_overlap(guess, truth)
    return RankFidelity(name, kind, rho, interval, between_seeds, spearman(baseline, truth),
                        overlap, len(truths), len(truth))  # fmt: skip


def validate_trials(
    proxies: Mapping[Kind, Trials],
    trained: Sequence[Trials],
    *,
    utility: MakeUtility,
    cost: Cost,
    result: Sequence[str] | None = None,
) -> Validation:
    """Compare trained mixtures with the proxies and with the proposal.

    Args:
        proxies: Scores of the `n` mixtures by each proxy.
        trained: Scores of the same mixtures by training, one table per seed (`s`).
        utility: Makes the utility of search scores in the scale of a table, as in the search.
        cost: Cost of the search and of training every candidate instead.
        result: Benchmarks to report as the result; all with role holdout if None.

    Returns:
        The validation; regret and gains are about the trials called `proposal` and `natural`.

    Raises:
        HoldoutError: One of `result` has role search.
    """
    search = trained[0].search_metrics
    names = tuple(trial.id for trial in proxies[next(iter(proxies))])
    # one scale for all seeds, so that their differences mean the same
    pooled = [replace(t, id=f"{t.id}-{seed}") for seed, table in enumerate(trained) for t in table]
    both = Trials(pooled, trained[0].metrics, trained[0].domains)
    scale = utility(both)
    by_seed = np.stack([scale.of(table.values(search)) for table in trained])
    truth = by_seed.mean(axis=0)
    place = {name: index for index, name in enumerate(names)}
    known = "proposal" in place and "natural" in place
    gain = by_seed[:, place["proposal"]] - by_seed[:, place["natural"]] if known else np.empty(0)
    reported = both.holdout_metrics if result is None else both.require_holdout(result)
    reported_gain = np.empty(0)
    varying = [metric for metric in reported if np.ptp(both.values([metric])) > 0]
    if known and varying:
        apart = Utility.standardized(both, varying)
        each = [apart.of(table.values(varying)) for table in trained]
        reported_gain = np.array([row[place["proposal"]] - row[place["natural"]] for row in each])
    return Validation(
        fidelities=measure_fidelity(proxies, trained, utility=utility),
        mixtures=names,
        utilities=tuple(truth.tolist()),
        regret=float(truth.max() - truth[place["proposal"]]) if known else float("nan"),
        proxy_regret={
            kind: float(truth.max() - truth[utility(table).of(table.values(search)).argmax()])
            for kind, table in proxies.items()
        },
        gain=tuple(gain.tolist()),
        seeds=len(trained),
        cost=cost,
        result=tuple(metric.name for metric in reported),
        result_gain=tuple(reported_gain.tolist()),
    )


def weigh_purchases(
    overall: RankFidelity,
    *,
    surrogate: Surrogate,
    corrected: Surrogate | None,
    truth: Array,
    trials: int,
    runs: int,
    expert_tokens: float,
    merge_tokens: float,
    run_tokens: float,
) -> tuple[Purchase, ...]:
    """Estimate which further computation improves the rank correlation with training most.

    Args:
        overall: How the proxy ranks the trained mixtures by utility.
        surrogate: Fitted to the proxy's trials.
        corrected: Fitted to these and the trained mixtures; None if they are too few.
        truth: Trained utility of the mixtures (`n`).
        trials: Candidates that were scored.
        runs: Real runs that were trained.
        expert_tokens: Cost of training all experts as long again, in training tokens; 0 where all of
            them are given, which cannot be trained longer here.
        merge_tokens: Cost of scoring one candidate, in training tokens; 0 for ensembles, which cost
            arithmetic alone.
        run_tokens: Cost of one real run.

    Returns:
        The purchases, the largest gain per token first.
    """
    reach = overall.attainable if np.isfinite(overall.attainable) else 1.0
    # a proxy that ranks worse than chance is not used, so gains are over no ranking at all
    proxy = max(overall.spearman, 0.0) if np.isfinite(overall.spearman) else 0.0
    seen = surrogate.observed_utilities(surrogate.trials)
    follows = spearman(surrogate.cv_utilities, seen)
    missed = 1 - follows if np.isfinite(follows) else 0.0
    # the surrogate's rank error falls about as one over the trials: twice as many halve it
    follow_gain = proxy * missed / 2
    purchases = [
        Purchase("merges", trials, follow_gain, trials * merge_tokens, False),
    ]
    if expert_tokens > 0:
        purchases.append(Purchase("experts", 1, max(reach - proxy, 0.0), expert_tokens, True))
    if corrected is not None:
        corrected_rank = spearman(corrected.cv_utilities, truth)
        if np.isfinite(corrected_rank):
            gain = max(corrected_rank - proxy, 0.0)
            purchases.append(Purchase("runs", runs, gain, runs * run_tokens, False))
    return tuple(sorted(purchases, key=lambda p: -p.per_token))


def mean_over_seeds(tables: Sequence[Trials]) -> Trials:
    """Average the seeds of each mixture.

    Args:
        tables: Trials of the same `n` mixtures, one table per seed.

    Returns:
        One trial per mixture, with mean scores and their standard errors over the seeds.
    """
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
