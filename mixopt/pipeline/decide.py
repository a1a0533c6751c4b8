"""The decision of a study: which mixture to train on, by what is known of real training.

The candidates are the surrogate's proposals, the best ensemble and the mixtures that were trained or
merged. Ensembles of the experts give the expected gain of each, real runs correct it, and the gain model
says how much neither of them knows. Shapes: `q` candidates, `k` experts, `d` domains, `m` metrics.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array, Mixture
from mixopt.optimization.decision import decide
from mixopt.optimization.ensemble_search import EnsembleSearch
from mixopt.optimization.objective import DRAWS, Objective, draw_around
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import CandidateSearch
from mixopt.proposal import Decision, Estimate, Proposal
from mixopt.surrogates.ensemble import GAMMA, EnsembleModel, response_weights
from mixopt.surrogates.gain_model import GainModel, GainPosterior, GainPrior, Mixtures, Runs
from mixopt.surrogates.utility import signs
from mixopt.trials import Trials

SEEDS = 1_000_003  # beside the seeds of proposals and validations
FARTHEST = 8
"""A gain is stated for at most this many times the tokens of the longest run."""
MOST_TRIALS = 24  # merges among the candidates, the best by the surrogate
BOOTSTRAPS = 8  # searches on resampled items, whose mean is a candidate
POSTERIOR_DRAWS = 4096
USUAL_NOISE = 0.25
"""Standard deviation of a difference between seeds, in a metric's spread, where no seeds were run."""
SAME = 1e-9  # difference of ratios below which a mixture is natural
SHRINKAGE = 10  # differences of seeds that weigh as much as the mean over metrics


def decide_study(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    trials: Trials,
    proposals: Sequence[Proposal],
) -> Decision | None:
    """Return the decision, or None where a benchmark that chooses is not scored by ensembles.

    Args:
        context: The study.
        search: The experts and their ensembles.
        policy: Real runs, and the trust of each benchmark.
        trials: Of all rounds.
        proposals: The surrogate's.
    """
    scored = {task.metric.name for task in search.evaluator.scorer.tasks}
    metrics = tuple(m for m in search.evaluator.scorer.metrics if m.role == "search")
    if not {metric.name for metric in metrics} <= scored:
        return None
    natural = context.corpora.natural.vector(context.config.domains)
    ensembles = _Ensembles(search, [metric.name for metric in metrics])
    rng = np.random.default_rng([context.config.seed, SEEDS])
    around = draw_around(natural, DRAWS, rng)
    trust = policy.trust(trials)
    objective = Objective.measure(
        metrics, ensembles.scores(around), np.zeros(len(metrics)),
        trust=np.array([trust.get(metric.name, 1.0) for metric in metrics]),
        unit="raw" if context.config.search.normalise == "raw" else "z",
        weights=context.config.search.capability_weights,
        worst=context.config.search.aggregate == "worst",
    )  # fmt: skip
    reference = ensembles.scores(natural[None])[0]
    leaders = _search_ensembles(search, objective, ensembles, natural, rng)
    rows = _candidates(context, search, policy, trials, proposals, leaders)
    runs = _observe(objective, ensembles, policy.by_seed, reference)
    model = GainModel(
        GainPrior(), natural, float(context.config.training.tokens), objective.spreads,
        _number([metric.capability for metric in metrics]), _noise(runs, len(metrics)),
    )  # fmt: skip
    posterior = model.condition(runs)
    longest = float(context.config.training.tokens if runs is None else runs.tokens.max())
    tokens = min(float(context.config.target.tokens), FARTHEST * longest)
    gains = objective.gains(ensembles.scores(rows), reference)
    asked = Mixtures(rows, np.full(len(rows), tokens), gains)
    draws = posterior.draw(asked, objective.combinations(), POSTERIOR_DRAWS, rng).min(axis=2)
    known = natural[None] if runs is None else np.vstack([natural, runs.ratios])
    apart = np.linalg.norm(np.sqrt(rows)[:, None] - np.sqrt(known)[None], axis=2).min(axis=1)
    choice = decide(draws, apart)
    chosen = Mixtures(rows[[choice.candidate]], asked.tokens[:1], gains[[choice.candidate]])
    own, domains = draws[:, choice.candidate], context.config.domains
    return Decision(
        moves=choice.moves,
        candidate=Mixture.from_vector(domains, rows[choice.candidate]),
        natural=Mixture.from_vector(domains, _nearest_allowed(search, natural)),
        gain=Estimate(float(own.mean()), float(own.std())),
        tokens=round(tokens),
        runs=0 if runs is None else len(runs.gains),
        capabilities=_by_capability(posterior, chosen, objective),
        differences=_by_metric(posterior, chosen, objective),
    )


