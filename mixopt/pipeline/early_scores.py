"""Natural's first run of a search or a method at parts of its length, which tell natural's own curve."""

import numpy as np

from mixopt.mixture import Array
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation, metrics_that_choose
from mixopt.pipeline.mixture_runs import (
    RunSpec,
    first_checkpoints,
    name_mixture,
    order_natural,
    read_stored_run,
)
from mixopt.pipeline.search import CandidateSearch
from mixopt.surrogates.gain_model import SAME


def with_early_scores(
    context: StudyContext, search: CandidateSearch, observed: list[Observation]
) -> list[Observation]:
    """Return observations with natural's early scores before that of its whole run.

    A trial, and a run of a method, has the score of its end alone.

    Args:
        context: The study.
        search: Names the metrics that choose.
        observed: The runs of the search, and of a method.
    """
    config = context.config
    if not (config.search_method == "regmix" or config.method_trains_natural):
        return observed
    natural = order_natural(context)
    row = natural.vector(config.domains)
    mine = [place for place, each in enumerate(observed) if _is_first(each, row)]
    if not mine:
        return observed
    marks = first_checkpoints(config)
    scored = read_stored_run(context, RunSpec(f"{name_mixture(natural)}-0", natural, 0, marks))
    if scored is None:
        return observed
    known = {observed[place].tokens for place in mine}
    metrics, early = metrics_that_choose(search), []
    for tokens, logprobs in sorted(scored.logprobs.items()):
        if tokens not in known:
            results = context.scorer.read(logprobs)
            scores = np.array([results[metric.name].score for metric in metrics])
            early.append(Observation(row, 0, tokens, scores))
    return [*observed[: mine[0]], *early, *observed[mine[0] :]]


def _is_first(each: Observation, natural: Array) -> bool:
    same = bool(np.abs(each.ratios - natural).max() < SAME)
    return same and each.seed == 0 and not each.failed
