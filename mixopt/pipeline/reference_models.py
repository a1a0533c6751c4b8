"""The models whose perplexity splits texts: the study's base, or one that a split names."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from mixopt.training.base_model import Base
    from mixopt.training.device import Device


def device_of_driver(config: StudyConfig, name: str, dtype: str = "auto") -> "Device":
    """Return the device for what the process that drives a study computes itself.

    Args:
        config: The study's. Where workers are elsewhere, `name` is a device of theirs.
        name: `auto`, `cpu`, `cuda`, ...
        dtype: `float32`, `bfloat16`, or `auto` for float32.
    """
    from mixopt.training.device import Device

    is_here = config.executor.kind in ("local", "processes")
    return Device.choose(name if is_here else "auto", dtype)


class ReferenceModels:
    """Opens models by path, and measures perplexity.

    Args:
        config: Of the study, whose base is the default.
        device: `auto`, `cpu`, `cuda`, ...
    """

    def __init__(self, config: StudyConfig, device: str) -> None:
        self._config, self._device = config, device

    def compute_key(self, path: str | None) -> str:
        """Return the identity of a model by its path; of the study's base if None."""
        base = self._find(path)
        half = " bfloat16" if "bfloat16" in str(base.device.dtype) else ""
        return f"{base.compute_key()} {base.context}{half}"

    def open(self, path: str | None) -> Callable[[Iterable[str]], Iterator[float]]:
        """Load a model; return what yields the perplexity of the beginning of each text.

        The model is in memory as long as what is returned. No text may be empty.

        Args:
            path: Of the model; the study's base if None.

        Raises:
            ModelError: The model cannot be loaded.
        """
        from mixopt.evaluation.text_perplexity import measure_perplexity

        base = self._find(path)
        model = base.load().to(base.device.name)
        return lambda texts: measure_perplexity(model, base.tokenizer, texts, base.context)

    def _find(self, path: str | None) -> "Base":
        from mixopt.training.base_model import Base
        from mixopt.training.model_loading import find_dtype, resolve_dtype

        config, revision = self._config.base, None
        if path is None:
            assert not isinstance(config, BuiltBaseConfig)  # the config was checked
            path, revision = config.path, config.revision
            dtype = resolve_dtype(config)
        else:
            dtype = find_dtype(path, revision)
        device = device_of_driver(self._config, self._device, dtype)
        tokenizer = load_tokenizer(path, revision=revision)
        return Base(
            path, context=config.context, device=device, tokenizer=tokenizer, revision=revision
        )
