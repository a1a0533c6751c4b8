"""Scores of a model on all benchmarks, from one forward pass over their requests.

Shapes: `n` scored tokens, `m` benchmarks.
"""

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

from mixopt.evaluation.prefix_batching import Batch, make_batches, make_mask, pack_requests
from mixopt.evaluation.rounding_error import is_rounding_error
from mixopt.evaluation.tasks.base import ItemResults, ModelTask, Request, Task
from mixopt.evaluation.token_losses import token_losses
from mixopt.trial import Metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

LOGIT_BYTES = 256 << 20
"""Memory for the logits of one batch, in float32, which limits its scored tokens."""
BATCH_TOKENS = {"cpu": 4096, "other": 65_536}
"""Most tokens per forward pass; on a CPU, batches that fit its caches are fastest."""
PASS_TOKENS = {"cpu": 64, "other": 4096}
"""Tokens that cost as much as what a forward pass costs beside its tokens, in small models on a CPU and
on a GPU (`studies/merge-throughput`)."""
MASKED_ATTENTION = ("sdpa", "eager")
"""Attention implementations that accept any mask."""

ScoreBatches = Callable[[Sequence[Batch]], list[NDArray[np.float32]]]


class Scorer:
    """Scores models on benchmarks; requests are packed and batched once per architecture.

    Args:
        benchmarks: The tasks (`m`).
        share_prompts: Whether prompts are computed once for all their choices, if a trial with the first
            model shows that it supports that.

    Attributes:
        tasks: Benchmarks that are scored from token log-probabilities.
        model_tasks: Benchmarks that need a whole model.
        metrics: Metric of each benchmark, in the given order.
        share_prompts: As given, or False after a trial that failed.
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
        """Hash of what determines each benchmark's scores, by its name."""
        digests = {}
        tasks: list[Task | ModelTask] = [*self.tasks, *self.model_tasks]
        for task in tasks:
            digest = hashlib.blake2b(repr((task.metric, task.layout)).encode(), digest_size=16)
            for request in () if isinstance(task, ModelTask) else task.requests:
                digest.update(np.array([*request.context, -1, *request.target]).tobytes())
            digests[task.metric.name] = digest.hexdigest()
        return {metric.name: digests[metric.name] for metric in self.metrics}

    @property
    def digest(self) -> str:
        """Hash of what determines all scores; the order of the benchmarks counts."""
        digests = json.dumps(list(self.digests.items()))
        return hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()

    def restrict(self, names: Collection[str]) -> "Scorer":
        """Return a scorer of the benchmarks called `names`."""
        if set(names) == set(self.digests):
            return self
        tasks: list[Task | ModelTask] = [*self.tasks, *self.model_tasks]
        kept = [task for task in tasks if task.metric.name in names]
        return Scorer(kept, share_prompts=self.share_prompts)

    @property
    def n_targets(self) -> int:
        """Number of scored tokens (`n`)."""
        return int(self._offsets[-1])

    def count_tokens(self) -> int:
        """Return the input tokens of one forward pass over all requests, as they are packed."""
        return sum(row.length for row in pack_requests(self.requests, shared=self.share_prompts))

    @torch.inference_mode()
    def logprobs(self, model: "PreTrainedModel") -> NDArray[np.float32]:
        """Return the log-probability of every scored token (`n`, nats), request after request."""
        model.eval()
        batches = self.batches(model, lambda some: score_batches(model, some))
        logprobs = np.empty(self.n_targets, dtype=np.float32)
        for batch in batches:
            with _scored_positions_only(model, batch):
                logits = model(**model_inputs(model, batch)).logits
            logprobs[batch.places] = _target_logprobs(logits, batch).cpu().numpy()
        return logprobs

    def read(self, logprobs: NDArray[Any]) -> dict[str, ItemResults]:
        """Return item results by benchmark, from the log-probabilities of all scored tokens (`n`)."""
        parts = zip(self.tasks, self._totals(logprobs), strict=True)
        return {task.metric.name: task.read(part) for task, part in parts}

    def measure(self, model: "PreTrainedModel") -> dict[str, ItemResults]:
        """Return item results of the benchmarks that need a whole model."""
        return {task.metric.name: task.measure(model) for task in self.model_tasks}

    def score(self, model: "PreTrainedModel") -> dict[str, ItemResults]:
        """Return item results of a model on all benchmarks, by name."""
        return self.read(self.logprobs(model)) | self.measure(model)

    def losses(self, logprobs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the smooth loss of each task (bits per byte), from all log-probabilities (`n`)."""
        parts = zip(self.tasks, self._totals(logprobs), strict=True)
        return np.array([task.loss_weights @ part for task, part in parts])

    def losses_by_name(self, logprobs: NDArray[Any]) -> dict[str, float]:
        """Return `losses` by the name of the task's metric."""
        pairs = zip(self.tasks, self.losses(logprobs).tolist(), strict=True)
        return {task.metric.name: loss for task, loss in pairs}

    def _totals(self, logprobs: NDArray[Any]) -> list[NDArray[np.float64]]:
        if not self.requests:
            return []
        totals = np.add.reduceat(logprobs.astype(np.float64), self._offsets[:-1])
        return np.split(totals, np.cumsum([len(task.requests) for task in self.tasks])[:-1])

    def batches(self, model: "PreTrainedModel", score: ScoreBatches) -> list[Batch]:
        """Return the requests in batches for models of this architecture.

        Args:
            model: A model of the architecture, on its device or on the meta device.
            score: Scores batches with the base, to try whether prompts can be shared.

        Returns:
            Batches (`b x t`) on the device of the model.
        """
        key = (type(model), attention_implementation(model), model.device, model.dtype)
        if key not in self._batches:
            self.share_prompts = self.share_prompts and self._can_share(model, score)
            self._batches[key] = batch_requests(self.requests, model, shared=self.share_prompts)
        return self._batches[key]

    def _can_share(self, model: "PreTrainedModel", score: ScoreBatches) -> bool:
        rows = [r for r in pack_requests(self.requests, shared=True) if len(r.branches) > 1]
        if not rows:
            return True
        attention = attention_implementation(model)
        if "position_ids" not in inspect.signature(model.forward).parameters:
            why = "its forward pass takes no positions"
        elif attention not in MASKED_ATTENTION:
            why = f"its attention ({attention}) takes no mask of one's own"
        else:
            # a sliding window limits single sequences, other limits apply to the packed one
            longest = {max(rows, key=lambda r: r.length), max(rows, key=lambda r: r.reach)}
            tried = sorted(i for row in longest for i in row.requests)
            why = _try_sharing([self.requests[i] for i in tried], model, score)
        if not why:
            return True
        log.info("Prompts are computed once for each choice: %s cannot share them (%s).",
                 type(model).__name__, why)  # fmt: skip
        return False


def _try_sharing(requests: Sequence[Request], model: "PreTrainedModel", score: ScoreBatches) -> str:
    """Return why shared prompts score differently from separate ones; empty where they do not."""
    together = batch_requests(requests, model, shared=True)
    alone = batch_requests(requests, model, shared=False)
    logprobs = np.zeros((2, sum(len(request.target) for request in requests)))
    try:
        parts = score([*together, *alone])
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        # models fail in many ways on a mask that they do not expect
        return f"it fails with a mask of one's own: {str(error).strip().splitlines()[0]}"
    for place, (batch, part) in enumerate(zip([*together, *alone], parts, strict=True)):
        logprobs[int(place >= len(together)), batch.places] = part
    apart = np.abs(logprobs[0] - logprobs[1])
    if is_rounding_error(torch.from_numpy(apart), model.dtype):
        return ""
    return f"the scores would differ by up to {apart.max():.2g} nats a token"


def batch_requests(
    requests: Sequence[Request], model: "PreTrainedModel", *, shared: bool, share: float = 1.0
) -> list[Batch]:
    """Return the requests in batches of a size that suits a model on its device.

    Args:
        requests: The requests.
        model: The model; batches are put on its device unless it is the meta device.
        shared: Whether shared prefixes are computed once.
        share: Share of the usual batch size.

    Returns:
        Batches (`b x t`) on the device of the model.
    """
    offsets = np.cumsum([0, *(len(request.target) for request in requests)])
    device = "cpu" if model.device.type in ("cpu", "meta") else "other"
    vocabulary = int(model.config.get_text_config().vocab_size)
    most_targets = max(1, int(share * (LOGIT_BYTES // (4 * vocabulary))))
    rows = pack_requests(requests, shared=shared, most_targets=most_targets)
    batches = make_batches(
        rows, requests, offsets,
        most_tokens=max(1, int(share * BATCH_TOKENS[device])),
        most_targets=most_targets,
        pass_tokens=PASS_TOKENS[device],
    )  # fmt: skip
    on_meta = model.device.type == "meta"
    return batches if on_meta else [batch.to(model.device) for batch in batches]


@torch.inference_mode()
def score_batches(model: "PreTrainedModel", batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
    """Score batches under a model.

    Args:
        model: The model, on the batches' device.
        batches: The batches.

    Returns:
        Log-probabilities of the scored tokens of each batch (`n` of the batch, nats).
    """
    return [token_logprobs(model, batch).cpu().numpy() for batch in batches]


def attention_implementation(model: "PreTrainedModel") -> str:
    """Return the name of a model's attention implementation in transformers.

    Args:
        model: In memory or on the meta device.
    """
    return str(getattr(model.config, "_attn_implementation", "eager"))


def token_logprobs(model: "PreTrainedModel", batch: Batch) -> torch.Tensor:
    """Score the tokens of a batch by one forward pass; gradients flow through it.

    The output layer, often the widest of a small model, is applied to scored positions only. Padding is
    on the right, where causal attention of earlier tokens does not reach.

    Args:
        model: The model.
        batch: The batch, on the model's device.

    Returns:
        Log-probabilities of the batch's scored tokens (`n`, nats).
    """
    with _scored_positions_only(model, batch):
        logits = model(**model_inputs(model, batch)).logits
    return _target_logprobs(logits, batch)


def _target_logprobs(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    if logits.shape[:2] != (1, len(batch.at)):  # the model has no separate output layer
        logits = logits.reshape(-1, logits.shape[-1])[batch.at]
    return -token_losses(logits.reshape(len(batch.at), -1), batch.targets)


def model_inputs(model: "PreTrainedModel", batch: Batch) -> dict[str, Any]:
    """Build the inputs of a model's forward pass.

    Args:
        model: Its attention implementation decides the form of the mask.
        batch: The batch (`b x t`).

    Returns:
        Keyword arguments; a mask (`b x 1 x t x t`) and positions only with shared prefixes.
    """
    inputs: dict[str, Any] = {"input_ids": batch.tokens, "use_cache": False}
    if batch.owner is not None:
        mask = make_mask(batch.owner)
        if attention_implementation(model) == "eager":  # which adds the mask to the scores
            closed = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
            mask = closed.masked_fill(~mask, torch.finfo(model.dtype).min)
        inputs |= {"attention_mask": mask, "position_ids": batch.positions}
    return inputs


@contextmanager
def _scored_positions_only(model: "PreTrainedModel", batch: Batch) -> Iterator[None]:
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
