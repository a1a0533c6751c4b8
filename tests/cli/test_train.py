def test_a_second_call_finds_the_experts(again):
    assert "expert" in again("train")
