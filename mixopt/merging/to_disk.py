"""Merges written to disk piece by piece, so that a model of any size needs little memory.

Files have the base's names and shapes and are read by transformers. The safetensors library writes
whole shards from memory, so the format (a JSON header, then the tensors' bytes) is written here;
tests read it back with the library.

Shapes: `k` experts.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, StorageError, one_line
from mixopt.io.content_hash import user_cache
from mixopt.io.files import resume_folder, write_text
from mixopt.io.progress import track
from mixopt.io.run_folders import find_model_folder
from mixopt.merging.checkpoint import DTYPES, INDEX, WHOLE, Checkpoint
from mixopt.merging.expert import Expert, FullExpert, open_expert
from mixopt.merging.full_precision import require_full_precision
from mixopt.merging.gguf import dequantize, find_gguf
from mixopt.merging.merge import StepSizes, check_weights, warn_if_unrelated
from mixopt.merging.model_files import copy_model_files, copy_tokenizer
from mixopt.merging.origin_warnings import warn_of_origin
from mixopt.merging.streamed_merge import PlannedTensor, StreamedMerge
from mixopt.merging.vocabulary import Resize, untie
from mixopt.training.base_model import Layout
from mixopt.training.tensor_names import align_names

log = logging.getLogger(__name__)

SHARD_BYTES = 4 << 30
PERCENT_OFF = 1.0
"""By how much percentages may miss 100 through rounding."""
MAX_WEIGHT = 10.0
"""Largest weight of an expert; its delta times ten is no merge but percent, or a typing error."""
NO_CONFIG = "{} has no configuration that transformers can read ({}); give the folder of a model."
FORMAT = {"format": "pt"}
SQUARES = "squared-norms.json"
"""Squared norms of base and deltas by file, while a merge is written."""
WRITTEN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def merge_to_disk(
    base: str | Path,
    experts: Mapping[str | Path, float],
    out: str | Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    allow_pickle: bool = False,
    normalise: bool = False,
    resize: Resize | None = None,
) -> Path:
    """Write Θ_base + Σ_k α_k (Θ_k − Θ_base) to a model folder that transformers loads.

    The sum is taken in float32. Integer tensors, the configuration and the tokenizer are the base's.
    A merge that was stopped continues with the files that it had not written; one that met NaN or
    infinity leaves nothing.

    Args:
        base: Folder of the base's checkpoint.
        experts: α by folder (`k`): full checkpoints with the same tensor names, or LoRA adapters.
        out: Folder to create.
        dtype: `float32`, `bfloat16` or `float16` for floating tensors; their types in the base if None.
        shard_bytes: Largest size of a file; a larger tensor gets a file of its own.
        allow_pickle: Open pickled weights where there are no safetensors.
        normalise: Divide the weights by their sum.
        resize: Where vocabularies have different sizes: `base` merges the rows that the base has, and
            is the default where sizes differ by padding or a few added tokens. `largest` keeps all rows;
            one that the base lacks is the weighted mean of the experts that have it.

    Returns:
        `out` as an absolute path.

    Raises:
        ModelError: There is no expert, no such `dtype` or `resize`, a model is quantized, or an expert
            does not fit the base, raised before anything is written; a weight is NaN or infinite, or the
            merge is out of the range of `dtype`.
        StorageError: The disk is full.
        OutputError: `out` exists already.
    """
    _check_choices(dtype, resize)
    if not experts:
        raise ModelError("No experts are given to merge; give at least one with its weight.")
    folder, target = _find_model(Path(base), "The base"), Path(out).absolute()
    require_full_precision(folder, "The base", allow_pickle=allow_pickle)
    places = [_find_model(Path(place), "The expert") for place in experts]
    for place in places:
        require_full_precision(place, "The expert", allow_pickle=allow_pickle)
    checkpoint = Checkpoint(folder, allow_pickle=allow_pickle)
    opened = [open_expert(place, allow_pickle=allow_pickle) for place in places]
    weights = [float(weight) for weight in experts.values()]
    check_weights(weights, opened)
    weights = _normalized(weights) if normalise else weights
    _refuse_percent(weights)
    written = None if dtype is None else WRITTEN[dtype]
    plan = [_plan(checkpoint, name, written) for name in checkpoint.names]
    layout = _layout_of(checkpoint, plan, opened)
    full = [expert for expert in opened if isinstance(expert, FullExpert)]
    layout, heads = untie(layout, [expert.checkpoint for expert in full])
    plan += [replace(t, name=head) for t in plan for head, own in heads.items() if own == t.name]
    for expert in opened:
        if isinstance(expert, FullExpert):
            expert.check(layout, resize=resize)
        else:
            expert.check(layout)
        warn_of_origin(expert.folder, folder)
    if resize == "largest":
        plan = [_enlarge(tensor, full) for tensor in plan]
    grown = max((t.shape[0] for t in plan if t.shape != checkpoint.shape(t.source)), default=None)
    shards = _divide(plan, shard_bytes)
    identities = [_identity(e.folder, w) for e, w in zip(opened, weights, strict=True)]
    identity = [_identity(folder, 1.0), str(dtype), shard_bytes, resize, *identities]
    key = hashlib.blake2b(repr(identity).encode(), digest_size=6).hexdigest()
    with resume_folder(target, key) as scratch:
        _require_space(scratch, plan)
        merge = StreamedMerge(checkpoint, opened, weights)
        squares = _read_squares(scratch)
        try:
            files = track(shards.items(), "merging", total=len(shards), unit="file")
            for name, tensors in files:
                if not (scratch / name).is_file():
                    merge.step_sizes = StepSizes(len(opened))
                    _write_shard(scratch / name, tensors, merge)
                    squares[name] = merge.step_sizes.squares
                    write_text(scratch / SQUARES, json.dumps(squares))
        except ModelError:  # the same weights would end every further try
            shutil.rmtree(scratch)
            raise
        if len(shards) > 1:
            _write_index(scratch / INDEX, shards)
        copy_model_files(folder, scratch, dtype=dtype, untied=bool(heads), rows=grown)
        if grown is not None:
            largest = next(e for e in full if any(e.rows(t.name) == grown for t in plan))
            copy_tokenizer(largest.folder, grown, scratch)
        (scratch / SQUARES).unlink(missing_ok=True)
    if squares.keys() == shards.keys():  # a stop may have come before the last ones were noted
        _warn_of_unrelated(opened, squares)
    return target


def _check_choices(dtype: str | None, resize: str | None) -> None:
    for name, value, known in (("dtype", dtype, (*WRITTEN,)), ("resize", resize, get_args(Resize))):
        if value is not None and value not in known:
            raise ModelError(
                f"{name}={value!r} is unknown; leave it out or give one of {', '.join(known)}."
            )


def _read_squares(scratch: Path) -> dict[str, list[float]]:
    if not (scratch / SQUARES).is_file():
        return {}
    squares: dict[str, list[float]] = json.loads((scratch / SQUARES).read_text(encoding="utf-8"))
    return squares


def _warn_of_unrelated(experts: Sequence[Expert], squares: Mapping[str, list[float]]) -> None:
    whole = StepSizes(len(experts))
    for part in squares.values():
        whole.add(part)
    for expert, size in zip(experts, whole.compute(), strict=True):
        warn_if_unrelated(str(expert.folder), size)


def _find_model(folder: Path, what: str) -> Path:
    found = find_model_folder(folder)
    if found != folder:
        log.warning("%s holds checkpoints only; its last one, %s, is merged.", folder, found.name)
    file = find_gguf(found)
    return found if file is None else dequantize(file, ArtifactStore(user_cache()), what)


def _normalized(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    if min(weights) < 0 or total <= 0:
        raise ModelError(
            f"Weights {weights} cannot be divided by their sum; give none below zero and one above it."
        )
    return [weight / total for weight in weights]


def _refuse_percent(weights: Sequence[float]) -> None:
    total = math.fsum(weights)
    if abs(total - 100) < PERCENT_OFF or max(map(abs, weights)) > MAX_WEIGHT:
        raise ModelError(
            f"The weights sum to {total:g}, which multiplies the experts' deltas; give shares (0.6 for "
            "60%), or normalise them (--normalise, normalise=True)."
        )


def _plan(checkpoint: Checkpoint, name: str, dtype: torch.dtype | None) -> PlannedTensor:
    stored = checkpoint.dtype(name)
    written = dtype if dtype is not None and stored.is_floating_point else stored
    return PlannedTensor(name, checkpoint.shape(name), stored, written, name)


def _enlarge(tensor: PlannedTensor, experts: Sequence[FullExpert]) -> PlannedTensor:
    rows = max((expert.rows(tensor.name) or 0 for expert in experts), default=0)
    if not tensor.shape or rows <= tensor.shape[0]:
        return tensor
    return replace(tensor, shape=(rows, *tensor.shape[1:]))


def _layout_of(checkpoint: Checkpoint, plan: Sequence[PlannedTensor],
               experts: Sequence[Expert]) -> Layout:  # fmt: skip
    if not (checkpoint.folder / "config.json").is_file():
        raise ModelError(NO_CONFIG.format(checkpoint.folder, "config.json is not there"))
    shapes = {tensor.name: tensor.shape for tensor in plan if tensor.merged}
    kept = frozenset(tensor.name for tensor in plan if not tensor.merged)
    full = [expert for expert in experts if isinstance(expert, FullExpert)]
    # importing transformers takes longer than a small merge, so it is avoided where names agree
    alike = all(expert.checkpoint.names == checkpoint.names for expert in full)
    pairs = {} if alike else _find_tied(checkpoint.folder)
    # the first GPT-2 on the hub lacks the name of its body
    stored = align_names(pairs.values(), shapes)
    # a base may store both tables of a pair, and an expert one of them
    tied = {o: stored[own] for o, own in pairs.items() if stored[own] in shapes}
    return Layout(shapes, tied, kept)


def _find_tied(folder: Path) -> Mapping[str, str]:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            return Layout.of(AutoModelForCausalLM.from_config(config)).tied
    except Exception as error:  # transformers raises errors of many types for bad fields
        raise ModelError(NO_CONFIG.format(folder, one_line(error))) from None


def _divide(plan: Sequence[PlannedTensor], shard_bytes: int) -> dict[str, list[PlannedTensor]]:
    groups: list[list[PlannedTensor]] = []
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
    counts = (".safetensors", ".bin", ".json")
    files = sorted(f for f in folder.absolute().iterdir() if f.suffix in counts)
    stats = ((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return (str(folder.absolute()), weight, *stats)


def _require_space(scratch: Path, plan: Sequence[PlannedTensor]) -> None:
    written = sum(f.stat().st_size for f in scratch.glob("*.safetensors"))
    needed = sum(tensor.size_bytes for tensor in plan) - written
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise StorageError(
            f"The merge needs {needed / 1e9:.1f} GB and {scratch.parent} has {free / 1e9:.1f} GB "
            "free; free some space or choose another place."
        )


@torch.inference_mode()
def _write_shard(file: Path, tensors: Sequence[PlannedTensor], merge: "StreamedMerge") -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        stream.write(_header(tensors))
        for tensor in tensors:
            for piece in merge.pieces(tensor):
                flat = piece.contiguous().reshape(-1)
                stream.write(flat.view(torch.uint8).numpy().data)
    part.rename(file)


def _header(tensors: Sequence[PlannedTensor]) -> bytes:
    dtype_names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": FORMAT}
    start = 0
    for tensor in tensors:
        stop = start + tensor.size_bytes
        header[tensor.name] = {"dtype": dtype_names[tensor.written], "shape": list(tensor.shape),
                               "data_offsets": [start, stop]}  # fmt: skip
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_index(file: Path, shards: Mapping[str, Sequence[PlannedTensor]]) -> None:
    total = sum(tensor.size_bytes for tensors in shards.values() for tensor in tensors)
    places = {tensor.name: shard for shard, tensors in shards.items() for tensor in tensors}
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_text(file, json.dumps(index, indent=2) + "\n")
