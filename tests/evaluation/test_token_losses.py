import torch

from mixopt.evaluation.token_losses import PIECE, token_losses


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
