"""A model on the meta device whose forward pass is run around its layers.

The position of the layers, the arguments of their calls and what is computed before and after them are
found by running the model's own forward pass with recorders in place of the layers. So this module
names no architecture; a model whose layers are not a plain chain is refused with `LayerwiseError`.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call

from mixopt.errors import ModelError, one_line
from mixopt.training.base_model import Layout, mergeable
from mixopt.training.device import Device
from mixopt.training.model_loading import load_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LayerwiseError(ModelError):
    """A model cannot be run layer by layer."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """Arguments of a layer's call beside the hidden states."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(eq=False)
class ForwardPass:
    """One run of the forward pass around the layers.

    Attributes:
        output: Hidden states that the last layer returns; if None, its input.
        calls: Call of each layer, in order.
        hidden: Hidden states that the layers were given.
        logits: Result of the forward pass.
    """

    output: torch.Tensor | None = None
    calls: list[LayerCall] = field(default_factory=list)
    hidden: torch.Tensor | None = None
    logits: torch.Tensor | None = None

    def call_layer(
        self, index: int, last: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Record the call of the layer at `index` and return its output."""
        hidden = args[0] if args else kwargs.pop("hidden_states", None)
        if index != len(self.calls) or not isinstance(hidden, torch.Tensor):
            raise LayerwiseError("its layers are not called once each, in order, on hidden states")
        if index and hidden is not self.hidden:
            raise LayerwiseError("something happens between its layers")
        self.calls.append(LayerCall(args[1:], kwargs))
        self.hidden = hidden
        return self.output if last and self.output is not None else hidden


class _LayerRecorder(torch.nn.Module):
    def __init__(self, layer: torch.nn.Module, index: int, last: bool, run: ForwardPass) -> None:
        super().__init__()
        object.__setattr__(self, "_replaced", layer)  # not registered as a submodule
        self._position = (index, last)
        self._run = run

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # an attribute of the layer, such as attention_type
            return getattr(self.__dict__["_replaced"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._run.call_layer(*self._position, args, dict(kwargs))


class MetaModel:
    """The model of a configuration, with its weights on the meta device.

    Args:
        folder: Holds the configuration.
        device: Where its buffers lie and layers are run.

    Attributes:
        model: The model; its buffers are real.
        layout: Which of its tensors are merged.
        layers: Modules of its layers, in order.
        layer_tensors: For each layer, full tensor names by their names inside the layer.
        outside: Names of the tensors outside of the layers, without the two tables.
        input: Name of the input table (`vocabulary x width`).
        output: Name of the output table; the same where they are tied.

    Raises:
        LayerwiseError: The model cannot be run layer by layer.
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
        embedding.padding_idx = None  # token ids are renumbered
        names = {id(tensor): name for name, tensor in self._metas.items()}
        self.input, self.output = names[id(embedding.weight)], names[id(head.weight)]
        modules = {id(module): name for name, module in self.model.named_modules()}
        self._tables = f"{modules[id(embedding)]}.weight", f"{modules[id(head)]}.weight"
        self.layer_tensors = [self._below(f"{self._list}.{i}.") for i in range(len(self.layers))]
        inside = {self.input, self.output}.union(*(names.values() for names in self.layer_tensors))
        self.outside = tuple(name for name in self._metas if name not in inside)
        self._check_chain()

    def _below(self, prefix: str) -> dict[str, str]:
        return {n.removeprefix(prefix): n for n in self._metas if n.startswith(prefix)}

    @property
    def largest_layer(self) -> int:
        """Number of weights of the largest layer."""
        sizes = [[self._metas[n].numel() for n in names.values()] for names in self.layer_tensors]
        return max(map(sum, sizes))

    def run(
        self,
        outside: Mapping[str, torch.Tensor],
        tables: tuple[torch.Tensor, torch.Tensor],
        inputs: dict[str, Any],
        output: torch.Tensor | None = None,
    ) -> ForwardPass:
        """Run the forward pass around the layers.

        Args:
            outside: Tensors outside of the layers, by name.
            tables: Rows of the input table, as `input_ids` number them, and of the output table.
            inputs: Keyword arguments of the model.
            output: Hidden states that the last layer returns, in the shape that `inputs` imply.

        Returns:
            Calls of the layers, the hidden states they were given, and the logits.
        """
        weights = {**outside, self._tables[0]: tables[0], self._tables[1]: tables[1]}
        run = ForwardPass(output)
        with self._recorders(run):
            result = functional_call(self.model, weights, kwargs=inputs, tie_weights=False)
        run.logits = result.logits
        return run

    def inputs_like(self, hidden: torch.Tensor) -> dict[str, Any]:
        """Return model inputs for hidden states of this shape (`1 x n x width`)."""
        zeros = torch.zeros(hidden.shape[:2], dtype=torch.long, device=self.device)
        inputs = {"input_ids": zeros, "use_cache": False}
        takes_positions = "position_ids" in inspect.signature(self.model.forward).parameters
        # given, because there may be more tokens than the model has positions
        return inputs | ({"position_ids": zeros} if takes_positions else {})

    @contextmanager
    def _recorders(self, run: ForwardPass) -> Iterator[None]:
        modules = self.model.get_submodule(self._list)
        assert isinstance(modules, torch.nn.ModuleList)
        for index, layer in enumerate(self.layers):
            modules[index] = _LayerRecorder(layer, index, index == len(self.layers) - 1, run)
        try:
            yield
        finally:
            for index, layer in enumerate(self.layers):
                modules[index] = layer

    @torch.inference_mode()
    def _check_chain(self) -> None:
        """Check that layers are given hidden states and nothing else that depends on model or tokens."""
        ids = torch.tensor([[1, 0]], device=self.device)  # unlike the places of tokens
        one, other = (self._try_run(ids, value) for value in (0.5, -1.5))
        if len(one.calls) != len(self.layers):
            raise LayerwiseError("not all of its layers are called")
        if one.hidden is None or one.hidden.shape != (*ids.shape, self.width):
            raise LayerwiseError("its hidden states are not one vector for each token")
        for call, again in zip(one.calls, other.calls, strict=True):
            if not _same(call.args, again.args) or not _same(call.kwargs, again.kwargs):
                raise LayerwiseError(
                    "its layers are given more than the hidden states of the last one"
                )
            if any(_equal_ids(tensor, ids) for tensor in _tensors([call.args, call.kwargs])):
                raise LayerwiseError("its layers are given the tokens")

    def _try_run(self, ids: torch.Tensor, value: float) -> ForwardPass:
        fill = partial(torch.full, fill_value=value, dtype=self.dtype, device=self.device)
        outside = {name: fill(self._metas[name].shape) for name in self.outside}
        table = fill((2, self.width))
        try:
            return self.run(outside, (table, table), {"input_ids": ids, "use_cache": False})
        except LayerwiseError:
            raise
        except (
            Exception
        ) as error:  # whatever a model's own code raises, such as where layers return pairs
            raise LayerwiseError(
                f"its forward pass cannot be run around its layers, {type(error).__name__}: "
                f"{one_line(error)}"
            ) from error


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
    modules = dict(model.named_modules())
    lists = {n: m for n, m in modules.items() if isinstance(m, torch.nn.ModuleList) and len(m)}
    outermost = [n for n in lists if not any(n.startswith(f"{other}.") for other in lists)]
    if not outermost:
        raise LayerwiseError("it has no list of layers")
    name = max(outermost, key=lambda n: sum(p.numel() for p in lists[n].parameters()))
    return name, list(lists[name])


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _equal_ids(tensor: torch.Tensor, ids: torch.Tensor) -> bool:
    return tensor.dtype == ids.dtype and torch.equal(tensor.reshape(-1), ids.reshape(-1))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other)
