"""The device that models run on, and their floating-point type."""

import os
from dataclasses import dataclass

import torch

from mixopt.errors import ModelError


@dataclass(frozen=True)
class Device:
    """A device and the type in which models are loaded.

    Attributes:
        name: Name in torch, without a card's number.
        dtype: Type of the parameters.
    """

    name: str
    dtype: torch.dtype

    @property
    def torch(self) -> torch.device:
        """The device as a `torch.device`."""
        return torch.device(self.name)

    @property
    def key(self) -> list[str]:
        """Kind and type, for artifact keys; cards of one kind agree up to rounding."""
        return [self.name.split(":")[0], str(self.dtype)]

    @classmethod
    def choose(cls, name: str = "auto", dtype: str = "auto", *, here: bool = True) -> "Device":
        """Return the named device.

        Args:
            name: Name in torch, or `auto` for an accelerator where there is one.
            dtype: `float32`, `bfloat16`, or `auto` for float32.
            here: Whether it must be on this machine; otherwise only workers need it.

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
            devices = f"cpu, {accelerator.type}" if accelerator else "cpu"
            raise ModelError(f"Device {name!r} is not on this machine; it has {devices}.") from None
        types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        return cls(name, types.get(dtype, torch.float32))


def list_cards() -> list[str]:
    """Return the CUDA cards of this process, as CUDA_VISIBLE_DEVICES names them, without opening any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [card.strip() for card in visible.split(",") if card.strip() not in ("", "-1")]
    return [str(card) for card in range(torch.cuda.device_count())]
