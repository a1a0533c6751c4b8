"""Scores and losses of ensembles of the experts as functions of the mixture.

Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics.
"""

from collections.abc import Sequence

import numpy as np

from mixopt.mixture import Array
from mixopt.pipeline.search import CandidateSearch
from mixopt.surrogates.ensemble import EnsembleModel, response_weights
from mixopt.trial import Metric


def scored_by_ensembles(search: CandidateSearch) -> tuple[Metric, ...]:
    """Return the metrics of role `search` that need token probabilities alone (`m`)."""
    tasks = (task.metric for task in search.evaluator.scorer.tasks)
    return tuple(metric for metric in tasks if metric.role == "search")


def ensemble_scores(search: CandidateSearch, metrics: tuple[Metric, ...], ratios: Array) -> Array:
    """Return scores (`n x m`) of the experts' ensembles at mixtures (`n x d`).

    Args:
        search: The experts.
        metrics: Some of those that ensembles score (`m`).
        ratios: The mixtures (`n x d`).
    """
    evaluator, rows = search.evaluator, []
    for row in ratios if metrics else ():
        weights = response_weights(search.space.weights_for(row)[0], search.ensemble_response)
        results = evaluator.scorer.read(evaluator.ensemble.mix(weights.tolist()))
        rows.append([results[metric.name].score for metric in metrics])
    return np.array(rows).reshape(len(ratios), len(metrics))


def ensemble_losses(search: CandidateSearch, metrics: Sequence[Metric]) -> EnsembleModel:
    """Return the smooth losses of metrics as functions of the ensemble's weights.

    Args:
        search: The experts.
        metrics: Metrics that ensembles score (`m`).
    """
    evaluator = search.evaluator
    places = {metric.name: place for place, metric in enumerate(metrics)}
    token_weights, numbers, items, sizes, n_items = [], [], [], [], 0
    for task in evaluator.scorer.tasks:
        lengths = [len(request.target) for request in task.requests]
        counted = task.metric.name in places
        token_weights.append(np.repeat(-task.loss_weights * counted, lengths))
        numbers.append(np.full(sum(lengths), places.get(task.metric.name, 0)))
        requests = np.diff([*task.starts, len(task.requests)])
        places_of_items = np.repeat(np.arange(len(requests)), requests) + n_items
        items.append(np.repeat(places_of_items, lengths))
        sizes.append(task.read(np.zeros(len(task.requests))).sizes)
        n_items += len(requests)
    return EnsembleModel.of(
        np.stack(evaluator.expert_logprobs), np.concatenate(token_weights),
        np.concatenate(numbers), np.concatenate(items), np.concatenate(sizes),
    )  # fmt: skip
