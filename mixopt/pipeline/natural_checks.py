"""What is wrong with a study's natural mixture, found before anything is trained.

Every gain is over really training on natural, so its bounds and the experts must have a place for it.
"""

import numpy as np

from mixopt.errors import ConfigError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.context import StudyContext
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
