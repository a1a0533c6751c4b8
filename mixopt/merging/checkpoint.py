"""Checkpoints on disk: tensors of a model folder by name, read on demand.

A folder holds one safetensors file, or several with an index, in the layout that transformers writes.
Pickled weights can run code when they are opened, so they are refused unless the user allows them.
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from mixopt.errors import ModelError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.training.tensor_names import align_names, strip_wrappers

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Types by their names in safetensors; 8-bit floats cannot be merged."""
ADAPTER, PICKLED_ADAPTER = "adapter_model.safetensors", "adapter_model.bin"
TAKEN_BYTES = 32 << 20
"""Bytes of a tensor that are mapped at a time where single rows of it are read."""
OTHER_BASE = "give the base that it was trained from, or train it from this base."
"""What to do where the tensors of an expert are none of the base's."""
Rows = slice | torch.Tensor
"""Rows of a tensor: a slice, or integer indices."""


class Checkpoint:
    """The tensors of a model folder.

    Args:
        folder: A folder with `model.safetensors`, or shards and their index.
        allow_pickle: Open `pytorch_model.bin` where there are no safetensors.

    Attributes:
        folder: The folder.
        names: Names of all tensors, sorted, without the prefixes of `torch.compile` and of wrappers for
            parallel training.

    Raises:
        ModelError: There are no weights, or a file is missing, truncated, pickled or of another format.
    """

    def __init__(self, folder: str | Path, *, allow_pickle: bool = False) -> None:
        self.folder = Path(folder)
        self._open: dict[Path, Any] = {}
        files = _find_files(self.folder, allow_pickle)
        places = {str(name): file for file in files for name in self._handle(file).keys()}  # noqa: SIM118
        _check_index(self.folder, places)
        self._stored = strip_wrappers(places, self.folder)
        self._places = {name: places[stored] for name, stored in self._stored.items()}
        self.names = tuple(sorted(self._places))

    def align(self, wanted: Collection[str]) -> None:
        """Rename the tensors as in another model, where only a prefix of all names differs.

        Args:
            wanted: Names of the other model's tensors.
        """
        renamed = align_names(self.names, wanted)
        self._stored = {renamed[name]: stored for name, stored in self._stored.items()}
        self._places = {renamed[name]: place for name, place in self._places.items()}
        self.names = tuple(sorted(self._places))

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, from the header of its file."""
        return tuple(self._slice(name).get_shape())

    def dtype_name(self, name: str) -> str:
        """Return the type of a tensor as safetensors names it, from the file's header."""
        return str(self._slice(name).get_dtype())

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor, from the file's header.

        Raises:
            ModelError: Tensors of this type cannot be merged.
        """
        dtype = self.dtype_name(name)
        if dtype not in DTYPES:
            raise ModelError(
                f"{self._places[name]}: tensor {name!r} is {dtype}, which cannot be merged; save it "
                "as bfloat16, float16 or float32."
            )
        return DTYPES[dtype]

    def size_bytes(self, name: str) -> int:
        """Return the bytes of a tensor."""
        return math.prod(self.shape(name)) * self.dtype(name).itemsize

    def read(self, name: str, rows: Rows | None = None) -> torch.Tensor:
        """Return a tensor, or some of its rows, on the CPU.

        It may be a view of the file, so it must not be written to.

        Args:
            name: Name of the tensor.
            rows: Rows to return: a slice, of which no more is read, or indices; all if None.
        """
        if isinstance(rows, slice):
            part: torch.Tensor = self._slice(name)[rows]
            return part
        if rows is None:
            tensor: torch.Tensor = self._handle(self._places[name]).get_tensor(self._stored[name])
            return tensor
        return self._take(name, rows)

    def _take(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        # Single rows map the pages around them too, in the end the whole table: files are unmapped
        # after each part of it.
        shape = self.shape(name)
        step = max(1, TAKEN_BYTES * shape[0] // max(1, self.size_bytes(name)))
        taken = torch.empty(len(rows), *shape[1:], dtype=self.dtype(name))
        for start in range(0, shape[0], step):
            inside = (rows >= start) & (rows < start + step)
            if inside.any():
                taken[inside] = self._slice(name)[start : start + step][rows[inside] - start]
                self.release()
        return taken

    def release(self) -> None:
        """Unmap the files; they are opened again by the next read."""
        self._open.clear()

    def _slice(self, name: str) -> Any:
        return self._handle(self._places[name]).get_slice(self._stored[name])

    def _handle(self, file: Path) -> Any:
        if file not in self._open:
            self._open[file] = open_tensors(file)
        return self._open[file]


def find_adapter(folder: Path) -> Path | None:
    """Return the file of the adapter in a folder, safetensors first; None if there is none.

    Args:
        folder: Folder of an expert.
    """
    files = (folder / ADAPTER, folder / PICKLED_ADAPTER)
    return next((file for file in files if file.is_file()), None)


def open_tensors(file: Path) -> Any:
    """Open a file of tensors: safetensors, or a pickle that the user allows.

    Args:
        file: Its ending tells which.

    Returns:
        Handle that reads tensors on demand.

    Raises:
        ModelError: The file is missing, truncated or of another format.
    """
    return _PickledFile(file) if file.suffix == ".bin" else open_safetensors(file)


def _find_files(folder: Path, allow_pickle: bool) -> list[Path]:
    kinds = [(WHOLE, INDEX), (PICKLED, PICKLED_INDEX)] if allow_pickle else [(WHOLE, INDEX)]
    for whole, index in kinds:
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            return _read_index(folder / index)
    if (folder / PICKLED).is_file() or (folder / PICKLED_INDEX).is_file():
        raise ModelError(
            f"{folder} holds pickled weights, a format that can hold code; save them as "
            "safetensors, or, if you trust them, pass --allow-pickle (mixopt merge) or say "
            "allow_pickle: true (an expert's YAML)."
        )
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ModelError(f"{folder} {what}; give the folder of a model.")
    shards = sorted(file.name for file in folder.glob("model-*-of-*.safetensors"))
    if shards:
        raise ModelError(
            f"{folder} has shards ({shards[0]}, ...) without their {INDEX}; fetch it too, or save the "
            "model again."
        )
    raise ModelError(
        f"{folder} holds no weights: neither {WHOLE} nor {INDEX}; give the folder of a model."
    )


def _read_index(index: Path) -> list[Path]:
    names = sorted(set(_read_map(index).values()))
    ending = ".bin" if index.name == PICKLED_INDEX else ".safetensors"
    files = [index.parent / name for name in names]
    for name, file in zip(names, files, strict=True):
        # a file with another ending would be opened in the wrong format, as a pickle for example
        if Path(name).name != name or not name.endswith(ending) or not _is_file(file):
            raise ModelError(f"{index} names {show(name)}, which is not beside it; fetch it again.")
    return files


def _read_map(index: Path) -> dict[str, str]:
    try:
        places = load_json(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(name, str) for name in places.values()):
            raise TypeError("a shard's name is not text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index} is no index of shards ({one_line(error)}); make it again."
        ) from None
    return dict(places)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _check_index(folder: Path, places: dict[str, Path]) -> None:
    index = folder / INDEX
    if (folder / WHOLE).is_file() or not index.is_file():
        return
    for name, file in _read_map(index).items():
        if name not in places:
            raise ModelError(f"{folder / file} lacks tensor {name!r}; fetch it again.")


def open_safetensors(file: Path) -> Any:
    """Open a safetensors file.

    Args:
        file: The file.

    Returns:
        Handle of the library, which reads tensors on demand.

    Raises:
        ModelError: The file is missing, truncated or of another format.
    """
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is not a whole safetensors file ({one_line(error)}); make it again."
        ) from None


class _PickledFile:
    def __init__(self, file: Path) -> None:
        try:
            tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # torch.load raises errors of many types
            raise ModelError(
                f"{file} is not a whole pickled state dict ({one_line(error)}); save it as safetensors."
            ) from None
        pairs = tensors.items() if isinstance(tensors, dict) else [(None, tensors)]
        if not all(isinstance(n, str) and isinstance(t, torch.Tensor) for n, t in pairs):
            raise ModelError(f"{file} holds no tensors by name; save it as safetensors.")
        self._tensors: dict[str, torch.Tensor] = tensors

    def keys(self) -> list[str]:
        return list(self._tensors)

    def get_tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def get_slice(self, name: str) -> "_PickledSlice":
        return _PickledSlice(self._tensors[name])


class _PickledSlice:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def get_shape(self) -> list[int]:
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        names = {dtype: name for name, dtype in DTYPES.items()}
        return names.get(self._tensor.dtype, str(self._tensor.dtype))

    def __getitem__(self, rows: slice) -> torch.Tensor:
        return self._tensor[rows]
