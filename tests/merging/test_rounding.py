import pytest
import torch

from mixopt.merging.rounding import ROUNDED_STEP, describe_rounding


@pytest.mark.parametrize(("step", "least", "most"), [
    (0.3 * ROUNDED_STEP, 0.1, 0.35), (ROUNDED_STEP, 0.4, 0.67), (3 * ROUNDED_STEP, 0.9, 1.05),
])  # fmt: skip
def test_bfloat16_keeps_less_of_a_smaller_step(step, least, most):
    generator = torch.Generator().manual_seed(0)
    base = (0.02 * torch.randn(400_000, generator=generator)).bfloat16().float()
    delta = torch.randn(400_000, generator=generator)
    delta *= step / (1 - step) * base.norm() / delta.norm()
    weight = 1 / 8
    merged = (base + weight * delta).bfloat16().float()
    kept = (merged - base) @ delta / (weight * delta @ delta)
    assert least < float(kept) < most


def test_small_steps_in_half_precision_are_told():
    steps = {"web": 0.05, "code": 0.004}
    assert describe_rounding(steps, torch.float32) is None
    assert describe_rounding({"web": 0.05}, torch.bfloat16) is None
    found = describe_rounding(steps, torch.bfloat16)
    assert "δ = 0.4% (code); set base.dtype: float32" in found
