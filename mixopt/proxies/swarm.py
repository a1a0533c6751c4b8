"""The swarm: base and experts, scoring any weights by both proxies, each candidate once.

Shapes: `k` experts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ModelError
from mixopt.files import Store
from mixopt.proxies.engines import Engine, Weights
from mixopt.proxies.ensembling import Ensemble
from mixopt.proxies.responding import respond
from mixopt.proxies.scoring import Scorer
from mixopt.proxies.slopes import Slopes
from mixopt.proxies.tasks import ItemResults
from mixopt.trials import Kind

LOSSES = "losses.npy"

Array = NDArray[np.float64]

Results = dict[str, ItemResults]
"""Item results by benchmark."""


class Swarm:
    """Base and experts, scoring any weights by both proxies.

    Args:
        engine: What scores merges.
        scorer: The benchmarks.
        store: Where scores are kept.
        key: What determines them beside the weights.
        response: γ of the map from the weights that are asked for to those that are merged.
    """

    def __init__(
        self,
        engine: Engine,
        scorer: Scorer,
        store: Store,
        key: Mapping[str, Any],
        response: float = 1.0,
    ) -> None:
        self.engine, self.scorer, self.store, self._key = engine, scorer, store, key
        self.response = response

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass: 2 x parameters x tokens read."""
        self.engine.prepare(self.scorer)
        return 2.0 * self.engine.parameters * self.scorer.tokens

    @cached_property
    def ensemble(self) -> Ensemble:
        """The experts' token probabilities, each computed once."""
        return Ensemble(self._corners)

    @cached_property
    def _corners(self) -> list[NDArray[np.float32]]:
        """Log-probabilities of each expert alone, found or computed together."""
        keys = [{**self._key, "expert": index} for index in range(self.engine.k)]
        names = [f"expert-{index}" for index in range(self.engine.k)]
        lacking = [
            index
            for index, (name, key) in enumerate(zip(names, keys, strict=True))
            if self.store.find("logprobs", name, key) is None
        ]
        flats = Flats(self.engine, self.scorer, np.eye(self.engine.k)[lacking].tolist())
        folders = []
        for index, (name, key) in enumerate(zip(names, keys, strict=True)):

            def build(scratch: Path, index: int = index) -> None:
                corner = np.eye(self.engine.k)[index].tolist()
                np.save(scratch / "logprobs.npy", flats.of(corner))

            folders.append(self.store.make("logprobs", name, key, build))
        return [np.load(folder / "logprobs.npy") for folder in folders]

    def score(self, weights: Weights) -> dict[Kind, Results]:
        """Item results of the merge and of the ensemble at `weights` (`k`), by kind."""
        return next(self.score_all([weights]))

    def score_all(self, rows: Sequence[Weights]) -> Iterator[dict[Kind, Results]]:
        """Item results at each of `rows` (`k` each), in turn.

        What is not found goes through the engine together, which may compute it at once.
        """
        keys = [self.candidate_key(weights) for weights in rows]
        lacking: dict[str, Weights] = {}
        for key, weights in zip(keys, rows, strict=True):
            found = self.store.find("scores", "candidate", key)
            if found is None and _corner(weights) is None:
                lacking[str(key["weights"])] = key["weights"]
        flats = Flats(self.engine, self.scorer, list(lacking.values()))
        for key in keys:

            def build(scratch: Path, asked: list[float] = key["weights"]) -> None:
                corner = _corner(asked)
                flat = flats.of(asked) if corner is None else self._corners[corner]
                results: dict[Kind, Results] = {
                    "merged": self.scorer.read(flat) | self.engine.measure(self.scorer, asked),
                    "ensembled": self.scorer.read(self.ensemble.mix(asked)),
                }
                save_results(results, scratch)
                np.save(scratch / LOSSES, self.scorer.losses(flat))

            yield load_results(self.store.make("scores", "candidate", key, build))

    def losses(self, weights: Weights) -> Array:
        """Smooth loss of each task (`m`) at weights that have been scored."""
        _ = self.score(weights)
        folder = self.store.find("scores", "candidate", self.candidate_key(weights))
        assert folder is not None
        return np.asarray(np.load(folder / LOSSES))

    def slopes(self, weights: Weights) -> Slopes:
        """Losses at `weights` and how they change with each expert's weight.

        Raises:
            ModelError: The models do not fit into memory, or a response map bends the weights.
        """
        if self.response != 1:
            raise ModelError(
                f"Slopes are those of merges at the very weights, and search.response is "
                f"{self.response}; set it to 1, or leave out search.slopes and search.method: gradient."
            )

        def build(scratch: Path) -> None:
            measured = self.engine.slopes(self.scorer, weights)
            np.savez(scratch / "slopes.npz", **asdict(measured))

        folder = self.store.make("slopes", "candidate", self.candidate_key(weights), build)
        with np.load(folder / "slopes.npz") as told:
            return Slopes(told["losses"], told["by_weight"], float(told["passes"]))

    def score_ensembles(self, rows: Array) -> list[Results]:
        """Item results of ensembles at `rows` (`n x k`): arithmetic alone, so nothing is kept."""
        return [self.scorer.read(self.ensemble.mix(self.respond(row))) for row in rows.tolist()]

    def candidate_key(self, weights: Weights) -> dict[str, Any]:
        """What determines the scores at `weights` (`k`): those that are really merged."""
        return {**self._key, "weights": self.respond(weights)}

    def respond(self, weights: Weights) -> list[float]:
        """The weights (`k`) that are merged or mixed where `weights` are asked for."""
        return respond(weights, self.response)

    def score_base(self) -> Results:
        """Item results of the base itself."""
        zeros = [0.0] * self.engine.k

        def build(scratch: Path) -> None:
            flat = next(self.engine.logprobs(self.scorer, [zeros]))
            results = self.scorer.read(flat) | self.engine.measure(self.scorer, zeros)
            save_results({"merged": results}, scratch)

        folder = self.store.make("scores", "base", self.candidate_key(zeros), build)
        return load_results(folder)["merged"]


class Flats:
    """Log-probabilities of rows as an engine gives them, asked for in the same order.

    A row that was finished meanwhile (by another process, say) is passed over; one that is not
    among them is computed by itself.
    """

    def __init__(self, engine: Engine, scorer: Scorer, rows: Sequence[Weights]) -> None:
        self._engine, self._scorer = engine, scorer
        self._left = [list(row) for row in rows]
        self._flats = engine.logprobs(scorer, rows)

    def of(self, row: Weights) -> NDArray[np.float32]:
        """Of one row."""
        if list(row) in self._left:
            while self._left:
                found, flat = self._left.pop(0), next(self._flats)
                if found == list(row):
                    return flat
        return next(self._engine.logprobs(self._scorer, [row]))


def _corner(weights: Weights) -> int | None:
    """The expert that is meant alone, if one is."""
    values = list(map(float, weights))
    return values.index(1.0) if values.count(0.0) == len(values) - 1 and 1.0 in values else None


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
