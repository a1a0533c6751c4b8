import pytest
import torch
from merging_for_tests import texts

from mixopt.evaluation.layerwise.activations import Activations, SweepPlan, _SpilledActivations
from mixopt.evaluation.prefix_batching import Batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spilled_activations_come_back(tmp_path, dtype):
    hidden = torch.randn(2, 5, 4).to(dtype)
    for store in (Activations(), _SpilledActivations(tmp_path)):
        store.put(1, 0, hidden)
        assert torch.equal(store.get(1, 0), hidden)
        assert store.get(1, 0).dtype == dtype


def batches(count, tokens=100):
    empty = torch.zeros(0, dtype=torch.long)
    assert texts()
    return [Batch(torch.zeros(1, tokens, dtype=torch.long), empty, empty, []) for _ in range(count)]


def plan(room, *, candidates=10, read_again=10**12, spills=8):
    return SweepPlan.of(batches(6), candidates, room, 4, read_again, spills)


def test_everything_goes_at_once_where_it_fits():
    told = plan(10 * 6 * 100 * 4)
    assert (len(told.groups), len(told.chunks), told.spilled) == (1, 1, False)


def test_where_reading_again_costs_less_batches_are_divided():
    told = plan(10 * 2 * 100 * 4, read_again=100)
    assert [len(chunk) for chunk in told.chunks] == [2, 2, 2]
    assert len(told.groups) == 1
    assert not told.spilled


def test_where_not_even_one_batch_fits_for_all_candidates_are_divided():
    told = plan(3 * 100 * 4, read_again=100)
    assert [len(group) for group in told.groups] == [3, 3, 3, 1]
    assert [len(chunk) for chunk in told.chunks] == [1] * 6


def test_where_reading_again_costs_more_activations_are_spilled():
    told = plan(10 * 2 * 100 * 4)
    assert told.spilled
    assert (len(told.groups), len(told.chunks)) == (1, 1)
    with told.open_store() as store:
        assert isinstance(store, _SpilledActivations)
