"""Opens the weights of a training whose weights change."""

from mixopt.baselines.base import OnlineTraining
from mixopt.baselines.doremi import DoReMiWeights
from mixopt.baselines.odm import Exp3Weights
from mixopt.baselines.scalebio import SourceWeights
from mixopt.mixture import Mixture


def open_weights(
    training: OnlineTraining, d: int, steps: int
) -> DoReMiWeights | Exp3Weights | SourceWeights:
    """Return the weights that a training starts with.

    Args:
        training: What is trained.
        d: Number of domains.
        steps: Number of steps.
    """
    settings = training.settings
    if training.method == "doremi":
        return DoReMiWeights(d, settings["eta"], settings["smoothing"])
    names = [str(index) for index in range(d)]
    start = (
        dict(zip(names, training.start, strict=True)) if training.start else Mixture.uniform(names)
    )
    if training.method == "odm":
        return Exp3Weights(Mixture(start).vector(names), round(settings["warmup"] * steps))
    return SourceWeights.uniform(d, settings["rate"], settings["penalty"])