class _Ensembles:
    """Scores of the experts' ensembles at mixtures, on the metrics that choose."""

    def __init__(self, search: CandidateSearch, names: list[str]) -> None:
        search.evaluator.prepare()
        self.search, self.names = search, names

    def weights(self, ratios: Array) -> Array:
        """Return the experts' weights (`n x k`) of mixtures (`n x d`)."""
        space = self.search.space
        return np.stack([space.weights_for(row)[0] for row in ratios])

    def scores(self, ratios: Array) -> Array:
        """Return scores (`n x m`) of mixtures (`n x d`)."""
        evaluator = self.search.evaluator
        rows = []
        for weights in response_weights(self.weights(ratios), GAMMA):
            results = evaluator.scorer.read(evaluator.ensemble.mix(weights.tolist()))
            rows.append([results[name].score for name in self.names])
        return np.array(rows)

    def model(self) -> EnsembleModel:
        """Return the smooth losses of the metrics as a function of the weights."""
        evaluator = self.search.evaluator
        tasks = {task.metric.name: task for task in evaluator.scorer.tasks}
        token_weights, metrics, items, sizes = [], [], [], []
        n_items, total = 0, evaluator.scorer.n_targets
        for name, task in tasks.items():
            lengths = [len(request.target) for request in task.requests]
            counted = name in self.names
            token_weights.append(np.repeat(-task.loss_weights * counted, lengths))
            place = self.names.index(name) if counted else 0
            metrics.append(np.full(sum(lengths), place))
            requests = np.diff([*task.starts, len(task.requests)])
            item = np.repeat(np.arange(len(requests)), requests) + n_items
            items.append(np.repeat(item, lengths))
            sizes.append(task.read(np.zeros(len(task.requests))).sizes)
            n_items += len(requests)
        assert total == sum(map(len, metrics))
        return EnsembleModel.of(
            np.stack(evaluator.expert_logprobs), np.concatenate(token_weights),
            np.concatenate(metrics), np.concatenate(items), np.concatenate(sizes),
        )  # fmt: skip


def _search_ensembles(
    search: CandidateSearch,
    objective: Objective,
    ensembles: _Ensembles,
    natural: Array,
    rng: np.random.Generator,
) -> Array:
    """Return the ratios of the best ensemble, and of the mean over resampled items (`2 x d`).

    Scores with jumps (accuracies) are searched by the loss of their right answers.
    """
    model = ensembles.model()
    around = response_weights(ensembles.weights(draw_around(natural, DRAWS, rng)), GAMMA)
    smooth = Objective.measure(
        tuple(replace(metric, better="lower") for metric in objective.metrics),
        np.stack([model.losses(weights) for weights in around]), np.zeros(model.m),
        trust=objective.trust, unit=objective.unit, weights=objective.weights, worst=objective.worst,
    )  # fmt: skip
    start = ensembles.weights(natural[None])[0]
    losses = model.losses(response_weights(start, GAMMA))
    found = EnsembleSearch(model, smooth.utility(losses), search.space, GAMMA)
    leader = found.maximize([start])
    draws = found.bootstrap(leader, BOOTSTRAPS, rng)
    return search.space.ratios(np.stack([leader, search.space.pull(draws.mean(axis=0)[None])[0]]))


