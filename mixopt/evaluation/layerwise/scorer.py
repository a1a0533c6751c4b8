"""Scoring many merges of a model that does not fit: the network is walked layer by layer.

Of each layer the base's and every expert's tensors are read once, each candidate's layer is formed
from them, and all candidates' activations are pushed through it. So a sweep reads every expert's
bytes once however many candidates there are (a table that is both input and output twice), and
holds one layer of k + 2 models and the activations.

Shapes: `c` candidates, `k` experts, `n` scored tokens.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call

from mixopt.errors import ModelError
from mixopt.evaluation.layerwise.activations import Activations, SweepPlan
from mixopt.evaluation.layerwise.meta_model import LayerCall, LayerwiseError, MetaModel
from mixopt.evaluation.prefix_batching import Batch
from mixopt.evaluation.scorer import Scorer, attention_implementation, model_inputs
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import Expert
from mixopt.merging.merge import check_weights
from mixopt.training.device import Device

LOGIT_BYTES = 64 << 20
"""Memory for a piece of one candidate's logits in float32."""
MOST_AT_END = 1024
"""Scored tokens that go through the network's end at a time."""
STEP_BYTES = 8 << 20
"""Of a tensor that is read at a time where only its length is wanted."""
IN_FLIGHT = 12
"""Hidden states' worth of memory that a layer at work takes."""

Weights = Sequence[float]


