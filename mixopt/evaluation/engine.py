"""Engines score any weights of some experts, in memory or layer by layer.

Shapes: `k` experts, `n` scored tokens.
"""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.data.text_files import hash_file
from mixopt.errors import ModelError
from mixopt.evaluation.gradients import Slopes, measure_slopes
from mixopt.evaluation.layerwise.meta_model import LayerwiseError
from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
from mixopt.evaluation.scorer import Scorer, score_batches
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.merging.checkpoint import WHOLE, Checkpoint
from mixopt.merging.expert import Expert, open_expert
from mixopt.merging.merge import (
    FREE_SHARE,
    ModelMerger,
    count_resident_bytes,
    free_bytes,
    warn_if_unrelated,
)
from mixopt.merging.origin_warnings import warn_of_origin
from mixopt.training.base_model import Base, Layout, describe_config_file, mergeable
from mixopt.training.device import Device
from mixopt.training.model_loading import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Weights = Sequence[float]
EXPERT_FILES = ("*.safetensors", "*.bin", "adapter_config.json")
"""Files whose content identifies an expert."""


class Engine(Protocol):
    """Scores merges of some experts.

    Attributes:
        k: Number of experts.
        parameters: Parameters of one model.
    """

    k: int
    parameters: int

    def prepare(self, scorer: Scorer) -> None:
        """Batch the requests of the benchmarks for this engine's models."""

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        """Score merges on the benchmarks that need log-probabilities only.

        Args:
            scorer: The benchmarks.
            rows: Merge weights (`k` each).

        Returns:
            Iterator of the log-probabilities of every scored token (`n`, nats), by row.
        """

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        """Return item results of the benchmarks that need a whole model.

        Args:
            scorer: The benchmarks.
            weights: Merge weights (`k`).

        Raises:
            ModelError: This engine never holds one.
        """

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        """Return losses and their derivatives with respect to merge weights.

        Args:
            scorer: The benchmarks.
            weights: Merge weights (`k`).

        Raises:
            ModelError: This engine has no slopes.
        """

    def step_sizes(self) -> list[float]:
        """Return δ = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) of each expert (`k`; DeMix, arXiv:2602.00747)."""


class _ResidentEngine:
    def __init__(self, merger: ModelMerger) -> None:
        self.merger = merger
        self.k = len(merger.experts)
        self.parameters = sum(p.numel() for p in merger.model.parameters())

    def prepare(self, scorer: Scorer) -> None:
        model = self.merger.model.eval()
        scorer.batches(model, lambda some: score_batches(model, some))

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        return map(scorer.logprobs, map(self.merger.merge, rows))

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        return scorer.measure(self.merger.merge(weights)) if scorer.model_tasks else {}

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        return measure_slopes(self.merger, scorer, weights)

    def step_sizes(self) -> list[float]:
        return self.merger.step_sizes()


class StreamedEngine:
    """Scores all merges in one sweep, layer by layer; whole models and slopes are refused.

    Args:
        stream: Base and experts on disk.
    """

    def __init__(self, stream: LayerwiseScorer) -> None:
        self.stream = stream
        self.k = len(stream.experts)
        shapes = stream.meta_model.layout.shapes.values()
        self.parameters = int(sum(np.prod(shape) for shape in shapes))

    def prepare(self, scorer: Scorer) -> None:
        self.stream.prepare(scorer)

    def logprobs(self, scorer: Scorer, rows: Sequence[Weights]) -> Iterator[NDArray[np.float32]]:
        return iter(self.stream.logprobs(scorer, rows)) if rows else iter(())

    def measure(self, scorer: Scorer, weights: Weights) -> dict[str, ItemResults]:
        for task in scorer.model_tasks:
            raise ModelError(
                f"Benchmark {task.metric.name!r} needs a whole merged model, and models are scored "
                "layer by layer; leave it out, or set search.scoring: resident."
            )
        return {}

    def slopes(self, scorer: Scorer, weights: Weights) -> Slopes:
        raise ModelError(
            "Slopes need base and experts in memory, and they are scored layer by layer; leave out "
            "search.slopes and search.method: gradient, or set search.scoring: resident."
        )

    def step_sizes(self) -> list[float]:
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
    """Open the engine that suits the models' size.

    Args:
        folder: Of the base.
        experts: `k`.
        device: Where models run.
        load: Loads the base.
        scoring: `resident`, `streamed`, or `auto`: streamed where base and experts do not fit.
        memory_bytes: What streaming may use; a share of what is free if left out.

    Returns:
        An engine for these experts, resident or streamed.

    Raises:
        ModelError: An expert does not fit the base, or the memory is below what one layer needs.
    """
    room = int(FREE_SHARE * free_bytes(device.torch))
    checkpoint = Checkpoint(folder)
    # the experts, the base, and the model that is merged into
    base_numel = sum(math.prod(checkpoint.shape(name)) for name in checkpoint.names)
    needed = count_resident_bytes(experts) + 2 * base_numel * device.dtype.itemsize
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
    return _ResidentEngine(ModelMerger(load(), experts))


