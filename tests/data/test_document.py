from mixopt.config.text import SplitTextConfig
from mixopt.data.document import is_held_out


def test_share_of_groups_is_held_out_and_stays():
    split = SplitTextConfig(heldout_share=0.2)
    sides = [is_held_out(f"file {i}", split) for i in range(5000)]
    assert 0.18 < sum(sides) / 5000 < 0.22
    assert sides == [is_held_out(f"file {i}", split) for i in range(5000)]


def test_a_larger_share_holds_out_what_a_smaller_one_did():
    small, large = SplitTextConfig(heldout_share=0.1), SplitTextConfig(heldout_share=0.3)
    groups = [f"file {i}" for i in range(1000)]
    assert {g for g in groups if is_held_out(g, small)} < {
        g for g in groups if is_held_out(g, large)
    }
