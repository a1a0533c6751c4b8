"""A model without weights, walked around its layers.

Where the layers stand in the network, what they are called with and what comes before and after
them is found by running the model's own forward pass with recorders in the layers' places. So no
architecture is named here; a model whose layers are no plain chain is refused with `LayerwiseError`.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call

from mixopt.errors import ModelError
from mixopt.training.base_model import Layout, mergeable
from mixopt.training.device import Device
from mixopt.training.model_loading import load_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LayerwiseError(ModelError):
    """A model that cannot be walked layer by layer."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """What a layer is called with beside the hidden states."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(eq=False)
class ForwardPass:
    """One run of the forward pass around the layers.

    Attributes:
        answer: What the last layer is to return; else what it was given.
        calls: How each layer was called.
        hidden: What the first layer was given.
        logits: Where the forward pass ended.
    """

    answer: torch.Tensor | None = None
    calls: list[LayerCall] = field(default_factory=list)
    hidden: torch.Tensor | None = None
    logits: torch.Tensor | None = None

    def visit(
        self, index: int, last: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """What the layer at `index` returns."""
        hidden = args[0] if args else kwargs.pop("hidden_states", None)
        if index != len(self.calls) or not isinstance(hidden, torch.Tensor):
            raise LayerwiseError("its layers are not called once each, in order, on hidden states")
        if index and hidden is not self.hidden:
            raise LayerwiseError("something happens between its layers")
        self.calls.append(LayerCall(args[1:], kwargs))
        self.hidden = hidden
        return self.answer if last and self.answer is not None else hidden


class _LayerRecorder(torch.nn.Module):
    """Stands in a layer's place, and answers for its attributes (attention_type, ...)."""

    def __init__(self, layer: torch.nn.Module, index: int, last: bool, walk: ForwardPass) -> None:
        super().__init__()
        object.__setattr__(self, "_stood_for", layer)  # not as a child of its own
        self._place = (index, last)
        self._walk = walk

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_stood_for"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._walk.visit(*self._place, args, dict(kwargs))


class MetaModel:
    """The model of a configuration, its weights on the meta device.

    Attributes:
        model: The model; its buffers are real.
        layout: What is merged of it.
        layers: The modules of its layers, in order.
        pieces: Of each layer, the full name by the name inside it.
        outside: Names of what stands outside of the layers, but for the two tables.
        input: Name of the input table (`vocabulary x width`).
        output: Name of the output table; the same where they are tied.

    Raises:
        LayerwiseError: The model cannot be walked layer by layer.
    """

    def __init__(self, folder: Path, device: Device) -> None:
        self.device = torch.device(device.name)
        self.dtype = device.dtype
        self.model = _open(folder, device)
        self.layout = Layout.of(self.model)
        self._metas = mergeable(self.model)
        self._list, self.layers = _find_layers(self.model)
        embedding, head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        if not isinstance(embedding, torch.nn.Embedding) or not isinstance(head, torch.nn.Linear):
            raise LayerwiseError("it has no plain input and output tables")
        self.vocabulary, self.width = embedding.num_embeddings, embedding.embedding_dim
        if getattr(head, "bias", None) is not None or head.in_features != self.width:
            raise LayerwiseError("its output table is more than a table as wide as the input")
        embedding.padding_idx = None  # rows are renumbered
        names = {id(tensor): name for name, tensor in self._metas.items()}
        self.input, self.output = names[id(embedding.weight)], names[id(head.weight)]
        modules = {id(module): name for name, module in self.model.named_modules()}
        self._tables = f"{modules[id(embedding)]}.weight", f"{modules[id(head)]}.weight"
        self.pieces = [self._below(f"{self._list}.{i}.") for i in range(len(self.layers))]
        inside = {self.input, self.output}.union(*(piece.values() for piece in self.pieces))
        self.outside = tuple(name for name in self._metas if name not in inside)
        self._check_chain()

    def _below(self, prefix: str) -> dict[str, str]:
        return {n.removeprefix(prefix): n for n in self._metas if n.startswith(prefix)}

    @property
    def largest_layer(self) -> int:
        """Weights of the largest layer."""
        return max(sum(self._metas[n].numel() for n in p.values()) for p in self.pieces)

    def walk(
        self,
        outside: Mapping[str, torch.Tensor],
        tables: tuple[torch.Tensor, torch.Tensor],
        inputs: dict[str, Any],
        answer: torch.Tensor | None = None,
    ) -> ForwardPass:
        """The forward pass around the layers.

        Args:
            outside: Tensors by the names of `outside`.
            tables: Rows of the input table, by the numbers that `inputs` hold, and of the output's.
            inputs: What the model is called with.
            answer: What the last layer is to return, in the shape of what `inputs` give.
        """
        weights = {**outside, self._tables[0]: tables[0], self._tables[1]: tables[1]}
        walk = ForwardPass(answer)
        with self._recorders(walk):
            told = functional_call(self.model, weights, kwargs=inputs, tie_weights=False)
        walk.logits = told.logits
        return walk

    def inputs_like(self, hidden: torch.Tensor) -> dict[str, Any]:
        """Inputs that bring hidden states of this shape (`1 x n x width`) to the end."""
        zeros = torch.zeros(hidden.shape[:2], dtype=torch.long, device=self.device)
        inputs = {"input_ids": zeros, "use_cache": False}
        if "position_ids" in inspect.signature(self.model.forward).parameters:
            inputs["position_ids"] = zeros  # there may be more of them than the model has positions
        return inputs

    @contextmanager
    def _recorders(self, walk: ForwardPass) -> Iterator[None]:
        places = self.model.get_submodule(self._list)
        assert isinstance(places, torch.nn.ModuleList)
        for index, layer in enumerate(self.layers):
            places[index] = _LayerRecorder(layer, index, index == len(self.layers) - 1, walk)
        try:
            yield
        finally:
            for index, layer in enumerate(self.layers):
                places[index] = layer

    @torch.inference_mode()
    def _check_chain(self) -> None:
        """Nothing that a layer is called with, but hidden states, may depend on the weights."""
        inputs = {"input_ids": torch.zeros(1, 2, dtype=torch.long, device=self.device),
                  "use_cache": False}  # fmt: skip
        walks = []
        for value in (0.5, -1.5):
            outside = {
                name: torch.full(
                    self._metas[name].shape, value, dtype=self.dtype, device=self.device
                )
                for name in self.outside
            }
            table = torch.full((2, self.width), value, dtype=self.dtype, device=self.device)
            walks.append(self.walk(outside, (table, table), dict(inputs)))
        if len(walks[0].calls) != len(self.layers):
            raise LayerwiseError("not all of its layers are called")
        for one, other in zip(walks[0].calls, walks[1].calls, strict=True):
            if not _same(one.args, other.args) or not _same(one.kwargs, other.kwargs):
                raise LayerwiseError(
                    "its layers are given more than the hidden states of the last one"
                )


def _open(folder: Path, device: Device) -> "PreTrainedModel":
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    config = load_config(folder)
    with init_empty_weights(include_buffers=False):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=device.dtype)
    model.tie_weights()
    for name, buffer in list(model.named_buffers()):
        owner, _, short = name.rpartition(".")
        model.get_submodule(owner)._buffers[short] = buffer.to(device.name)
    return model.eval()


def _find_layers(model: torch.nn.Module) -> tuple[str, list[torch.nn.Module]]:
    """The name of the outermost list that holds most of the model, and its modules."""
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    }
    outermost = [n for n in lists if not any(n.startswith(f"{other}.") for other in lists)]
    if not outermost:
        raise LayerwiseError("it has no list of layers")
    name = max(outermost, key=lambda n: sum(p.numel() for p in lists[n].parameters()))
    return name, list(lists[name])


def _same(one: Any, other: Any) -> bool:
    """Whether two calls of a layer are alike, tensor by tensor."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other)
