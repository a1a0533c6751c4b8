"""The lengths of a budget's runs, and the length of its confirmation."""

from collections.abc import Sequence

from mixopt.config.study import StudyConfig
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import has_text, order_natural


def trainable_lengths(context: StudyContext) -> tuple[int, ...]:
    """Return the lengths of runs for which natural's text is enough, the shortest always among them.

    Args:
        context: The study, whose text has been measured.
    """
    shortest, *longer = context.config.run_lengths
    natural = order_natural(context)
    return (shortest, *(length for length in longer if has_text(context, natural, length)))


def confirmation_of(
    config: StudyConfig, lengths: Sequence[int], left: int, unspent: int | None = None
) -> tuple[int, int]:
    """Return tokens and length of the confirmation; 0 for none.

    It is fixed before a run is bought, and takes at most half of what the budget leaves beside the
    experts. A run of a smaller budget is not given up for it.

    Args:
        config: The study; it has a budget.
        lengths: Of runs, increasing.
        left: Tokens of the budget beside the experts.
        unspent: Of these, the tokens that no run of a smaller budget has taken; all if left out.
    """
    seeds = config.budget.confirmation if config.budget else 0
    most = left / 2 if unspent is None else min(left / 2, unspent)
    for length in reversed(lengths):
        if 0 < 2 * seeds * length <= most:
            return 2 * seeds * length, length
    return 0, 0
