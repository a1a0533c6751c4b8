"""Checkpoints as they lie on disk: the tensors of a folder, by name, read when asked for.

One safetensors file or many with an index, in the layout that transformers writes. Pickled weights
run code when they are opened, so they are refused unless the user allows them.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from mixopt.errors import ModelError
from mixopt.io.parsing import load_json, show, tell

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types by the names that safetensors gives them; 8-bit floats are not merged."""


class Checkpoint:
    """The tensors of a model folder.

    Attributes:
        folder: Where they lie.
        names: Of all tensors, sorted.

    Args:
        folder: A folder with `model.safetensors`, or shards and their index.
        allow_pickle: Open `pytorch_model.bin` where there are no safetensors.

    Raises:
        ModelError: There are no weights, a file is missing, cut short or foreign, or pickled.
    """

    def __init__(self, folder: str | Path, *, allow_pickle: bool = False) -> None:
        self.folder = Path(folder)
        self._files = _find_files(self.folder, allow_pickle)
        self._open: dict[Path, Any] = {}
        self._places: dict[str, Path] = {}
        for file in self._files:
            for name in self._handle(file).keys():  # noqa: SIM118 (no mapping)
                self._places[name] = file
        self.names = tuple(sorted(self._places))
        _check_index(self.folder, self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the file's header."""
        return tuple(self._handle(self._places[name]).get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor, from the file's header.

        Raises:
            ModelError: It is one that cannot be merged.
        """
        told = self._handle(self._places[name]).get_slice(name).get_dtype()
        if told not in DTYPES:
            raise ModelError(
                f"{self._places[name]}: tensor {name!r} is {told}, which cannot be merged; save it "
                "as bfloat16, float16 or float32."
            )
        return DTYPES[told]

    def size_bytes(self, name: str) -> int:
        """Bytes of a tensor."""
        count = 1
        for length in self.shape(name):
            count *= length
        return count * self.dtype(name).itemsize

    def read(self, name: str) -> torch.Tensor:
        """The tensor, on the CPU; it may be a view of the file, so it is not to be written to."""
        tensor: torch.Tensor = self._handle(self._places[name]).get_tensor(name)
        return tensor

    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Rows `start` to `stop` of a tensor, on the CPU."""
        rows: torch.Tensor = self._handle(self._places[name]).get_slice(name)[start:stop]
        return rows

    def release(self) -> None:
        """Lets go of the files' pages; they are opened again when something is read."""
        self._open.clear()

    def _handle(self, file: Path) -> Any:
        if file not in self._open:
            self._open[file] = _PickledFile(file) if file.suffix == ".bin" else _open_safely(file)
        return self._open[file]


def _find_files(folder: Path, allow_pickle: bool) -> list[Path]:
    kinds: list[tuple[str, str, bool]] = [(WHOLE, INDEX, False)]
    if allow_pickle:
        kinds.append((PICKLED, PICKLED_INDEX, True))
    for whole, index, _ in kinds:
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            return _read_index(folder / index)
    if (folder / PICKLED).is_file() or (folder / PICKLED_INDEX).is_file():
        raise ModelError(
            f"{folder} holds pickled weights, which may run code when they are opened; save them as "
            "safetensors, or, if you trust them, pass --allow-pickle (mixopt merge) or say "
            "allow_pickle: true (an expert's YAML)."
        )
    raise ModelError(
        f"{folder} holds no weights: neither {WHOLE} nor {INDEX}; give the folder of a model."
    )


def _read_index(index: Path) -> list[Path]:
    names = sorted(set(_read_map(index).values()))
    ending = ".bin" if index.name == PICKLED_INDEX else ".safetensors"
    files = [index.parent / name for name in names]
    for name, file in zip(names, files, strict=True):
        # of another ending it would be opened as what it is not, pickles among them
        if Path(name).name != name or not name.endswith(ending) or not _is_file(file):
            raise ModelError(f"{index} names {show(name)}, which is not beside it; fetch it again.")
    return files


def _read_map(index: Path) -> dict[str, str]:
    """The file of each tensor, by its name."""
    try:
        places = load_json(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(name, str) for name in places.values()):
            raise TypeError("a shard's name is no text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is no index of shards ({tell(error)}); make it again.") from None
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


def _open_safely(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is not a whole safetensors file ({tell(error)}); make it again."
        ) from None


class _PickledFile:
    """A pickled state dict, with the few methods of a safetensors file that are used here."""

    def __init__(self, file: Path) -> None:
        try:
            told = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # torch raises whatever its reader meets
            raise ModelError(
                f"{file} is not a whole pickled state dict ({tell(error)}); save it as safetensors."
            ) from None
        whole = isinstance(told, dict) and all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor)
            for name, tensor in told.items()
        )
        if not whole:
            raise ModelError(f"{file} holds no tensors by name; save it as safetensors.")
        self._tensors: dict[str, torch.Tensor] = told

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
        spelt = {dtype: name for name, dtype in DTYPES.items()}
        return spelt.get(self._tensor.dtype, str(self._tensor.dtype))

    def __getitem__(self, rows: slice) -> torch.Tensor:
        return self._tensor[rows]