class LayerwiseScorer:
    """A base and its experts on disk, scored without any of them whole in memory.

    Args:
        base: The base's checkpoint, in the names of the model in memory, beside its configuration.
        experts: `k`.
        device: Where layers are formed and run.
        memory_bytes: For layers and activations together.

    Raises:
        LayerwiseError: The model cannot be walked layer by layer.
        ModelError: An expert does not fit the base.
    """

    def __init__(
        self, base: Checkpoint, experts: Sequence[Expert], device: Device, *, memory_bytes: int
    ) -> None:
        self.base, self.experts, self.memory_bytes = base, tuple(experts), memory_bytes
        self.meta_model = MetaModel(Path(base.folder), device)
        layout = self.meta_model.layout
        others = {own: other for other, own in layout.tied.items()}
        self._stored = {n: n if n in base else others.get(n, "") for n in layout.shapes}
        for name, stored in self._stored.items():
            if stored not in base:
                raise LayerwiseError(f"its files do not hold {name}, as the model calls it")
        for expert in self.experts:
            expert.check(layout)
        self._device = torch.device(device.name)

    @property
    def model_bytes(self) -> int:
        """Bytes of the base's tensors."""
        return sum(self.base.size_bytes(stored) for stored in self._stored.values())

    @torch.inference_mode()
    def logprobs(self, scorer: Scorer, candidates: Sequence[Weights]) -> NDArray[np.float32]:
        """Log-probabilities of every scored token under every candidate (`c x n`).

        Raises:
            ModelError: The memory is below what one batch of one candidate needs, or a candidate
                is not one finite weight for each expert.
        """
        for weights in candidates:
            check_weights(weights, self.experts)
        self.check_memory()
        batches = self.prepare(scorer)
        plan = self._plan(batches, len(candidates))
        flat = np.empty((len(candidates), scorer.n_targets), dtype=np.float32)
        for chunk in plan.chunks:
            moved = [batch.to(self._device) for batch in chunk]
            for group in plan.groups:
                chosen = [[float(weight) for weight in candidates[index]] for index in group]
                with plan.open_store() as store:
                    scores = self._sweep(moved, chosen, store)
                for index, parts in zip(group, scores, strict=True):
                    for batch, part in zip(chunk, parts, strict=True):
                        flat[index, batch.places] = part
        return flat

    def prepare(self, scorer: Scorer) -> list[Batch]:
        """The requests in batches for this model."""
        return scorer.batches(self.meta_model.model, self._score_base)

    def check_memory(self) -> None:
        """Raises `ModelError` where one layer of all models does not fit, with what would."""
        if self.memory_bytes < self._working_bytes():
            raise ModelError(
                f"search.memory is {self.memory_bytes / 2**20:.0f} MiB, but one layer of "
                f"{len(self.experts) + 1} models needs {self._working_bytes() / 2**20:.0f} MiB; "
                "raise it to more than that."
            )

    def _working_bytes(self) -> int:
        return (len(self.experts) + 3) * 4 * self.meta_model.largest_layer + LOGIT_BYTES

    def _held_bytes(self, batches: Sequence[Batch]) -> int:
        """Beside activations: a batch's rows of the input table, and all masks."""
        words = max(min(batch.tokens.numel(), self.meta_model.vocabulary) for batch in batches)
        table = (len(self.experts) + 3) * 4 * self.meta_model.width * words
        cell = (
            1
            if attention_implementation(self.meta_model.model) == "sdpa"
            else self.meta_model.dtype.itemsize
        )
        masks = sum(
            cell * batch.tokens.shape[0] * batch.tokens.shape[1] ** 2
            for batch in batches
            if batch.owner is not None
        )
        return max(0, table - self._working_bytes()) + masks

    def _score_base(self, batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
        nothing = [0.0] * len(self.experts)
        return self._sweep([b.to(self._device) for b in batches], [nothing], Activations())[0]

    def _plan(self, batches: Sequence[Batch], candidates: int) -> SweepPlan:
        width = self.meta_model.width * self.meta_model.dtype.itemsize
        largest = max(batch.tokens.numel() for batch in batches)
        room = self.memory_bytes - self._working_bytes() - IN_FLIGHT * width * largest
        room -= self._held_bytes(batches)
        if room < width * largest:
            needed = self.memory_bytes - room + width * largest
            raise ModelError(
                f"search.memory is {self.memory_bytes / 2**20:.0f} MiB, but one layer of "
                f"{len(self.experts) + 1} models and one batch need {needed / 2**20:.0f} MiB; raise "
                "it to that."
            )
        read_again = (len(self.experts) + 1) * self.model_bytes
        return SweepPlan.of(
            batches, candidates, room, width, read_again, 2 * len(self.meta_model.layers)
        )

    @torch.inference_mode()
    def step_sizes(self) -> list[float]:
        """δ = ‖Δ_k‖ / (‖Δ_k‖ + ‖Θ_base‖) of each expert, from one reading of them all."""
        base, squares = 0.0, [0.0] * len(self.experts)
        for name, stored in self._stored.items():
            shape = self.base.shape(stored)
            count = shape[0] if len(shape) > 1 else 1
            step = max(1, STEP_BYTES * count // self.base.size_bytes(stored))
            for start in range(0, count, step):
                run = start, min(count, start + step)
                rows = (
                    self.base.read(stored) if len(shape) < 2 else self.base.read_rows(stored, *run)
                )
                base += _square(rows.float())
                for place, expert in enumerate(self.experts):
                    whole = len(shape) < 2
                    delta = (
                        expert.delta(name, rows) if whole else expert.delta_rows(name, rows, *run)
                    )
                    squares[place] += 0.0 if delta is None else _square(delta)
            self._release()
        return [math.sqrt(s) / max(math.sqrt(s) + math.sqrt(base), 1e-30) for s in squares]

    # --- the sweep ----------------------------------------------------------------------------

    def _sweep(
        self, batches: Sequence[Batch], candidates: Sequence[Weights], store: Activations
    ) -> list[list[NDArray[np.float32]]]:
        """Log-probabilities by candidate and batch, from one walk through the network."""
        calls = self._enter(batches, candidates, store)
        for index, (layer, names) in enumerate(
            zip(self.meta_model.layers, self.meta_model.pieces, strict=True)
        ):
            pieces = self._read(names)
            for c, weights in enumerate(candidates):
                merged = pieces.merge(weights)
                for b, call in enumerate(row[index] for row in calls):
                    args = (store.get(c, b), *call.args)
                    told = functional_call(layer, merged, args, dict(call.kwargs))
                    store.put(c, b, told[0] if isinstance(told, tuple) else told)
        return self._leave(batches, candidates, store)

    def _enter(
        self, batches: Sequence[Batch], candidates: Sequence[Weights], store: Activations
    ) -> list[list[LayerCall]]:
        """Fills `store` with what enters the first layer; how each layer is called, by batch."""
        outside = self._read_outside()
        calls: list[list[LayerCall]] = []
        for b, batch in enumerate(batches):
            ids, places = torch.unique(batch.tokens, return_inverse=True)
            rows = self._read_rows(ids.cpu())  # a batch's own words: the whole table is large
            for c, weights in enumerate(candidates):
                table, others = rows.merge(weights)["table"], outside.merge(weights)
                inputs = model_inputs(self.meta_model.model, batch) | {"input_ids": places}
                # the model's end is not wanted here: one word of it will do
                walk = self.meta_model.walk(others, (table, table[:1]), inputs)
                assert walk.hidden is not None
                store.put(c, b, walk.hidden)
                if c == 0:
                    calls.append(walk.calls)
        return calls

    def _leave(
        self, batches: Sequence[Batch], candidates: Sequence[Weights], store: Activations
    ) -> list[list[NDArray[np.float32]]]:
        """Log-probabilities from what left the last layer, the output table piece by piece."""
        for c in range(len(candidates)):
            for b, batch in enumerate(batches):
                hidden = store.get(c, b)
                store.put(c, b, hidden.reshape(-1, hidden.shape[-1])[batch.at][None])
        sums = [[torch.full((len(batch.at),), -torch.inf, device=self._device) for batch in batches]
                for _ in candidates]  # fmt: skip
        found = [[torch.zeros_like(total) for total in row] for row in sums]
        outside = self._read_outside()
        rows = max(
            1,
            min(self.meta_model.vocabulary, self.meta_model.largest_layer // self.meta_model.width),
        )
        for start in range(0, self.meta_model.vocabulary, rows):
            pieces = self._read_run(start, min(self.meta_model.vocabulary, start + rows))
            for c, weights in enumerate(candidates):
                head, others = pieces.merge(weights)["table"], outside.merge(weights)
                for b, batch in enumerate(batches):
                    told = sums[c][b], found[c][b]
                    self._add_run(store.get(c, b), batch.targets, start, head, others, told)
        return [
            [(one - total).cpu().numpy() for one, total in zip(f, s, strict=True)]
            for f, s in zip(found, sums, strict=True)
        ]

    def _add_run(
        self,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        start: int,
        head: torch.Tensor,
        outside: Mapping[str, torch.Tensor],
        told: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        """Adds the logits of a run of the vocabulary to log-sums and targets' logits, in place."""
        sums, found = told
        step = max(1, min(MOST_AT_END, LOGIT_BYTES // (4 * len(head))))
        for at in range(0, hidden.shape[1], step):
            part = slice(at, at + step)
            inputs = self.meta_model.inputs_like(hidden[:, part])
            walk = self.meta_model.walk(outside, (head[:1], head), inputs, hidden[:, part])
            assert walk.logits is not None
            logits = walk.logits[0].float()
            sums[part] = torch.logaddexp(sums[part], logits.logsumexp(-1))
            places = targets[part] - start
            here = (places >= 0) & (places < len(head))
            own = logits.gather(-1, places.clamp(0, len(head) - 1)[:, None])[:, 0]
            found[part] += torch.where(here, own, 0.0)

    # --- tensors ------------------------------------------------------------------------------

    def _read(self, names: Mapping[str, str]) -> "LayerTensors":
        """Base and experts' steps of some tensors."""
        pieces = LayerTensors(len(self.experts), self.meta_model.dtype, self._device)
        for short, name in names.items():
            base = self.base.read(self._stored[name]).to(self._device)
            pieces.add(short, base, [expert.delta(name, base) for expert in self.experts])
        self._release()
        return pieces

    def _read_outside(self) -> "LayerTensors":
        return self._read({name: name for name in self.meta_model.outside})

    def _read_rows(self, ids: torch.Tensor) -> "LayerTensors":
        """Rows of the input table, as `table`."""
        name = self.meta_model.input
        pieces = LayerTensors(len(self.experts), self.meta_model.dtype, self._device)
        base = self.base.read(self._stored[name])[ids].to(self._device)
        pieces.add("table", base, [expert.delta_at(name, base, ids) for expert in self.experts])
        self._release()
        return pieces

    def _read_run(self, start: int, stop: int) -> "LayerTensors":
        """A run of rows of the output table, as `table`."""
        name = self.meta_model.output
        pieces = LayerTensors(len(self.experts), self.meta_model.dtype, self._device)
        base = self.base.read_rows(self._stored[name], start, stop).to(self._device)
        steps = [expert.delta_rows(name, base, start, stop) for expert in self.experts]
        pieces.add("table", base, steps)
        self._release()
        return pieces

    def _release(self) -> None:
        self.base.release()
        for expert in self.experts:
            expert.release()


def _square(tensor: torch.Tensor) -> float:
    flat = tensor.reshape(-1)
    return float(flat @ flat)


class LayerTensors:
    """Base and experts' steps of a few tensors, from which any candidate's are formed."""

    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        self._k, self._dtype, self._device = k, dtype, device
        self._tensors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, name: str, base: torch.Tensor, steps: Sequence[torch.Tensor | None]) -> None:
        """Takes a tensor of the base and the experts' steps on it."""
        stack = torch.zeros(self._k, base.numel(), device=self._device)
        for row, step in zip(stack, steps, strict=True):
            if step is not None:
                row.copy_(step.reshape(-1))
        self._tensors[name] = (base.clone(), stack)  # a copy: the file's pages are let go of

    def merge(self, weights: Weights) -> dict[str, torch.Tensor]:
        """The candidate's tensors, summed in float32."""
        alpha = torch.tensor([weights], dtype=torch.float32, device=self._device)
        merged = {}
        for name, (base, steps) in self._tensors.items():
            total = base.float().reshape(-1)
            if len(steps):
                total = (alpha @ steps)[0].add_(total)
            merged[name] = total.to(self._dtype).view(base.shape)
        return merged
