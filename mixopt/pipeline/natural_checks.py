"""What is wrong with a study's natural mixture, found before anything is trained.

Every gain is over really training on natural, so its bounds and the experts must have a place for it.
"""

import numpy as np

from mixopt.data.corpus import check_epochs, count_epochs
from mixopt.errors import ConfigError, DataError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import has_text, order_natural
from mixopt.pipeline.search import UNREACHED
from mixopt.search_space import SearchSpace

SLACK = 1e-6


def describe_forbidden_natural(space: SearchSpace) -> str | None:
    """Return a warning that names the bounds which forbid the natural mixture; None if they allow it.

    Args:
        space: With its natural mixture and all bounds, caps of repetition among them.
    """
    natural = space.prior_vector()
    values = {row: float(natural @ row.normal) for row in space.rows}
    broken = [
        f"{row.text} (natural has {value:.3g})"
        for row, value in values.items()
        if not row.low - SLACK <= value <= row.high + SLACK
    ]
    if not broken:
        return None
    return (
        f"The bounds and the caps of repetition forbid the natural mixture: {', '.join(broken)}. Gains "
        "are stated over the nearest mixture that they allow, which is what the advice to stay means."
    )


def require_text_for_natural(context: StudyContext) -> None:
    """Check that a study with a budget or a validation has the text for a run of the natural mixture.

    Args:
        context: The study, whose text has been measured.

    Raises:
        DataError: A domain has no text, or would be read more often than `training.max_epochs` allows.
    """
    config = context.config
    if config.budget is None and config.validation is None:
        return
    section = "budget" if config.budget is not None else "validation"
    natural, corpora = order_natural(context), context.corpora.counts
    for domain in (name for name, ratio in natural.items() if ratio and name not in corpora):
        raise DataError(
            f"{section}: the natural mixture, over which gains are measured, is trained too, and "
            f"{domain!r} has no text; give its expert a text, or leave the {section} out."
        )
    tokens = config.run_lengths[0]
    check_epochs(
        corpora, natural, tokens=tokens, max_epochs=config.training.max_epochs,
        what=f"the {tokens:,} tokens of a run of the natural mixture",
    )  # fmt: skip


def describe_untrained_lengths(context: StudyContext) -> str | None:
    """Return a warning about long runs for which natural's text is too little; None if there are none.

    Args:
        context: The study, whose text has been measured.
    """
    config = context.config
    if config.budget is None:
        return None
    natural, longest = order_natural(context), config.run_lengths[-1]
    if has_text(context, natural, longest):
        return None
    epochs = count_epochs(context.corpora.counts, natural, longest)
    domain = max(epochs, key=lambda name: epochs[name])
    return (
        f"The budget buys no run of {longest:,} tokens, because the natural mixture would read "
        f"{domain!r} {epochs[domain]:.1f} times (training.max_epochs: {config.training.max_epochs:g}); "
        "give more of its text, or raise max_epochs, which trains nothing again."
    )


def require_reachable_natural(context: StudyContext) -> None:
    """Check that the experts of a study with a budget can make the natural mixture.

    Args:
        context: The study, whose text has been measured.

    Raises:
        ConfigError: They cannot.
    """
    space, config = context.space, context.config
    if config.budget is None:
        return
    weights = WeightSpace.of_rows(space, context.compositions)
    natural = context.corpora.natural.vector(config.domains)
    found, miss = weights.weights_for(natural)
    if miss > UNREACHED:
        nearest = weights.ratios(found[None])[0]
        worst = int(np.abs(nearest - natural).argmax())
        raise ConfigError(
            f"budget: the experts cannot make the natural mixture, over which gains are measured "
            f"({config.domains[worst]} {natural[worst]:.3g}, at the nearest {nearest[worst]:.3g}); give "
            "training.compositions or training.anchor that span it, or leave the budget out"
        )
