"""Bits per byte of held-out text, which is independent of the tokenizer; lower is better."""

import numpy as np

from mixopt.config.benchmarks import BitsPerByteConfig
from mixopt.data.heldout_text import read_heldout
from mixopt.evaluation.tasks.base import (
    LN2,
    Array,
    ItemResults,
    Request,
    TaskContext,
    describe_metric,
)
from mixopt.evaluation.tasks.items import cut_text, require_items


class BitsPerByteTask:
    """An item is a document, read in windows of the model's context; each byte is scored once.

    Args:
        config: Sets the text, and the number and size of its documents.
        context: Sets tokenizer and size of a window.

    Raises:
        DataError: The text cannot be read, or has fewer than two documents.
    """

    def __init__(self, config: BitsPerByteConfig, context: TaskContext) -> None:
        self.metric = describe_metric(config, "lower")
        self.truncated = 0
        self.requests: list[Request] = []
        self.starts: list[int] = []
        sizes = []
        for document in read_heldout(config.text, config.max_items):
            text = cut_text(document.text, config)
            tokens = context.encode(text)
            if not tokens:
                continue
            self.starts.append(len(self.requests))
            sizes.append(len(text.encode()))
            for start in range(0, len(tokens), context.context):
                window = tokens[start : start + context.context]
                self.requests.append(Request([context.separator], window))
        require_items(len(sizes), config.name)
        self._sizes = np.array(sizes, dtype=np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        return self._sizes.tolist(), self.starts

    def read(self, totals: Array) -> ItemResults:
        return ItemResults(np.add.reduceat(-totals / LN2, self.starts), self._sizes)

    @property
    def loss_weights(self) -> Array:
        return np.full(len(self.requests), -1 / LN2 / self._sizes.sum())
