"""The objective of a study: the unit of every gain, measured once and kept as an artifact.

It is measured over ensembles of the experts around the natural mixture before anything is searched, so
that no round, proxy or run changes it. Shapes: `n` mixtures, `d` domains, `m` metrics that choose.
"""

import json
from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.errors import ConfigError, one_line
from mixopt.mixture import Array
from mixopt.optimization.objective import (
    DRAWS,
    Objective,
    ObjectiveUnit,
    draw_around,
    measure_signal,
)
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.ensemble_scores import ensemble_losses, ensemble_scores, scored_by_ensembles
from mixopt.pipeline.mixture_runs import (
    RunSpec,
    ScoredRun,
    first_checkpoints,
    name_mixture,
    order_natural,
    train_runs,
)
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.pipeline.seed_noise import shrink_noise
from mixopt.pipeline.text_prior import measure_text_prior
from mixopt.surrogates.ensemble import GAMMA, response_weights
from mixopt.surrogates.gain_model import GainPrior
from mixopt.trial import Metric

SEEDS = 1_000_003  # beside the seeds of proposals and validations
BELOW_NOISE = 0.5  # trust of a metric whose spread is as large as the noise of seeds
FILE = "objective.json"


def open_policy(context: StudyContext, search: CandidateSearch) -> SurrogatePolicy:
    """Return the policy that fits surrogates to the candidates of a search, in its objective's unit.

    Args:
        context: The study.
        search: The experts.
    """
    objective = measure_objective(context, search)
    prior = measure_text_prior(context) if context.config.search.text_prior else None
    return SurrogatePolicy(
        context.config, search.measure_reliability, store=context.store, objective=objective,
        prior_mean=prior,
    )  # fmt: skip


def require_objective(policy: SurrogatePolicy) -> Objective:
    """Return the objective that a method of others needs.

    Args:
        policy: Of the study.

    Raises:
        ConfigError: Ensembles score no benchmark that chooses.
    """
    if policy.objective is None or not policy.objective.metrics:
        raise ConfigError(
            "A method of others minimizes losses that ensembles score, and no benchmark that chooses is "
            "one; choose by bits_per_byte, choices or continuations, or by search.method: mergemix."
        )
    return policy.objective


def measure_objective(context: StudyContext, search: CandidateSearch) -> Objective:
    """Return the objective over the metrics that ensembles score, measured now or read.

    Where there are none, it has no metric: merges tell the spread of each once they are scored.

    Args:
        context: The study. If it has a budget, natural is trained with two seeds, whose difference is
            the noise that metrics are trusted by.
        search: The experts.

    Returns:
        The objective.

    Raises:
        TrialsError: No metric differs between mixtures, or raw metrics differ in direction.
    """
    metrics = scored_by_ensembles(search)
    config, natural = context.config, context.corpora.natural
    wanted = config.search
    unit: ObjectiveUnit = "raw" if wanted.normalise == "raw" else "z"
    worst = wanted.aggregate == "worst"
    if not metrics:
        none = np.zeros(0)
        return Objective((), none, none, wanted.capability_weights, worst, unit, loss_trust=none)
    search.evaluator.prepare()
    seeds = _score_seeds(context, search, metrics)
    noise = None if seeds is None else _measure_noise(context, search, metrics, seeds)
    plain = {
        "experts": [search.evaluator.expert_artifact(i).key for i in range(search.evaluator.k)],
        "compositions": {name: dict(row) for name, row in search.experts.compositions.items()},
        "metrics": [[metric.name, metric.capability, metric.better] for metric in metrics],
        "natural": dict(natural),
        "noise": None if noise is None else noise.tolist(),
        "weights": wanted.capability_weights,
        "aggregate": wanted.aggregate,
        "normalise": wanted.normalise,
        "seed": config.seed,
    }
    if search.ensemble_response != GAMMA:
        plain["gamma"] = search.ensemble_response

    def build(folder: Path) -> None:
        rng = np.random.default_rng([config.seed, SEEDS])
        around = draw_around(natural.vector(config.domains), DRAWS, rng)
        scores, losses = ensemble_scores(search, metrics, around), _losses(search, metrics, around)
        of_scores, of_losses = np.zeros((2, len(metrics))) if noise is None else noise
        objective = Objective.measure(
            metrics, scores, of_scores, unit=unit, weights=wanted.capability_weights, worst=worst
        )
        measured = {
            "spreads": objective.spreads.tolist(),
            "trust": objective.trust.tolist(),
            "loss_trust": measure_signal(losses, of_losses)[1].tolist(),
        }
        (folder / FILE).write_text(json.dumps(measured))

    folder = context.store.get_or_build(Artifact("objectives", "objective", plain), build)
    read = json.loads((folder / FILE).read_text())
    trust = np.array(read["trust"])
    if trust.max() < BELOW_NOISE:
        context.callbacks.warning(
            "Two runs on natural that differ by their seed differ more than mixtures do, by their "
            f"ensembles, in every benchmark that chooses (trust at most {trust.max():.2g}): train "
            "longer (training.tokens), raise training.learning_rate, or score more items (max_items)."
        )
    objective = Objective(
        metrics, np.array(read["spreads"]), trust, wanted.capability_weights, worst, unit,
        loss_trust=np.array(read["loss_trust"]),
        seed_differences=None if seeds is None else seeds[1, 0] - seeds[0, 0],
    )  # fmt: skip
    if config.search_method == "ensemble" and (names := objective.searched_by_loss):
        context.callbacks.warning(
            f"Accuracies in which mixtures cannot be told from seeds: {', '.join(names)}; ensembles "
            "are searched by the loss of their right answers.",
            "nothing",
        )
    return objective


