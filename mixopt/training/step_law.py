"""Learning rate and batch size by the Step Law.

The Step Law (Li et al. 2025, arXiv:2503.04715) gives what a config leaves out:
η = 1.79·N^-0.713·D^0.307 and B = 0.58·D^0.571 tokens, for N non-embedding parameters and D training
tokens. It was fitted to pre-training of models from 60M parameters. For smaller models and for
continued training it is an extrapolation, so the source of each value is printed.
See docs/methods.md, section 1.2.
"""

from dataclasses import dataclass

from mixopt.config.training import TrainingConfig


@dataclass(frozen=True)
class OptimizerHyperparameters:
    """Learning rate and batch size of a training.

    Attributes:
        learning_rate: Peak learning rate.
        batch_tokens: Tokens per optimizer step, over all devices.
        source: Where both values come from, in words.
    """

    learning_rate: float
    batch_tokens: int
    source: str


def resolve_hyperparameters(
    training: TrainingConfig, non_embedding_parameters: int
) -> OptimizerHyperparameters:
    """Return the config's learning rate and batch size, or the Step Law's where it leaves them out.

    Args:
        training: The config.
        non_embedding_parameters: N of the Step Law.

    Returns:
        Both values, and where each comes from.
    """
    rate = 1.79 * non_embedding_parameters**-0.713 * training.tokens**0.307
    batch = round(0.58 * training.tokens**0.571)
    given = training.learning_rate, training.batch_tokens
    law = f"Step Law (arXiv:2503.04715) at N={non_embedding_parameters:,}, D={training.tokens:,}"
    sources = [
        f"{what} from {'the config' if value is not None else law}"
        for what, value in zip(("learning rate", "batch"), given, strict=True)
    ]
    return OptimizerHyperparameters(given[0] or rate, given[1] or batch, "; ".join(sources))
