import pytest
import torch
from merging_for_tests import save_tensors

from mixopt.merging import streamed_merge
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import FullExpert
from mixopt.merging.merge import merge_tensor
from mixopt.merging.streamed_merge import PlannedTensor, StreamedMerge

WEIGHTS = [0.5, 0.0, 0.3]


def opened(tmp_path, shape, dtypes):
    folders = []
    for seed, dtype in enumerate(dtypes):
        tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        save_tensors(tmp_path / f"{seed}", {"w": tensor})
        folders.append(Checkpoint(tmp_path / f"{seed}"))
    return folders


def merged(checkpoints, dtype):
    base, *experts = checkpoints
    planned = PlannedTensor("w", base.shape("w"), base.dtype("w"), dtype, "w")
    merge = StreamedMerge(base, [FullExpert(e) for e in experts], WEIGHTS[: len(experts)])
    pieces = [piece.reshape(-1).clone() for piece in merge.pieces(planned)]
    return pieces, merge


@pytest.mark.parametrize("shape", [(), (7,), (37, 53), (3, 5, 41), (0, 4)])
def test_pieces_are_the_merge_of_whole_tensors_to_the_last_bit(tmp_path, monkeypatch, shape):
    half, full = torch.bfloat16, torch.float32
    checkpoints = opened(tmp_path, shape, [half, half, full, torch.float16])
    whole = [checkpoint.read("w") for checkpoint in checkpoints]
    base = whole[0].float()
    wanted = merge_tensor(base, [w.float() - base for w in whole[1:]], WEIGHTS)
    one, merge = merged(checkpoints, half)
    monkeypatch.setattr(streamed_merge, "SUMMED", 64)
    monkeypatch.setattr(streamed_merge, "READ_BYTES", 2000)
    many, again = merged(checkpoints, half)
    assert len(many) >= len(one)
    for pieces in (one, many):
        assert torch.equal(
            torch.cat([torch.empty(0, dtype=half), *pieces]).view(shape), wanted.to(half)
        )
    assert again.step_sizes.compute() == pytest.approx(merge.step_sizes.compute(), rel=1e-5)


def test_finite_numbers_whose_sum_is_not_are_written(tmp_path):
    checkpoints = []
    for name, value in (("base", 2e38), ("expert", 3e38)):
        save_tensors(tmp_path / name, {"w": torch.full((4, 4), value)})
        checkpoints.append(Checkpoint(tmp_path / name))
    pieces, _ = merged(checkpoints, torch.float32)
    assert torch.cat(pieces).tolist() == pytest.approx([2.5e38] * 16)


def test_files_are_unmapped_within_a_tensor(tmp_path, monkeypatch):
    checkpoints = opened(tmp_path, (64, 64), [torch.float32] * 3)
    released = []
    monkeypatch.setattr(Checkpoint, "release", lambda self: released.append(self.folder.name))
    monkeypatch.setattr(streamed_merge, "MAPPED_BYTES", 3 * 4096)
    merged(checkpoints, torch.float32)
    assert released == ["0", "1", "2"] * 4
