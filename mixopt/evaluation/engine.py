"""Engines: what scores any weights of some experts, in memory or layer by layer.

Shapes: `k` experts, `n` scored tokens.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ModelError
from mixopt.evaluation.gradients import Slopes, measure_slopes
from mixopt.evaluation.layerwise.meta_model import LayerwiseError
from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
from mixopt.evaluation.scorer import Scorer, score_batches
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import Expert
from mixopt.merging.merge import FREE_SHARE, ModelMerger, free_bytes
from mixopt.training.device import Device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Weights = Sequence[float]


class Engine(Protocol):
    """Scores merges of `k` experts."""

    k: int
    parameters: int
    """Of one model."""

    def prepare(self, scorer: Scorer) -> None:
        """Lays the benchmarks out for this engine's models."""

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        """Log-probabilities of every scored token (`n`) under each of `rows`, in turn."""

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        """Item results at `weights` of the benchmarks that need a whole model.

        Raises:
            ModelError: This engine never has one.
        """

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        """Losses at `weights` and how they change with them.

        Raises:
            ModelError: This engine has no slopes.
        """

    def step_sizes(self) -> list[float]:
        """δ = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) of each expert (DeMix, arXiv:2602.00747)."""


class ResidentEngine:
    """Merges in place, in a model that is held in memory."""

    def __init__(self, merger: ModelMerger) -> None:
        self.merger = merger
        self.k = len(merger.experts)
        self.parameters = sum(p.numel() for p in merger.model.parameters())

    def prepare(self, scorer: Scorer) -> None:
        """Lays the benchmarks out for the model."""
        model = self.merger.model.eval()
        scorer.batches(model, lambda some: score_batches(model, some))

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        """One merge and one forward pass for each row, as they are asked for."""
        return (scorer.logprobs(self.merger.merge(row)) for row in rows)

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        """From one merge."""
        if not scorer.model_tasks:
            return {}
        return scorer.measure(self.merger.merge(weights))

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        """From one forward and backward pass."""
        return measure_slopes(self.merger, scorer, weights)

    def step_sizes(self) -> list[float]:
        """δ of each expert."""
        return self.merger.step_sizes()


class StreamedEngine:
    """Walks the network layer by layer, with all rows at once."""

    def __init__(self, stream: LayerwiseScorer) -> None:
        self.stream = stream
        self.k = len(stream.experts)
        shapes = stream.meta_model.layout.shapes.values()
        self.parameters = int(sum(np.prod(shape) for shape in shapes))

    def prepare(self, scorer: Scorer) -> None:
        """Lays the benchmarks out; whether prompts are shared is tried by a sweep of its own."""
        self.stream.prepare(scorer)

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        """One sweep for all rows."""
        return iter(self.stream.logprobs(scorer, rows)) if rows else iter(())

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        """Nothing; raises `ModelError` where a benchmark needs a whole model."""
        for task in scorer.model_tasks:
            raise ModelError(
                f"Benchmark {task.metric.name!r} needs a whole merged model, and models are scored "
                "layer by layer; leave it out, or set search.scoring: resident."
            )
        return {}

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        """Raises `ModelError`: a backward pass needs the whole model."""
        raise ModelError(
            "Slopes need base and experts in memory, and they are scored layer by layer; leave out "
            "search.slopes and search.method: gradient, or set search.scoring: resident."
        )

    def step_sizes(self) -> list[float]:
        """δ of each expert."""
        return self.stream.step_sizes()


def open_engine(
    folder: Path,
    experts: Sequence[Expert],
    device: Device,
    load: Callable[[], "PreTrainedModel"],
    *,
    scoring: str = "auto",
    memory_bytes: int | None = None,
) -> Engine:
    """The engine that suits the models' size.

    Args:
        folder: Of the base.
        experts: `k`.
        device: Where models run.
        load: Loads the base.
        scoring: `resident`, `streamed`, or `auto`: streamed where base and experts do not fit.
        memory_bytes: What streaming may use; a share of what is free if left out.

    Raises:
        ModelError: An expert does not fit the base, or the memory is below what one layer needs.
    """
    room = int(FREE_SHARE * free_bytes(device.torch))
    checkpoint = Checkpoint(folder)
    # the base, the model that is merged into, and the experts
    needed = (len(experts) + 2) * sum(map(checkpoint.size_bytes, checkpoint.names))
    if scoring == "streamed" or (scoring == "auto" and needed > room):
        try:
            stream = LayerwiseScorer(checkpoint, experts, device, memory_bytes=memory_bytes or room)
        except LayerwiseError as error:
            log.warning(
                "The base cannot be scored layer by layer (%s); it is held in memory instead, and "
                "experts are read for every merge where they do not fit.", error,
            )  # fmt: skip
        else:
            stream.check_memory()
            return StreamedEngine(stream)
    return ResidentEngine(ModelMerger(load(), experts))
