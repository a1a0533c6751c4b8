"""Learning rate and batch size by the Step Law.

Learning rates and batch sizes that a config leaves out come from the Step Law (Li et al. 2025,
arXiv:2503.04715): η = 1.79·N^-0.713·D^0.307 and B = 0.58·D^0.571 tokens, for N non-embedding
parameters and D training tokens. It was fitted for pre-training from 60M parameters up; below,
and for restarts, it is an extrapolation, which is why it is printed with its source.
"""

from dataclasses import dataclass

from mixopt.config.training import TrainingConfig


@dataclass(frozen=True)
class OptimizerHyperparameters:
    """A learning rate and a batch, with the words that say where they come from."""

    learning_rate: float
    batch_tokens: int
    source: str


def resolve_hyperparameters(
    training: TrainingConfig, non_embedding_parameters: int
) -> OptimizerHyperparameters:
    """The step of `training`; what it leaves out follows the Step Law."""
    rate = 1.79 * non_embedding_parameters**-0.713 * training.tokens**0.307
    batch = round(0.58 * training.tokens**0.571)
    given = training.learning_rate, training.batch_tokens
    law = f"Step Law (arXiv:2503.04715) at N={non_embedding_parameters:,}, D={training.tokens:,}"
    sources = [
        f"{what} from {'the recipe' if value is not None else law}"
        for what, value in zip(("learning rate", "batch"), given, strict=True)
    ]
    return OptimizerHyperparameters(given[0] or rate, given[1] or batch, "; ".join(sources))
