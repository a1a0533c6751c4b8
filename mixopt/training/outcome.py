"""What a finished training was: its length, losses and cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingOutcome:
    """Summary of a finished training.

    Attributes:
        name: Name of the run.
        tokens: Tokens trained on.
        steps: Optimizer steps.
        losses: Pairs of a step and the mean loss since the pair before (nats per token).
        flops: 6 x parameters x tokens; embedding look-ups are counted like multiplications.
    """

    name: str
    tokens: int
    steps: int
    losses: tuple[tuple[int, float], ...]
    flops: float