def _score_seeds(
    context: StudyContext, search: CandidateSearch, metrics: tuple[Metric, ...]
) -> Array | None:
    """Return scores and losses of natural's seeds (`seeds x 2 x m`), in native units.

    None without a budget, or where natural could not be trained or its gains could not be compared, for
    want of an expert.
    """
    config, natural = context.config, order_natural(context)
    missed = search.space.weights_for(natural.vector(config.domains))[1]
    if config.budget is None or missed > UNREACHED:
        return None
    name, marks = name_mixture(natural), first_checkpoints(config)
    specs = [RunSpec(f"{name}-{seed}", natural, seed, marks) for seed in range(NATURAL_SEEDS)]
    scores = []
    for spec, scored in train_runs(context, specs):
        if not isinstance(scored, ScoredRun):
            context.callbacks.message(f"Run {spec.name} failed: {one_line(scored, limit=None)}")
            continue
        logprobs, scorer = scored.logprobs[max(scored.logprobs)], search.evaluator.scorer
        results, losses = scorer.read(logprobs), scorer.losses_by_name(logprobs)
        scores.append([[results[metric.name].score for metric in metrics],
                       [losses[metric.name] for metric in metrics]])  # fmt: skip
    return np.array(scores) if len(scores) == NATURAL_SEEDS else None


def _measure_noise(
    context: StudyContext, search: CandidateSearch, metrics: tuple[Metric, ...], seeds: Array
) -> Array:
    """Return the noise of a run's gain in scores and in losses, at the experts' length (`2 x m`).

    Both are in native units. It is the difference of natural's seeds, shrunk towards its mean over
    metrics.

    Args:
        context: The study.
        search: The experts.
        metrics: Those that ensembles score.
        seeds: Scores and losses of natural's seeds (`seeds x 2 x m`).
    """
    config, natural = context.config, order_natural(context)
    squares = np.square(np.diff(seeds, axis=0)).mean(axis=0)
    around = draw_around(
        natural.vector(config.domains), DRAWS, np.random.default_rng([config.seed, SEEDS])
    )
    spreads = [one(search, metrics, around).std(axis=0) for one in (ensemble_scores, _losses)]
    growth = GainPrior().growth_to(first_checkpoints(config)[-1] / config.training.expert_length)
    return np.stack([shrink_noise(*pair) for pair in zip(squares, spreads, strict=True)]) / growth


def _losses(search: CandidateSearch, metrics: tuple[Metric, ...], ratios: Array) -> Array:
    """Return the smooth losses (`n x m`) of the experts' ensembles at mixtures (`n x d`)."""
    model = ensemble_losses(search, metrics)
    weights = np.stack([search.space.weights_for(row)[0] for row in ratios])
    responses = response_weights(weights, search.ensemble_response)
    return np.stack([model.losses(row) for row in responses])
