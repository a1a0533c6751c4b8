"""Scores of many merges of a model that does not fit into memory, computed layer by layer.

For each layer the base's and every expert's tensors are read once, the layer of each candidate is
merged from them, and the activations of all candidates are pushed through it. A sweep thus reads each
expert once, however many candidates there are (twice a table that is both input and output), and holds
one layer of k + 2 models and the activations. An expert that no candidate gives weight is not read.

Shapes: `c` candidates, `k` experts, `n` scored tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
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
from mixopt.merging.checkpoint import Checkpoint, Rows
from mixopt.merging.expert import Expert
from mixopt.merging.merge import StepSizes, check_weights, merge_tensor
from mixopt.merging.streamed_merge import MAPPED_BYTES
from mixopt.training.device import Device

LOGIT_BYTES = 64 << 20
"""Memory for a piece of one candidate's logits in float32."""
MAX_OUTPUT_TOKENS = 1024
"""Scored tokens that go through the output layer at a time."""
STEP_BYTES = 8 << 20
"""Bytes of a base tensor that are read at a time for step sizes."""
IN_FLIGHT = 12
"""Memory that a running layer takes, in hidden states of a batch."""

Weights = Sequence[float]
Totals = Sequence[Sequence[torch.Tensor]]
"""A number of each scored token, by candidate and batch."""


