"""Scoring: one pass of a model over every benchmark's requests, and what the tasks read from it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixopt.proxies.tasks import ItemResults, Request, Task
from mixopt.trials import Metric, Score

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_BYTES = 256 << 20
"""Memory for one batch's logits in float32; the batch is as large as this allows."""
BATCH_TOKENS = {"cpu": 4096, "other": 65_536}
"""Tokens per forward pass at most: on a CPU, what stays near its caches is fastest."""


class Scorer:
    """The benchmarks of a study, laid out once for any number of models.

    Attributes:
        tasks: The benchmarks.
        tokens: Tokens that one forward pass over everything reads.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self._requests = [request for task in self.tasks for request in task.requests]
        sizes = [len(request.target) for request in self._requests]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.tokens = sum(len(r.context) + len(r.target) - 1 for r in self._requests)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the benchmarks measure."""
        return tuple(task.metric for task in self.tasks)

    @torch.inference_mode()
    def logprobs(self, model: "PreTrainedModel") -> NDArray[np.float32]:
        """Natural log-probability of every target token of every request, in one flat array."""
        model.eval()
        flat = np.empty(self._offsets[-1], dtype=np.float32)
        vocabulary = int(model.config.get_text_config().vocab_size)
        for batch in self._batches(vocabulary, model.device):
            parts = _score_batch(model, [self._requests[i] for i in batch])
            for index, part in zip(batch, parts, strict=True):
                flat[self._offsets[index] : self._offsets[index + 1]] = part
        return flat

    def read(self, flat: NDArray[Any]) -> dict[str, ItemResults]:
        """Item results by benchmark from the flat array of log-probabilities."""
        parts = np.split(flat, self._offsets[1:-1])
        results, start = {}, 0
        for task in self.tasks:
            stop = start + len(task.requests)
            results[task.metric.name] = task.read(parts[start:stop])
            start = stop
        return results

    def _batches(self, vocabulary: int, device: torch.device) -> list[list[int]]:
        """Indices of requests of like length, each batch within the memory for its logits."""
        most = BATCH_TOKENS["cpu" if device.type == "cpu" else "other"]
        limit = max(1, min(most, LOGIT_BYTES // (4 * vocabulary)))
        lengths = [len(r.context) + len(r.target) - 1 for r in self._requests]
        batches: list[list[int]] = []
        for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= limit:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches


def _score_batch(
    model: "PreTrainedModel", requests: Sequence[Request]
) -> list[NDArray[np.float32]]:
    """Log-probabilities of each request's target tokens, from one padded forward pass.

    Padding stands on the right, where a causal model's earlier tokens never look, so no mask is
    needed and attention takes its fast path.
    """
    rows = [[*request.context, *request.target] for request in requests]
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    tokens = tokens.to(model.device)
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    picked = logits.gather(-1, tokens[:, 1:, None]).squeeze(-1) - logits.logsumexp(-1)
    lines = picked.cpu().numpy()
    return [
        line[len(request.context) - 1 : len(request.context) - 1 + len(request.target)]
        for line, request in zip(lines, requests, strict=True)
    ]


def to_scores(results: Mapping[str, ItemResults]) -> dict[str, Score]:
    """Scores with their standard errors, by benchmark."""
    return {name: Score(result.score, result.std_error) for name, result in results.items()}
