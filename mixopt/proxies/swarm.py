"""The swarm: base and experts in memory, scoring any weights by both proxies.

Shapes: `k` experts.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mixopt.files import Store
from mixopt.proxies.ensembling import Ensemble
from mixopt.proxies.merging import Merger
from mixopt.proxies.scoring import Scorer
from mixopt.proxies.tasks import ItemResults
from mixopt.trials import Kind

Results = dict[str, ItemResults]
"""Item results by benchmark."""


class Swarm:
    """Base and experts in memory, scoring any weights by both proxies.

    Attributes:
        flops_per_score: Floating-point operations of one forward pass over every benchmark.
    """

    def __init__(
        self, merger: Merger, scorer: Scorer, store: Store, key: Mapping[str, Any]
    ) -> None:
        self.merger, self.scorer, self.store, self._key = merger, scorer, store, key
        self.flops_per_score = (
            2.0 * sum(p.numel() for p in merger.model.parameters()) * scorer.tokens
        )

    @cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble([self._expert_logprobs(i) for i in range(len(self.merger.experts))])

    def _expert_logprobs(self, index: int) -> NDArray[np.float32]:
        """Log-probabilities of one expert alone, computed once for both proxies."""
        corner = np.eye(len(self.merger.experts))[index].tolist()

        def build(scratch: Path) -> None:
            np.save(scratch / "logprobs.npy", self.scorer.logprobs(self.merger.merge(corner)))

        folder = self.store.make(
            "logprobs", f"expert-{index}", {**self._key, "expert": index}, build
        )
        logprobs: NDArray[np.float32] = np.load(folder / "logprobs.npy")
        return logprobs

    def _merged_logprobs(self, weights: Sequence[float]) -> NDArray[np.float32]:
        if sorted(weights)[-1] == 1.0 and sum(weights) == 1.0:
            return self._expert_logprobs(list(weights).index(1.0))
        return self.scorer.logprobs(self.merger.merge(weights))

    def score(self, weights: Sequence[float]) -> dict[Kind, Results]:
        """Item results of the merge and of the ensemble at `weights` (`k`), by kind."""

        def build(scratch: Path) -> None:
            results: dict[Kind, Results] = {
                "merged": self.scorer.read(self._merged_logprobs(weights)),
                "ensembled": self.scorer.read(self._ensemble.mix(weights)),
            }
            save_results(results, scratch)

        key = {**self._key, "weights": [float(weight) for weight in weights]}
        return load_results(self.store.make("scores", "candidate", key, build))

    def score_base(self) -> Results:
        """Item results of the base itself."""
        zeros = [0.0] * len(self.merger.experts)
        folder = self.store.make(
            "scores", "base", {**self._key, "weights": zeros},
            lambda scratch: save_results(
                {"merged": self.scorer.read(self._merged_logprobs(zeros))}, scratch
            ),
        )  # fmt: skip
        return load_results(folder)["merged"]


def save_results(results: Mapping[Kind, Results], folder: Path) -> None:
    """Writes `items.npz` into `folder`: values and sizes of each item, by kind and benchmark."""
    arrays: dict[str, Any] = {}
    for kind, by_metric in results.items():
        for metric, result in by_metric.items():
            arrays[f"{kind}/{metric}/values"] = result.values
            arrays[f"{kind}/{metric}/sizes"] = result.sizes
    np.savez(folder / "items.npz", **arrays)


def load_results(folder: Path) -> dict[Kind, Results]:
    """Item results by kind, as `save_results` wrote them."""
    results: dict[Kind, Results] = {}
    with np.load(folder / "items.npz") as arrays:
        for name in arrays.files:
            if not name.endswith("/values"):
                continue
            kind, metric = name.removesuffix("/values").split("/", 1)
            sizes = arrays[f"{kind}/{metric}/sizes"]
            results.setdefault(cast(Kind, kind), {})[metric] = ItemResults(arrays[name], sizes)
    return results
