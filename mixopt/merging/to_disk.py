"""Merges written to disk: streamed piece by piece, so that a model of any size needs little memory.

The files are written in the base's own names and shapes, as transformers reads them. The
safetensors library writes whole shards from memory, so the format (a JSON header, then the
tensors' bytes) is written here; it is read back by the library in the tests.

Shapes: `k` experts.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm.auto import tqdm

from mixopt.errors import ModelError, StorageError
from mixopt.io.files import resume_folder, write_text
from mixopt.io.parsing import load_json, tell
from mixopt.merging.checkpoint import DTYPES, INDEX, WHOLE, Checkpoint
from mixopt.merging.expert import Expert, FullExpert, open_expert
from mixopt.merging.merge import check_weights, warn_if_unrelated
from mixopt.training.base_model import Layout

PIECE_BYTES = 8 << 20
"""Of a tensor of the base, read and merged at a time."""
SHARD_BYTES = 4 << 30
FORMAT = {"format": "pt"}
WRITTEN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".msgpack", ".h5", ".index.json", ".gguf")


@dataclass(frozen=True)
class _Planned:
    """One tensor to write."""

    name: str
    shape: tuple[int, ...]
    stored: torch.dtype
    written: torch.dtype

    @property
    def size_bytes(self) -> int:
        return self.written.itemsize * torch.Size(self.shape).numel()


def merge_to_disk(
    base: str | Path,
    experts: Mapping[str | Path, float],
    out: str | Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    allow_pickle: bool = False,
) -> Path:
    """`out`, now a model folder with Θ_base + Σ_k α_k (Θ_k − Θ_base), which transformers loads.

    Summed in float32. Integer tensors, the configuration and the tokenizer are the base's. What a
    run that was stopped has written is taken up again by the next one.

    Args:
        base: Folder of the base's checkpoint.
        experts: Weight by folder: full checkpoints in the same names, or LoRA adapters (`k`).
        out: Folder to make.
        dtype: `float32`, `bfloat16` or `float16`, to write floating tensors in; each tensor's own in
            the base if left out.
        shard_bytes: Files are at most so large, except for a tensor that is larger.
        allow_pickle: Open pickled weights where there are no safetensors.

    Raises:
        ModelError: An expert does not fit the base; found before anything is written.
        StorageError: The disk is full.
        OutputError: `out` is there already.
    """
    folder, target = Path(base), Path(out).absolute()
    checkpoint = Checkpoint(folder, allow_pickle=allow_pickle)
    opened = [open_expert(Path(place), allow_pickle=allow_pickle) for place in experts]
    weights = [float(weight) for weight in experts.values()]
    check_weights(weights, opened)
    written = None if dtype is None else WRITTEN[dtype]
    plan = [_plan(checkpoint, name, written) for name in checkpoint.names]
    layout = _layout_of(checkpoint, plan, opened)
    for expert in opened:
        expert.check(layout)
    shards = _divide(plan, shard_bytes)
    told = [
        str(dtype),
        shard_bytes,
        *(_identity(e.folder, w) for e, w in zip(opened, weights, strict=True)),
    ]
    key = hashlib.blake2b(repr([_identity(folder, 1.0), *told]).encode(), digest_size=6).hexdigest()
    with resume_folder(target, key) as scratch:
        _require_space(scratch, plan)
        sums = _Sums(checkpoint, opened, weights)
        for name, tensors in tqdm(shards.items(), desc="merging", unit="file", leave=False):
            if not (scratch / name).is_file():
                _write_shard(scratch / name, tensors, sums)
        if len(shards) > 1:
            _write_index(scratch / INDEX, shards)
        _copy_rest(folder, scratch, written)
    for expert, size in zip(opened, sums.step_sizes(), strict=True):
        warn_if_unrelated(str(expert.folder), size)
    return target


def _plan(checkpoint: Checkpoint, name: str, dtype: torch.dtype | None) -> _Planned:
    stored = checkpoint.dtype(name)
    written = dtype if dtype is not None and stored.is_floating_point else stored
    return _Planned(name, checkpoint.shape(name), stored, written)


def _layout_of(
    checkpoint: Checkpoint, plan: Sequence[_Planned], experts: Sequence[Expert]
) -> Layout:
    """The base's floating tensors, and which other names the model ties to them."""
    if not (checkpoint.folder / "config.json").is_file():
        raise ModelError(
            f"{checkpoint.folder} has no configuration that transformers can read (config.json is "
            "not there); give the folder of a model."
        )
    shapes = {tensor.name: tensor.shape for tensor in plan if tensor.stored.is_floating_point}
    kept = frozenset(t.name for t in plan if not t.stored.is_floating_point)
    full = [expert for expert in experts if isinstance(expert, FullExpert)]
    # transformers takes longer to import than a small merge does
    alike = all(expert.checkpoint.names == checkpoint.names for expert in full)
    tied = {} if alike else _find_tied(checkpoint.folder)
    return Layout(
        shapes, {o: own for o, own in tied.items() if own in shapes and o not in shapes}, kept
    )


