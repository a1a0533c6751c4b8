"""Names of tensors in files: prefixes that wrappers and other classes of a model put before them."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from mixopt.errors import ModelError
from mixopt.io.parsing import show

WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of names that `torch.compile`, FSDP and activation checkpointing add, anywhere in a name."""
PARALLEL = "module."
OUTER = (PARALLEL, "_forward_module.", "base_model.model.")
"""What DataParallel, DDP and DeepSpeed, Lightning, and peft put before every name of a model."""
BODIES = ("transformer.", "model.", "gpt_neox.", "language_model.", "model.language_model.")
"""Names of the body inside a model with a head. The first GPT-2 on the hub, and every model that was
saved without its head, lack them."""


def strip_wrappers(names: Iterable[str], folder: Path) -> dict[str, str]:
    """Strip the prefixes that wrappers of a model add to its tensors' names.

    Args:
        names: Names as they are stored.
        folder: Where they are stored, for the message.

    Returns:
        The stored name of each tensor, by its name in the model that was wrapped.

    Raises:
        ModelError: Two stored names stand for one tensor.
    """
    plain = {stored: WRAPPERS.sub("", stored) for stored in names}
    while plain and (outer := _find_outer(plain.values())):
        plain = {stored: name.removeprefix(outer) for stored, name in plain.items()}
    stored_by_name: dict[str, str] = {}
    for stored, name in plain.items():
        if name in stored_by_name:
            raise ModelError(
                f"{folder} holds tensor {show(name)} twice, as {show(stored_by_name[name])} and as "
                f"{show(stored)}; save it again from the model without its wrapper."
            )
        stored_by_name[name] = stored
    return stored_by_name


def _find_outer(names: Collection[str]) -> str | None:
    """Return what a wrapper put before every name; a LoRA adapter's names begin with peft's."""
    if any(".lora_" in name for name in names):
        return PARALLEL if all(name.startswith(PARALLEL) for name in names) else None
    return next((outer for outer in OUTER if all(n.startswith(outer) for n in names)), None)


def align_names(names: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """Add or strip the prefix of a model's body, or strip one that all names have, where that fits.

    Args:
        names: Names in a file (`h.0.attn.c_attn.weight`).
        wanted: Names of the other model (`transformer.h.0.attn.c_attn.weight`).

    Returns:
        The new name of each; its own where no prefix makes more of them fit.
    """
    known = set(wanted)
    best = {name: name for name in names}
    most = sum(name in known for name in names)
    for body in BODIES:
        for stripped in (True, False):
            renamed = {
                name: name
                if name in known
                else name.removeprefix(body)
                if stripped
                else body + name
                for name in names
            }
            fitting = sum(name in known for name in renamed.values())
            if fitting > most and len(set(renamed.values())) == len(renamed):
                best, most = renamed, fitting
    # what holds the model in somebody's program (`student.`)
    first = min(names, default="").split(".")
    for depth in range(1, len(first)):
        prefix = ".".join(first[:depth]) + "."
        if not all(name.startswith(prefix) for name in names):
            break
        renamed = {name: name.removeprefix(prefix) for name in names}
        fitting = sum(name in known for name in renamed.values())
        if fitting > most:
            best, most = renamed, fitting
    # a model that sees images calls its text model so, in the middle of a name
    inner = {name: name.replace(".language_model.", ".") for name in names}
    if sum(name in known for name in inner.values()) > most:
        return inner
    return best
