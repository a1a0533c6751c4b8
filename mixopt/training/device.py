"""The device that models run on."""

import os
from dataclasses import dataclass

import torch

from mixopt.errors import ModelError


@dataclass(frozen=True)
class Device:
    """Where models run and in which type they are loaded."""

    name: str
    dtype: torch.dtype

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.name)

    @property
    def key(self) -> list[str]:
        """Kind and type: another card of the same kind gives the same model to rounding."""
        return [self.name.split(":")[0], str(self.dtype)]

    @classmethod
    def choose(cls, name: str = "auto", dtype: str = "auto", *, here: bool = True) -> "Device":
        """The named device; `auto` takes an accelerator where there is one.

        Args:
            name: As torch calls it, or `auto`.
            dtype: Type that models are loaded in.
            here: Whether it must be on this machine, not only on those of its workers.

        Raises:
            ModelError: The device does not exist on this machine.
        """
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if name == "auto":
            name = accelerator.type if accelerator else "cpu"
        if ":" in name:
            raise ModelError(
                f"Device {name!r} names one card; choose cards by CUDA_VISIBLE_DEVICES and pass "
                f"{name.split(':')[0]!r}."
            )
        try:
            torch.empty(0, device=name if here else "cpu")
        except (RuntimeError, AssertionError):
            found = f"cpu, {accelerator.type}" if accelerator else "cpu"
            raise ModelError(
                f"Device {name!r} is not on this machine; here are: {found}."
            ) from None
        types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        return cls(name, types.get(dtype, torch.float32))


def list_cards() -> list[str]:
    """CUDA cards that this process may use, as CUDA_VISIBLE_DEVICES names them; none is opened."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [card.strip() for card in told.split(",") if card.strip() not in ("", "-1")]
    return [str(card) for card in range(torch.cuda.device_count())]