class LayerwiseScorer:
    """A base and its experts on disk, scored without holding any of them whole in memory.

    Args:
        base: The base's checkpoint, with the tensor names of the model in memory, beside its config.
        experts: Experts of the base (`k`).
        device: Where layers are merged and run.
        memory_bytes: Memory for layers and activations together.

    Raises:
        LayerwiseError: The model cannot be run layer by layer.
        ModelError: An expert does not fit the base.
    """

    def __init__(
        self, base: Checkpoint, experts: Sequence[Expert], device: Device, *, memory_bytes: int
    ) -> None:
        self.base, self.experts, self.memory_bytes = base, tuple(experts), memory_bytes
        self.meta_model = MetaModel(Path(base.folder), device)
        layout = self.meta_model.layout
        tied = {name: other for other, name in layout.tied.items()}
        self._stored = {n: n if n in base else tied.get(n, "") for n in layout.shapes}
        for name, stored in self._stored.items():
            if stored not in base:
                raise LayerwiseError(f"its files do not hold {name}, as the model calls it")
        for expert in self.experts:
            expert.check(layout)
        self._device = torch.device(device.name)

    @torch.inference_mode()
    def logprobs(self, scorer: Scorer, candidates: Sequence[Weights]) -> NDArray[np.float32]:
        """Score candidates on all requests.

        Args:
            scorer: Holds the requests.
            candidates: Merge weights (`c x k`).

        Returns:
            Log-probability of every scored token under every candidate (`c x n`, nats).

        Raises:
            ModelError: The memory does not suffice for one batch of one candidate, or a candidate
                is not one finite weight per expert.
        """
        for weights in candidates:
            check_weights(weights, self.experts)
        self.check_memory()
        batches = self.prepare(scorer)
        plan = self._plan(batches, len(candidates))
        logprobs = np.empty((len(candidates), scorer.n_targets), dtype=np.float32)
        for chunk in plan.chunks:
            moved = [batch.to(self._device) for batch in chunk]
            for group in plan.groups:
                weights_of_group = [[float(w) for w in candidates[index]] for index in group]
                with plan.open_store() as store:
                    scores = self._sweep(moved, weights_of_group, store)
                for index, parts in zip(group, scores, strict=True):
                    for batch, part in zip(chunk, parts, strict=True):
                        logprobs[index, batch.places] = part
        return logprobs

    def prepare(self, scorer: Scorer) -> list[Batch]:
        """Return the requests in batches (`b x t`) for this model."""
        return scorer.batches(self.meta_model.model, self._score_base)

    def check_memory(self) -> None:
        """Raise `ModelError` where one layer of all models does not fit, with the memory needed."""
        if self.memory_bytes < self._working_bytes():
            raise ModelError(
                f"search.memory is {self.memory_bytes / 2**20:.0f} MiB, but one layer of "
                f"{len(self.experts) + 1} models needs {self._working_bytes() / 2**20:.0f} MiB; "
                "raise it to more than that."
            )

    def _working_bytes(self) -> int:
        layer = 4 * self.meta_model.largest_layer
        return (len(self.experts) + 3) * layer + 2 * LOGIT_BYTES + MAPPED_BYTES

    def _held_bytes(self, batches: Sequence[Batch]) -> int:
        words = max(min(batch.tokens.numel(), self.meta_model.vocabulary) for batch in batches)
        # beside activations: a batch's rows of the input table, and all attention masks
        table = (len(self.experts) + 3) * 4 * self.meta_model.width * words
        sdpa = attention_implementation(self.meta_model.model) == "sdpa"
        cell = 1 if sdpa else self.meta_model.dtype.itemsize
        shapes = [batch.tokens.shape for batch in batches if batch.owner is not None]
        masks = sum(cell * rows * length**2 for rows, length in shapes)
        return max(0, table - self._working_bytes()) + masks

    def _score_base(self, batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
        base = [0.0] * len(self.experts)
        return self._sweep([b.to(self._device) for b in batches], [base], Activations())[0]

    def _plan(self, batches: Sequence[Batch], candidates: int) -> SweepPlan:
        width = self.meta_model.width * self.meta_model.dtype.itemsize
        largest = max(batch.tokens.numel() for batch in batches)
        held = self._working_bytes() + IN_FLIGHT * width * largest + self._held_bytes(batches)
        room = self.memory_bytes - held
        if room < width * largest:
            needed = held + width * largest
            raise ModelError(
                f"search.memory is {self.memory_bytes / 2**20:.0f} MiB, but one layer of "
                f"{len(self.experts) + 1} models and one batch need {needed / 2**20:.0f} MiB; raise "
                "it to that."
            )
        model_bytes = sum(self.base.size_bytes(stored) for stored in self._stored.values())
        reread = (len(self.experts) + 1) * model_bytes
        n_spills = 2 * len(self.meta_model.layers)
        return SweepPlan.of(batches, candidates, room, width, reread, n_spills)

    @torch.inference_mode()
    def step_sizes(self) -> list[float]:
        """Return δ of each expert (`k`, see `StepSizes`); all of them are read once."""
        sizes = StepSizes(len(self.experts))
        for name, stored in self._stored.items():
            shape = self.base.shape(stored)
            count = shape[0] if len(shape) > 1 else 1
            step = max(1, STEP_BYTES * count // self.base.size_bytes(stored))
            for start in range(0, count, step):
                rows = slice(start, min(count, start + step)) if len(shape) > 1 else None
                base = self.base.read(stored, rows)
                deltas = (expert.delta(name, base, rows) for expert in self.experts)
                for _ in sizes.observe(base, deltas):
                    pass
            self._release()
        return sizes.compute()

    def _sweep(self, batches: Sequence[Batch], candidates: Sequence[Weights],
               store: Activations) -> list[list[NDArray[np.float32]]]:  # fmt: skip
        calls = self._enter(batches, candidates, store)
        for index in range(len(self.meta_model.layers)):
            self._run_layer(index, candidates, [row[index] for row in calls], store)
        return self._leave(batches, candidates, store)

    def _run_layer(self, index: int, candidates: Sequence[Weights], calls: Sequence[LayerCall],
                   store: Activations) -> None:  # fmt: skip
        # a method of its own, so that a layer's tensors are gone before the next one's are read
        tensors = self._read(self.meta_model.layer_tensors[index], candidates)
        for c, weights in enumerate(candidates):
            merged = tensors.merge(weights)
            for b, call in enumerate(calls):
                args = (store.get(c, b), *call.args)
                layer = self.meta_model.layers[index]
                output = functional_call(layer, merged, args, dict(call.kwargs))
                store.put(c, b, output[0] if isinstance(output, tuple) else output)

    def _enter(self, batches: Sequence[Batch], candidates: Sequence[Weights],
               store: Activations) -> list[list[LayerCall]]:  # fmt: skip
        # the inputs of the first layer go to `store`
        outside = self._read_outside(candidates)
        calls: list[list[LayerCall]] = []
        for b, batch in enumerate(batches):
            ids, renumbered = torch.unique(batch.tokens, return_inverse=True)
            # only rows of tokens that occur in the batch: the whole table is large
            rows = self._read({"table": self.meta_model.input}, candidates, ids.cpu())
            for c, weights in enumerate(candidates):
                table, others = rows.merge(weights)["table"], outside.merge(weights)
                inputs = model_inputs(self.meta_model.model, batch) | {"input_ids": renumbered}
                # the logits are not used here, so one row of the output table suffices
                run = self.meta_model.run(others, (table, table[:1]), inputs)
                assert run.hidden is not None
                store.put(c, b, run.hidden)
                if c == 0:
                    calls.append(run.calls)
        return calls

    def _leave(self, batches: Sequence[Batch], candidates: Sequence[Weights],
               store: Activations) -> list[list[NDArray[np.float32]]]:  # fmt: skip
        for c in range(len(candidates)):
            for b, batch in enumerate(batches):
                hidden = store.get(c, b)
                store.put(c, b, hidden.reshape(-1, hidden.shape[-1])[batch.at][None])
        sums = [[torch.full((len(batch.at),), -torch.inf, device=self._device) for batch in batches]
                for _ in candidates]  # fmt: skip
        target_logits = [[torch.zeros_like(total) for total in row] for row in sums]
        outside = self._read_outside(candidates)
        vocabulary = self.meta_model.vocabulary
        step = max(1, min(vocabulary, self.meta_model.largest_layer // self.meta_model.width))
        for start in range(0, vocabulary, step):
            piece = slice(start, min(vocabulary, start + step))
            self._run_head(piece, batches, candidates, store, outside, (sums, target_logits))
        rows = zip(target_logits, sums, strict=True)
        return [[(t - s).cpu().numpy() for t, s in zip(*row, strict=True)] for row in rows]

    def _run_head(
        self, piece: slice, batches: Sequence[Batch], candidates: Sequence[Weights],
        store: Activations, outside: "_LayerTensors", totals: tuple[Totals, Totals],
    ) -> None:  # fmt: skip
        tensors = self._read({"table": self.meta_model.output}, candidates, piece)
        for c, weights in enumerate(candidates):
            head, others = tensors.merge(weights)["table"], outside.merge(weights)
            for b, batch in enumerate(batches):
                own = totals[0][c][b], totals[1][c][b]
                self._add_logits(store.get(c, b), batch.targets, piece.start, head, others, own)

    def _add_logits(
        self, hidden: torch.Tensor, targets: torch.Tensor, start: int, head: torch.Tensor,
        outside: Mapping[str, torch.Tensor], totals: tuple[torch.Tensor, torch.Tensor],
    ) -> None:  # fmt: skip
        sums, target_logits = totals
        step = max(1, min(MAX_OUTPUT_TOKENS, LOGIT_BYTES // (4 * len(head))))
        for at in range(0, hidden.shape[1], step):
            part = slice(at, at + step)
            inputs = self.meta_model.inputs_like(hidden[:, part])
            run = self.meta_model.run(outside, (head[:1], head), inputs, hidden[:, part])
            assert run.logits is not None
            logits = run.logits[0].float()
            sums[part] = torch.logaddexp(sums[part], logits.logsumexp(-1))
            rows = targets[part] - start
            inside = (rows >= 0) & (rows < len(head))
            own = logits.gather(-1, rows.clamp(0, len(head) - 1)[:, None])[:, 0]
            target_logits[part] += torch.where(inside, own, 0.0)

    def _read(self, names: Mapping[str, str], candidates: Sequence[Weights],
              rows: Rows | None = None) -> "_LayerTensors":  # fmt: skip
        """Read tensors of the base and of the experts that have a weight in any candidate."""
        mapped, used = 0, [any(weights) for weights in zip(*candidates, strict=True)]
        tensors = _LayerTensors(len(self.experts), self.meta_model.dtype, self._device)
        for short, name in names.items():
            base = self.base.read(self._stored[name], rows).to(self._device)
            mapped += base.nbytes * (1 + sum(used))
            # one at a time; an expert that is not read has a row of zeros, so sums stay as they are
            deltas = (
                expert.delta(name, base, rows) if use else None
                for expert, use in zip(self.experts, used, strict=True)
            )
            tensors.add(short, base, deltas)
            if mapped >= MAPPED_BYTES:  # pages of files that were read are in memory too
                mapped = 0
                self._release()
        self._release()
        return tensors

    def _read_outside(self, candidates: Sequence[Weights]) -> "_LayerTensors":
        return self._read({name: name for name in self.meta_model.outside}, candidates)

    def _release(self) -> None:
        self.base.release()
        for expert in self.experts:
            expert.release()


class _LayerTensors:
    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        self._k, self._dtype, self._device = k, dtype, device
        self._tensors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, name: str, base: torch.Tensor, deltas: Iterable[torch.Tensor | None]) -> None:
        stack = torch.zeros(self._k, base.numel(), device=self._device)
        for row, delta in zip(stack, deltas, strict=True):
            if delta is not None:
                row.copy_(delta.reshape(-1))
        # a copy, because the files are unmapped after reading
        self._tensors[name] = (base.clone(), stack)

    def merge(self, weights: Weights) -> dict[str, torch.Tensor]:
        return {
            name: merge_tensor(base.reshape(-1), deltas, weights).to(self._dtype).view(base.shape)
            for name, (base, deltas) in self._tensors.items()
        }
