"""The runs that an earlier command of a study bought, with the same budget or with another one."""

from collections.abc import Iterable, Sequence

from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.mixture import Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import (
    FRESH,
    RunSpec,
    first_checkpoints,
    has_ended,
    has_text,
    name_mixture,
    order_natural,
)

GAP = 2
"""Seeds in turn without a run after which no further seed of a mixture is looked for: a seed is passed
over where its run of natural failed."""


def specify_purchase(
    context: StudyContext, lengths: Sequence[int], ratios: Mixture, seed: int, tokens: int
) -> RunSpec:
    """Return a run of a budget, with the lengths at which it is scored.

    Args:
        context: The study.
        lengths: Of the budget's runs, increasing.
        ratios: Of the tokens that it reads.
        seed: Index of the repetition, from 0.
        tokens: Its length.
    """
    config = context.config
    marks = (tokens,) if config.training.decays else tuple(n for n in lengths if n <= tokens)
    first = seed < NATURAL_SEEDS and tokens == lengths[0]
    if first and ratios == order_natural(context):
        marks = first_checkpoints(config)
    return RunSpec(f"{name_mixture(ratios)}-{seed}", ratios, seed, marks)


def find_stored_purchases(
    context: StudyContext, lengths: Sequence[int], mixtures: Iterable[Mixture]
) -> list[RunSpec]:
    """Return the runs of some mixtures that the store has, those of a confirmation left out.

    Args:
        context: The study, whose base has been trained.
        lengths: Of the budget's runs, increasing.
        mixtures: Natural and the candidates of the budget.
    """
    found: list[RunSpec] = []
    for mixture in mixtures:
        own = [length for length in lengths if has_text(context, mixture, length)]
        seed = missing = 0
        while missing < GAP and seed < FRESH:
            specs = [specify_purchase(context, lengths, mixture, seed, n) for n in own]
            ended = [spec for spec in specs if has_ended(context, spec)]
            found += ended
            missing = 0 if ended else missing + 1
            seed += 1
    return found