def open_engine_of(
    base: Base,
    experts: Mapping[Path, bool | None],
    store: ArtifactStore,
    *,
    scoring: Literal["auto", "resident", "streamed"],
    memory_bytes: int | None,
) -> Engine:
    """Open the engine of a base and folders of experts; warn of each that may not come from the base.

    Args:
        base: What they were trained from.
        experts: By folder (`k`): None for one trained here, else whether pickled weights may be loaded.
        store: Where checkpoints are kept whose tensors had to be renamed.
        scoring: `resident`, `streamed` or `auto`.
        memory_bytes: What may be held in memory; measured if None.

    Returns:
        An engine, by `open_engine`.

    Raises:
        ModelError: An expert does not fit the base, or the memory is below what one layer needs.
    """
    renamed = partial(_in_memory_names, base=base, store=store)
    opened = [open_expert(renamed(f), allow_pickle=bool(own)) for f, own in experts.items()]
    folder = base.find_folder() if scoring == "resident" else renamed(base.find_folder())
    engine = open_engine(
        folder, opened, base.device, base.load, scoring=scoring, memory_bytes=memory_bytes
    )
    if all(given is None for given in experts.values()):  # our own come from this base
        return engine  # step sizes read the base and every expert
    for (expert, given), size in zip(experts.items(), engine.step_sizes(), strict=True):
        if given is not None:
            warn_if_unrelated(str(expert), size)
            warn_of_origin(expert, base.find_folder(), base.path)
    return engine


def _in_memory_names(folder: Path, base: Base, store: ArtifactStore) -> Path:
    if (folder / "adapter_config.json").is_file() or not (folder / "config.json").is_file():
        return folder
    files = sorted(folder.glob("*.safetensors"))
    if not files or _has_names_of(Checkpoint(folder), base.layout):
        return folder
    config = describe_config_file(folder / "config.json")  # of which the outline is built
    key = {"files": [hash_file(file) for file in files], "config": config}
    return store.get_or_build(Artifact("renamed", folder.name, key), partial(_save_renamed, folder))


def _has_names_of(checkpoint: Checkpoint, layout: Layout) -> bool:
    others = {own: other for other, own in layout.tied.items()}
    return all(n in checkpoint or others.get(n, "") in checkpoint for n in layout.shapes)


def _save_renamed(folder: Path, out: Path) -> None:
    """Save the model in `folder` to `out`, with the tensor names that it has in memory.

    Mixtures of experts are saved with one tensor per expert of a layer and held with one for all; older
    checkpoints lack a prefix. transformers converts all of them, so it reads them here.
    """
    checkpoint = Checkpoint(folder)
    dtypes = {checkpoint.dtype(name) for name in checkpoint.names}
    order = (torch.float32, torch.float16, torch.bfloat16)
    dtype = next((dtype for dtype in order if dtype in dtypes), torch.bfloat16)
    network = load_model(folder, Device("cpu", dtype))
    network.config.save_pretrained(out)
    tensors = {name: t.detach().contiguous() for name, t in mergeable(network).items()}
    save_file(tensors, out / WHOLE, metadata={"format": "pt"})


def hash_expert(folder: Path) -> str:
    """Hash an expert's weights.

    Args:
        folder: Folder of the expert; its path does not count.

    Returns:
        Hash of 128 bits, in hexadecimal.
    """
    files = sorted(file for pattern in EXPERT_FILES for file in folder.glob(pattern))
    digests = " ".join(hash_file(file) for file in files)
    return hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()
