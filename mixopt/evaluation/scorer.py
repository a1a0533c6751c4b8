"""Scoring: one pass of a model over every benchmark's requests, and what the tasks read from it."""

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.evaluation.prefix_batching import (
    Batch,
    longest_sequence,
    make_batches,
    make_mask,
    pack_requests,
)
from mixopt.evaluation.tasks.base import ItemResults, ModelTask, Request, Task
from mixopt.trials import Metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

LOGIT_BYTES = 256 << 20
"""Memory for one batch's logits in float32; the batch is as large as this allows."""
BATCH_TOKENS = {"cpu": 4096, "other": 65_536}
"""Tokens per forward pass at most: on a CPU, what stays near its caches is fastest."""
MASKED_ATTENTION = ("sdpa", "eager")
"""Implementations of attention that take any mask."""
ALIKE = {torch.float32: 1e-3, torch.float64: 1e-3}
ALIKE_IN_HALF_PRECISION = 0.05
"""Differences of log-probabilities, in nats, that rounding explains: the largest in full precision,
and the mean in half."""

ScoreBatches = Callable[[Sequence[Batch]], list[NDArray[np.float32]]]


class Scorer:
    """The benchmarks of a study, laid out once for any number of models of one architecture.

    Attributes:
        tasks: The benchmarks that token probabilities are enough for.
        model_tasks: Those that need a whole model.
        metrics: What the benchmarks measure, in the order in which they were given.
        share_prompts: Compute a prompt once for all its choices, where the model can; it is tried
            on the first one.
    """

    def __init__(
        self, benchmarks: Sequence[Task | ModelTask], *, share_prompts: bool = True
    ) -> None:
        self.tasks = tuple(task for task in benchmarks if not isinstance(task, ModelTask))
        self.model_tasks = tuple(task for task in benchmarks if isinstance(task, ModelTask))
        self.metrics: tuple[Metric, ...] = tuple(task.metric for task in benchmarks)
        self.share_prompts = share_prompts
        self.requests = [request for task in self.tasks for request in task.requests]
        sizes = [len(request.target) for request in self.requests]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._batches: dict[tuple[object, ...], list[Batch]] = {}

    @cached_property
    def digests(self) -> dict[str, str]:
        """What determines the scores of each benchmark, hashed, by its name."""
        told = {}
        for task in self.tasks:
            digest = hashlib.blake2b(repr((task.metric, task.layout)).encode(), digest_size=16)
            for request in task.requests:
                digest.update(np.array([*request.context, -1, *request.target]).tobytes())
            told[task.metric.name] = digest.hexdigest()
        for asked in self.model_tasks:
            digest = hashlib.blake2b(repr((asked.metric, asked.layout)).encode(), digest_size=16)
            told[asked.metric.name] = digest.hexdigest()
        return {metric.name: told[metric.name] for metric in self.metrics}

    @property
    def digest(self) -> str:
        """What determines the scores of all benchmarks, hashed; their order counts, as in arrays."""
        told = json.dumps(list(self.digests.items()))
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    def restrict(self, names: Collection[str]) -> "Scorer":
        """The scorer of the benchmarks called `names` alone."""
        if set(names) == set(self.digests):
            return self
        tasks: list[Task | ModelTask] = [*self.tasks, *self.model_tasks]
        kept = [task for task in tasks if task.metric.name in names]
        return Scorer(kept, share_prompts=self.share_prompts)

    @property
    def n_targets(self) -> int:
        """Tokens that are scored."""
        return int(self._offsets[-1])

    def count_tokens(self) -> int:
        """Tokens that one forward pass over everything reads, prompts shared where it was tried."""
        shared = self.share_prompts
        return sum(row.length for row in pack_requests(self.requests, shared=shared))

    @torch.inference_mode()
    def logprobs(self, model: "PreTrainedModel") -> NDArray[np.float32]:
        """Natural log-probability of every target token of every request, in one flat array."""
        model.eval()
        batches = self.batches(model, lambda some: score_batches(model, some))
        flat = np.empty(self.n_targets, dtype=np.float32)
        for batch in batches:
            flat[batch.places] = token_logprobs(model, batch).cpu().numpy()
        return flat

    def join(
        self, batches: Sequence[Batch], parts: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """The flat array of all scored tokens, from the parts that `batches` gave."""
        flat = np.empty(self.n_targets, dtype=np.float32)
        for batch, part in zip(batches, parts, strict=True):
            flat[batch.places] = part
        return flat

    def read(self, flat: NDArray[Any]) -> dict[str, ItemResults]:
        """Item results by benchmark from the flat array of log-probabilities."""
        return {
            task.metric.name: task.read(part)
            for task, part in zip(self.tasks, self._totals(flat), strict=True)
        }

    def measure(self, model: "PreTrainedModel") -> dict[str, ItemResults]:
        """Item results of the benchmarks that need a whole model."""
        return {task.metric.name: task.measure(model) for task in self.model_tasks}

    def score(self, model: "PreTrainedModel") -> dict[str, ItemResults]:
        """Item results of a model on every benchmark."""
        return self.read(self.logprobs(model)) | self.measure(model)

    def losses(self, flat: NDArray[Any]) -> NDArray[np.float64]:
        """Each task's smooth loss (`m`), in bits per byte, from the flat array."""
        parts = zip(self.tasks, self._totals(flat), strict=True)
        return np.array([task.loss_weights @ part for task, part in parts])

    def _totals(self, flat: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Log-probability of each request's target, by benchmark."""
        if not self.requests:
            return []
        totals = np.add.reduceat(flat.astype(np.float64), self._offsets[:-1])
        return np.split(totals, np.cumsum([len(task.requests) for task in self.tasks])[:-1])

    def batches(self, model: "PreTrainedModel", score: ScoreBatches) -> list[Batch]:
        """The requests in batches for models of this architecture.

        Args:
            model: Any of them, on its device or on the meta device.
            score: Scores batches with the base, by which it is tried whether prompts can be shared.
        """
        key = (type(model), attention_implementation(model), model.device, model.dtype)
        if key not in self._batches:
            self.share_prompts = self.share_prompts and self._can_share(model, score)
            self._batches[key] = batch_requests(self.requests, model, shared=self.share_prompts)
        return self._batches[key]

    def _can_share(self, model: "PreTrainedModel", score: ScoreBatches) -> bool:
        """Whether the longest row with several choices scores as its choices do one by one."""
        rows = [r for r in pack_requests(self.requests, shared=True) if len(r.branches) > 1]
        if not rows:
            return True
        why = "its forward pass takes no positions"
        if "position_ids" in inspect.signature(model.forward).parameters:
            why = f"its attention ({attention_implementation(model)}) takes no mask of one's own"
            if attention_implementation(model) in MASKED_ATTENTION:
                # a window hides what is far off in one sequence, other limits what is far in a row
                tried = {max(rows, key=lambda r: r.length), max(rows, key=longest_sequence)}
                why = _try_sharing(
                    [self.requests[i] for row in sorted(tried, key=lambda r: r.requests)
                     for i in row.requests], model, score,
                )  # fmt: skip
                if not why:
                    return True
        log.info("Prompts are computed once for each choice: %s cannot share them (%s).",
                 type(model).__name__, why)  # fmt: skip
        return False


def _try_sharing(requests: Sequence[Request], model: "PreTrainedModel", score: ScoreBatches) -> str:
    """Why shared prompts do not score as one for each choice; nothing where they do."""
    together = batch_requests(requests, model, shared=True)
    alone = batch_requests(requests, model, shared=False)
    flats = np.zeros((2, sum(len(request.target) for request in requests)))
    try:
        parts = score([*together, *alone])
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        # whatever a model makes of a mask that it does not expect
        return f"it fails with a mask of one's own: {str(error).strip().splitlines()[0]}"
    for place, (batch, part) in enumerate(zip([*together, *alone], parts, strict=True)):
        flats[int(place >= len(together)), batch.places] = part
    apart = np.abs(flats[0] - flats[1])
    # rounding moves single tokens far in half precision, and none in full
    off = apart.max() if model.dtype in ALIKE else apart.mean()
    if off <= ALIKE.get(model.dtype, ALIKE_IN_HALF_PRECISION):
        return ""
    return f"the scores would differ by up to {apart.max():.2g} nats a token"


def batch_requests(
    requests: Sequence[Request], model: "PreTrainedModel", *, shared: bool, share: float = 1.0
) -> list[Batch]:
    """The requests in batches as large as is good for a model on its device, or a `share` of it."""
    offsets = np.cumsum([0, *(len(request.target) for request in requests)])
    rows = pack_requests(requests, shared=shared)
    limits = {what: max(1, int(share * most)) for what, most in batch_limits(model).items()}
    batches = make_batches(rows, requests, offsets, **limits)
    if model.device.type == "meta":
        return batches
    return [batch.to(model.device) for batch in batches]


@torch.inference_mode()
def score_batches(model: "PreTrainedModel", batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
    """Log-probabilities of the scored tokens of each batch."""
    return [token_logprobs(model, batch).cpu().numpy() for batch in batches]


def batch_limits(model: "PreTrainedModel") -> dict[str, int]:
    """How large a batch may be for a model: padded tokens, and scored ones."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    most = BATCH_TOKENS["cpu" if model.device.type in ("cpu", "meta") else "other"]
    return {"most_tokens": most, "most_targets": max(1, LOGIT_BYTES // (4 * vocabulary))}


def attention_implementation(model: "PreTrainedModel") -> str:
    """The implementation of attention that a model uses."""
    return str(getattr(model.config, "_attn_implementation", "eager"))


def token_logprobs(model: "PreTrainedModel", batch: Batch) -> torch.Tensor:
    """Log-probabilities of the batch's scored tokens (`n`), from one forward pass.

    The output layer, often the widest of a small model, sees only the positions that are scored.
    Padding stands on the right, where a causal model's earlier tokens never look.
    """
    with scored_positions_only(model, batch):
        logits = model(**model_inputs(model, batch)).logits
    if logits.shape[:2] != (1, len(batch.at)):  # the model has no output layer of its own
        logits = logits.reshape(-1, logits.shape[-1])[batch.at]
    logits = logits.reshape(len(batch.at), -1).float()
    own = logits.gather(-1, batch.targets[:, None]).squeeze(-1)
    scores: torch.Tensor = own - logits.logsumexp(-1)
    return scores


def model_inputs(model: "PreTrainedModel", batch: Batch) -> dict[str, Any]:
    """What the model's forward pass is called with."""
    inputs: dict[str, Any] = {"input_ids": batch.tokens, "use_cache": False}
    if batch.owner is not None:
        mask = make_mask(batch.owner)
        if attention_implementation(model) == "eager":  # which adds it
            closed = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
            mask = closed.masked_fill(~mask, torch.finfo(model.dtype).min)
        inputs |= {"attention_mask": mask, "position_ids": batch.positions}
    return inputs


@contextmanager
def scored_positions_only(model: "PreTrainedModel", batch: Batch) -> Iterator[None]:
    """The model's output layer, fed with the scored positions alone (`1 x n x width`)."""
    head = model.get_output_embeddings()
    if head is None:
        yield
        return

    def pick(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[batch.at][None], *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
