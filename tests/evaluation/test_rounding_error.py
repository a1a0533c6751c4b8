import pytest
import torch

from mixopt.evaluation.rounding_error import is_rounding_error


@pytest.mark.parametrize(
    ("differences", "dtype", "explained"),
    [
        ([0.0, 9e-4], torch.float32, True),
        ([0.0, 2e-3], torch.float32, False),
        ([0.0, 0.0, float("nan")], torch.float32, False),
        ([0.0, 0.09], torch.bfloat16, True),
        ([0.0, 0.11], torch.bfloat16, False),
    ],
)
def test_single_tokens_count_in_full_precision_and_the_mean_in_half(differences, dtype, explained):
    assert is_rounding_error(torch.tensor(differences), dtype) is explained