def _candidates(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    trials: Trials,
    proposals: Sequence[Proposal],
    leaders: Array,
) -> Array:
    """Return the mixtures that may be recommended, each once (`q x d`); natural is not among them."""
    domains = context.config.domains
    merged = trials.where(kind=policy.proxy)
    best = np.argsort(-policy.fit(trials).expected_utility(merged.ratios()), kind="stable")
    trained = [trial.ratios.vector(domains) for table in policy.by_seed[:1] for trial in table]
    rows = np.vstack([
        *(proposal.ratios.vector(domains) for proposal in proposals),
        leaders,
        *trained,
        merged.ratios()[best[:MOST_TRIALS]],
    ])  # fmt: skip
    rows = np.unique(rows[context.space.contains(rows, tolerance=1e-6)].round(12), axis=0)
    natural = context.corpora.natural.vector(domains)
    others = rows[np.abs(rows - natural).max(axis=1) > SAME]
    return others if len(others) else _nearest_allowed(search, natural)[None]


def _nearest_allowed(search: CandidateSearch, natural: Array) -> Array:
    """Return natural (`d`), or the mixture nearest to it that the bounds allow."""
    if search.space.space.contains(natural, tolerance=1e-6)[0]:
        return natural
    weights, _ = search.space.weights_for(natural)
    return np.asarray(search.space.ratios(search.space.pull(weights[None]))[0])


def _observe(
    objective: Objective, ensembles: _Ensembles, by_seed: Sequence[Trials], reference: Array
) -> Runs | None:
    """Return the trained runs as gains over the natural run with the same seed; None without any."""
    ratios, tokens, gains, seeds = [], [], [], []
    for seed, table in enumerate(by_seed):
        natural = [trial for trial in table if trial.id == "natural"]
        others = [trial for trial in table if trial.id != "natural"]
        if not natural or not others:
            continue
        scores = Trials([*natural, *others], table.metrics, table.domains).values(objective.metrics)
        gains.append(objective.gains(scores[1:], scores[0]))
        ratios += [trial.ratios.vector(table.domains) for trial in others]
        tokens += [trial.tokens for trial in others]
        seeds += [seed] * len(others)
    if not ratios:
        return None
    rows = np.stack(ratios)
    known = objective.gains(ensembles.scores(rows), reference)
    return Runs(rows, np.array(tokens, float), known, np.vstack(gains), np.array(seeds))


def _noise(runs: Runs | None, m: int) -> Array:
    """Return the standard deviation of a paired difference between seeds, by metric (`m`).

    The variances of few differences are shrunk towards their mean over metrics, and that towards
    what is usual.
    """
    squares, count = np.zeros(m), 0
    if runs is not None:
        for row in np.unique(runs.ratios, axis=0):
            own = runs.gains[(runs.ratios == row).all(axis=1)]
            if len(own) > 1:
                squares += np.nan_to_num(own.var(axis=0, ddof=1)) * (len(own) - 1)
                count += len(own) - 1
    pooled = (squares.mean() + 2 * USUAL_NOISE**2) / (count + 2)
    return np.asarray(np.sqrt((squares + SHRINKAGE * pooled) / (count + SHRINKAGE)))


def _by_capability(
    posterior: GainPosterior, chosen: Mixtures, objective: Objective
) -> dict[str, Estimate]:
    rows = np.stack([objective.capability(name) for name in objective.capabilities])
    mean, covariance = posterior.gains(chosen, rows)
    sds = np.sqrt(np.maximum(np.diag(covariance[0, :, 0, :]), 0.0))
    pairs = zip(objective.capabilities, mean[0], sds, strict=True)
    return {name: Estimate(float(gain), float(sd)) for name, gain, sd in pairs}


def _by_metric(
    posterior: GainPosterior, chosen: Mixtures, objective: Objective
) -> dict[str, Estimate]:
    mean, covariance = posterior.gains(chosen)
    sds = np.sqrt(np.maximum(np.diag(covariance[0, :, 0, :]), 0.0)) * objective.spreads
    native = mean[0] * objective.spreads * signs(objective.metrics)
    pairs = zip(objective.metrics, native, sds, strict=True)
    return {metric.name: Estimate(float(gain), float(sd)) for metric, gain, sd in pairs}


def _number(names: Sequence[str]) -> NDArray[np.int64]:
    distinct = list(dict.fromkeys(names))
    return np.array([distinct.index(name) for name in names])
