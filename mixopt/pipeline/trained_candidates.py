"""Candidates of a search that are scored by training on them, as RegMix does (arXiv:2407.01492).

Shapes: `n` candidates, `d` domains.
"""

from typing import TYPE_CHECKING

import numpy as np

from mixopt.config.study import StudyConfig
from mixopt.errors import one_line
from mixopt.mixture import Array, Mixture
from mixopt.pipeline.gains import Observation, metrics_that_choose
from mixopt.pipeline.mixture_runs import (
    RunSpec,
    ScoredRun,
    first_checkpoints,
    has_text,
    name_mixture,
    order_natural,
    train_runs,
)
from mixopt.surrogates.registry import SURROGATES
from mixopt.trial import Score, Trial
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.pipeline.context import StudyContext
    from mixopt.pipeline.search import CandidateSearch


def train_candidates(
    context: "StudyContext", search: "CandidateSearch", rows: Array, number: int
) -> list[Trial]:
    """Train and score candidates, with the natural mixture before those of the first round.

    A run that fails is reported and left out.

    Args:
        context: The study.
        search: Reads the scores.
        rows: Ratios of the candidates (`n x d`).
        number: Of the round, from 1.

    Returns:
        A trial of kind `trained` for each run.
    """
    natural = order_natural(context)
    mixtures = [Mixture.from_vector(search.domains, row) for row in rows]
    if number == 1:
        mixtures.insert(0, natural)
        if (replaced := describe_replaced_booster(context.config)) is not None:
            context.callbacks.message(replaced)
    marks = first_checkpoints(context.config)
    names: dict[str, Mixture] = {}
    for mixture in mixtures:
        names.setdefault(name_mixture(mixture), mixture)
    specs = [
        # natural's run is the one that a budget begins with
        RunSpec(f"{name}-0", mixture, 0, marks if mixture == natural else marks[-1:])
        for name, mixture in names.items()
    ]
    trials = {}
    for spec, scored in train_runs(context, specs):
        if not isinstance(scored, ScoredRun):
            context.callbacks.message(
                f"Run {spec.name} is left out: {one_line(scored, limit=None)}"
            )
            continue
        read = max(scored.logprobs)
        results = search.evaluator.scorer.read(scored.logprobs[read])
        trials[spec] = Trial(
            id=f"r{number}-{spec.name}", ratios=spec.ratios, kind="trained", seed=0, round=number,
            scores={name: Score(each.score, each.std_error) for name, each in results.items()},
            tokens=read, flops=scored.flops,
        )  # fmt: skip
    # in the order of the candidates, whichever was finished first
    return [trials[spec] for spec in specs if spec in trials]


def list_failed_candidates(
    context: "StudyContext", search: "CandidateSearch", trials: Trials
) -> list[Observation]:
    """Return the candidates whose training failed, with natural if it did; they have no scores.

    Their training was begun, so a budget pays for it. A run that would have read a domain too often was
    not begun, and costs nothing.

    Args:
        context: The study.
        search: Draws the candidates; they depend on no trial.
        trials: Of all rounds.
    """
    if search.method != "regmix":
        return []
    natural, tokens = order_natural(context), context.config.training.tokens
    asked = {name_mixture(natural): natural}
    for number, count in enumerate(search.config.rounds, start=1):
        for row in search.draw_runs(number, count):
            mixture = Mixture.from_vector(search.domains, row)
            asked.setdefault(name_mixture(mixture), mixture)
    scored = {name_mixture(trial.ratios) for trial in trials.where(kind="trained")}
    missing = np.full(len(metrics_that_choose(search)), np.nan)
    return [
        Observation(mixture.vector(search.domains), 0, tokens, missing)
        for name, mixture in asked.items()
        if name not in scored and has_text(context, mixture, tokens)
    ]


def describe_replaced_booster(config: StudyConfig) -> str | None:
    """Return a message where a study trains too few runs for RegMix's booster; None where it does not.

    Args:
        config: Of a study with `search.method: regmix`.
    """
    n = sum(config.search.rounds) + 1
    least = SURROGATES["regmix"].min_trials(len(config.domains))
    if n >= least:
        return None
    return (
        f"regmix: below {least} runs RegMix's booster predicts a constant, and this search trains {n} "
        "with natural; boosted trees with smaller leaves are fitted instead. Raise search.rounds to "
        f"{least - 1} in sum for the published ones."
    )