def _find_tied(folder: Path) -> Mapping[str, str]:
    """Names that the model of a configuration ties to others."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            return Layout.of(AutoModelForCausalLM.from_config(config)).tied
    except Exception as error:  # transformers' classes raise whatever a field leads them to
        raise ModelError(
            f"{folder} has no configuration that transformers can read "
            f"({tell(error)}); give the folder of a model."
        ) from None


def _divide(plan: Sequence[_Planned], shard_bytes: int) -> dict[str, list[_Planned]]:
    """Tensors by file, none above `shard_bytes` unless one tensor is."""
    groups: list[list[_Planned]] = []
    size = 0
    for tensor in plan:
        if not groups or size + tensor.size_bytes > shard_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.size_bytes
    if len(groups) == 1:
        return {WHOLE: groups[0]}
    n = len(groups)
    return {f"model-{i:05d}-of-{n:05d}.safetensors": group for i, group in enumerate(groups, 1)}


def _identity(folder: Path, weight: float) -> tuple[object, ...]:
    """What tells one merge from another: where the files lie, how large and how old they are."""
    counts = (".safetensors", ".bin", ".json")
    files = sorted(f for f in folder.absolute().iterdir() if f.suffix in counts)
    told = ((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return (str(folder.absolute()), weight, *told)


def _require_space(scratch: Path, plan: Sequence[_Planned]) -> None:
    there = sum(f.stat().st_size for f in scratch.glob("*.safetensors"))
    needed = sum(tensor.size_bytes for tensor in plan) - there
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise StorageError(
            f"The merge needs {needed / 1e9:.1f} GB and {scratch.parent} has {free / 1e9:.1f} GB "
            "free; free some space or choose another place."
        )


def _write_shard(file: Path, tensors: Sequence[_Planned], sums: "_Sums") -> None:
    """Writes one safetensors file, which appears whole."""
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        stream.write(_header(tensors))
        for tensor in tensors:
            for piece in sums.pieces(tensor):
                _write_bytes(stream, piece.to(tensor.written))
    part.rename(file)


def _header(tensors: Sequence[_Planned]) -> bytes:
    spelt = {dtype: name for name, dtype in DTYPES.items()}
    told: dict[str, Any] = {"__metadata__": FORMAT}
    start = 0
    for tensor in tensors:
        stop = start + tensor.size_bytes
        told[tensor.name] = {
            "dtype": spelt[tensor.written], "shape": list(tensor.shape), "data_offsets": [start, stop],
        }  # fmt: skip
        start = stop
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


class _Sums:
    """The merge of one tensor after the other, and how far each expert lies from the base."""

    def __init__(
        self, base: Checkpoint, experts: Sequence[Expert], weights: Sequence[float]
    ) -> None:
        self._base, self._experts, self._weights = base, experts, weights
        self._square = 0.0
        self._squares = [0.0] * len(experts)

    def pieces(self, tensor: _Planned) -> Iterator[torch.Tensor]:
        """The merged tensor in runs of rows; one that is no number to merge is the base's."""
        name, rows = tensor.name, tensor.shape[0] if tensor.shape else 1
        if not tensor.stored.is_floating_point:
            yield self._base.read(name)
        elif not tensor.shape or not rows:
            there = self._base.read(name)
            yield self._sum(there, [expert.delta(name, there) for expert in self._experts])
        else:
            step = max(1, PIECE_BYTES * rows // max(1, self._base.size_bytes(name)))
            for start in range(0, rows, step):
                stop = min(rows, start + step)
                there = self._base.read_rows(name, start, stop)
                deltas = (e.delta_rows(name, there, start, stop) for e in self._experts)
                yield self._sum(there, deltas)
        self._base.release()
        for expert in self._experts:
            expert.release()

    def _sum(self, there: torch.Tensor, deltas: Iterable[torch.Tensor | None]) -> torch.Tensor:
        total = there.to(torch.float32, copy=True)
        self._square += _square(total)
        for place, (delta, weight) in enumerate(zip(deltas, self._weights, strict=True)):
            if delta is not None:
                self._squares[place] += _square(delta)
                total.add_(delta, alpha=weight)
        return total

    def step_sizes(self) -> list[float]:
        """δ of each expert over what was merged."""
        base = math.sqrt(self._square)
        return [math.sqrt(s) / max(math.sqrt(s) + base, 1e-30) for s in self._squares]


def _square(tensor: torch.Tensor) -> float:
    """‖tensor‖², in one reading."""
    flat = tensor.reshape(-1)
    return float(flat @ flat)


def _write_bytes(stream: BinaryIO, tensor: torch.Tensor) -> None:
    tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tofile(stream)


def _write_index(file: Path, shards: Mapping[str, Sequence[_Planned]]) -> None:
    total = sum(tensor.size_bytes for tensors in shards.values() for tensor in tensors)
    places = {tensor.name: shard for shard, tensors in shards.items() for tensor in tensors}
    told = {"metadata": {"total_size": total}, "weight_map": places}
    write_text(file, json.dumps(told, indent=2) + "\n")


def _copy_rest(base: Path, out: Path, dtype: torch.dtype | None) -> None:
    """Everything of the base's folder but its weights, with the type that was written."""
    for file in sorted(base.iterdir()):
        if file.is_file() and not file.name.endswith(WEIGHT_FILES):
            shutil.copyfile(file, out / file.name)
    if dtype is not None:
        config = _read_config(out)
        config.pop("torch_dtype", None)
        config["dtype"] = str(dtype).removeprefix("torch.")
        write_text(out / "config.json", json.dumps(config, indent=2) + "\n")


def _read_config(folder: Path) -> dict[str, Any]:
    """What a model folder's configuration says.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        config = load_json((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it holds no fields")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{folder / 'config.json'} cannot be read ({tell(error)}); mend it, or leave out dtype."
        ) from None
    return config
