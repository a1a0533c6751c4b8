from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from merging_for_tests import choices, texts

from mixopt.evaluation import prefix_batching
from mixopt.evaluation.prefix_batching import PackedSequence, make_batches, make_mask, pack_requests
from mixopt.evaluation.tasks.base import Request


def test_choices_of_one_prompt_share_it_and_others_do_not():
    requests = [*choices(borders=False), *texts(), Request([0, 1], [5]), Request([0, 2], [5])]
    rows = pack_requests(requests, shared=True)
    assert [len(row.branches) for row in rows] == [4] * 6 + [1] * 7
    assert rows[0].prefix == tuple(requests[0].context)
    assert all(len(row.branches) == 1 for row in pack_requests(requests, shared=False))
    fed = sum(row.length for row in rows[:6])
    assert fed < 0.6 * sum(row.length for row in pack_requests(requests[:24], shared=False))


def test_contexts_that_differ_at_their_border_share_what_they_have_in_common():
    prompt = [*range(1, 10)]
    requests = [Request([*prompt, 6], [9, 8]), Request(prompt, [6, 7])]
    (row,) = pack_requests(requests, shared=True)
    assert row.prefix == tuple(prompt)
    assert row.branches == ((6, 9, 8), (6, 7))
    assert row.length == 9 + 2 + 1


def test_a_prefix_too_short_to_pay_is_not_shared():
    assert len(pack_requests(texts(), shared=True)) == 5  # all begin with the separator


def test_questions_behind_one_long_instruction_stay_apart():
    instruction = list(range(1, 60))
    requests = [
        Request([*instruction, *question], [choice])
        for question in ([100] * 9, [101] * 9)
        for choice in (7, 8)
    ]
    assert [len(row.branches) for row in pack_requests(requests, shared=True)] == [2, 2]


def test_many_requests_behind_one_prompt_are_divided():
    """As perplexity after a common instruction has them: one sequence of all would be 9,508 long."""
    rng = np.random.default_rng(0)
    requests = [Request(list(range(1, 9)), rng.integers(1, 300, 20).tolist()) for _ in range(500)]
    rows = pack_requests(requests, shared=True)
    assert [index for row in rows for index in row.requests] == list(range(500))
    assert {row.prefix for row in rows} == {tuple(range(1, 9))}
    lengths = [row.length for row in rows]
    assert max(lengths) <= prefix_batching.PACKED_TOKENS
    assert (
        min(lengths[:-1]) > prefix_batching.PACKED_TOKENS - 20
    )  # no more sequences than necessary
    few = pack_requests(requests, shared=True, most_targets=70)
    assert {len(row.branches) for row in few[:-1]} == {3}
    sizes = np.cumsum([0, *(len(r.target) for r in requests)])
    batches = make_batches(rows, requests, sizes, most_tokens=9000, most_targets=9000)
    places = np.concatenate([batch.places for batch in batches])
    assert sorted(places.tolist()) == list(range(sizes[-1]))


def test_a_long_prompt_is_computed_once_where_its_mask_fits(monkeypatch):
    prompt = list(range(1, 60))
    requests = [Request(prompt, [choice] * 10) for choice in range(4)]
    monkeypatch.setattr(prefix_batching, "PACKED_TOKENS", 64)
    (row,) = pack_requests(requests, shared=True, most_targets=5)
    assert row.length == 59 + 4 * 9
    monkeypatch.setattr(prefix_batching, "MASK_CELLS", (59 + 2 * 9) ** 2)
    assert [len(row.branches) for row in pack_requests(requests, shared=True)] == [2, 2]


def test_a_branched_row_by_hand():
    requests = [Request([1, 2], [3, 4]), Request([1, 2], [5, 6, 7])]
    rows = [PackedSequence((1, 2), ((3, 4), (5, 6, 7)), (0, 1))]
    (batch,) = make_batches(rows, requests, np.array([0, 2, 5]), most_tokens=99, most_targets=99)
    assert batch.tokens.tolist() == [[1, 2, 3, 5, 6]]
    assert batch.positions.tolist() == [[0, 1, 2, 2, 3]]
    assert batch.at.tolist() == [1, 2, 1, 3, 4]
    assert batch.targets.tolist() == [3, 4, 5, 6, 7]
    assert batch.places.tolist() == [0, 1, 2, 3, 4]
    seen = make_mask(batch.owner)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def cost(lengths, borders, pass_tokens):
    parts = pairwise([0, *borders, len(lengths)])
    return sum(pass_tokens + (stop - start) * lengths[start] for start, stop in parts)


@pytest.mark.parametrize("pass_tokens", [0, 7, 60, 500])
def test_batches_cost_least(pass_tokens):
    requests = [Request(list(range(n)), [1]) for n in (50, 48, 47, 30, 29, 29, 12, 11, 3, 3)]
    rows = pack_requests(requests, shared=False)
    batches = make_batches(
        rows, requests, np.arange(11), most_tokens=150, most_targets=99, pass_tokens=pass_tokens
    )
    lengths = sorted((row.length for row in rows), reverse=True)
    ways = (borders for k in range(10) for borders in combinations(range(1, 10), k))
    allowed = (
        borders
        for borders in ways
        if all(
            (stop - start) * lengths[start] <= 150 for start, stop in pairwise([0, *borders, 10])
        )
    )
    least = min(cost(lengths, borders, pass_tokens) for borders in allowed)
    assert sum(pass_tokens + batch.tokens.numel() for batch in batches) == least


def test_every_target_has_one_place_and_batches_keep_their_limits():
    requests = [*choices(1), *texts(1)]
    sizes = np.cumsum([0, *(len(r.target) for r in requests)])
    rows = pack_requests(requests, shared=True)
    batches = make_batches(rows, requests, sizes, most_tokens=90, most_targets=40, pass_tokens=30)
    places = np.concatenate([batch.places for batch in batches])
    assert sorted(places.tolist()) == list(range(sizes[-1]))
    for batch in batches:
        assert batch.tokens.numel() <= 90 or len(batch.tokens) == 1
        assert len(batch.targets) <= 40 or len(batch.tokens) == 1
        if batch.owner is not None:
            assert (
                make_mask(batch.owner).diagonal(dim1=-2, dim2=-1).all()
            )  # padding attends to something
    assert torch.cat([batch.targets for batch in batches]).tolist() != []
