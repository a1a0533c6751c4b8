import torch

from mixopt.evaluation.token_losses import CACHED_LOGITS, PIECE, token_losses


def test_pieces_are_the_whole():
    torch.manual_seed(0)
    logits = torch.randn(2 * PIECE + 3, 50)
    targets = torch.randint(50, (len(logits),))
    whole = -logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(token_losses(logits, targets), whole, atol=1e-6)


def test_no_float32_copy_of_all_logits_is_made():
    logits = torch.randn(4 * PIECE, 50, dtype=torch.bfloat16)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
                largest = max(largest, out.numel())
            return out

    with Watch():
        token_losses(logits, torch.zeros(len(logits), dtype=torch.long))
    assert largest == PIECE * 50


def test_a_cpu_takes_as_many_logits_as_its_caches_hold():
    """The losses are those of the whole to the last bit: each row is read by itself."""
    torch.manual_seed(0)
    logits, targets = torch.randn(40, 49_152), torch.randint(49_152, (40,))
    rows = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._log_softmax.default:
                rows.append(len(out))
            return out

    with Watch():
        found = token_losses(logits, targets)
    assert max(rows) * 49_152 <= max(CACHED_LOGITS, 8 * 49_152)
    assert torch.equal(found, torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
