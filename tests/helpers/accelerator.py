"""An accelerator that is not there: tensors on another device, whose values are computed on the CPU.

A CPU build of torch has no CUDA tensors with gradients, not even fake ones. It has a device type `lazy`
without kernels; tensors on it are given values here. An operation on tensors of two devices fails, as
on a GPU, and so does reading values from the wrong side (`numpy`).
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = "lazy"
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
WITH_INDICES = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default,
                torch.ops.aten.index_put.default)  # fmt: skip
"""Operations that take indices from the CPU on a GPU too."""


class Elsewhere(torch.Tensor):
    """A tensor on `DEVICE`; `elem` has its values on the CPU."""

    @staticmethod
    def __new__(cls, elem):
        return torch.Tensor._make_wrapper_subclass(
            cls, elem.size(), strides=elem.stride(), storage_offset=elem.storage_offset(),
            dtype=elem.dtype, layout=elem.layout, device=DEVICE,
        )  # fmt: skip

    def __init__(self, elem):
        self.elem = elem

    def __repr__(self):
        return f"Elsewhere({self.elem})"

    def tolist(self):  # brings values back on every device; torch refuses it for subclasses
        return self.elem.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


class Accelerator(TorchDispatchMode):
    """Inside it, `DEVICE` is a device like others."""

    def __enter__(self):
        # torch.tensor makes a tensor on the CPU first, and moves it by an operation that is seen here
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(self._before)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._can_decompose():  # in inference mode, operations arrive that are made of others
            with self:
                found = func.decompose(*args, **(kwargs or {}))
            if found is not NotImplemented:
                return found
        return _compute(func, args, kwargs or {})


def _compute(func, args, kwargs):
    inputs, _ = tree_flatten((args, kwargs))
    there = any(isinstance(value, Elsewhere) for value in inputs)
    here = [v for v in inputs if isinstance(v, torch.Tensor) and not isinstance(v, Elsewhere)]
    if there and func not in COPIES + WITH_INDICES:
        for value in here:  # numbers may come from the CPU
            assert value.dim() == 0, f"{func} on a tensor of {DEVICE} and one of the CPU"
    asked = kwargs.get("device")
    if asked is not None and torch.device(asked).type == DEVICE:
        own = dict(kwargs, device="cpu")
    else:
        own = kwargs
    plain = tree_map_only(Elsewhere, lambda tensor: tensor.elem, (args, own))
    out = func(*plain[0], **plain[1])
    placed = torch.device(asked).type == DEVICE if asked is not None else there
    if func is torch.ops.aten.copy_.default:
        return args[0]
    if placed:
        out = tree_map_only(torch.Tensor, Elsewhere, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there and placed else out
