import pytest

from mixopt.config.training import TrainingConfig
from mixopt.errors import ConfigError
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.step_law import OptimizerHyperparameters


def test_plan_comes_close_to_the_tokens_asked_for():
    plan = BatchPlan.of(
        TrainingConfig(tokens=100_000),
        OptimizerHyperparameters(1, 2048, ""),
        256,
        1,
        vocabulary=2048,
    )
    assert (plan.sequences_per_step, plan.steps, plan.sequences) == (8, 49, 392)
    asked = TrainingConfig(tokens=100_000, device_batch=2)
    split = BatchPlan.of(asked, OptimizerHyperparameters(1, 2048, ""), 256, 2, vocabulary=2048)
    assert (split.device_batch, split.accumulation, split.sequences_per_step) == (2, 2, 8)


def test_plan_keeps_the_batch_that_is_printed_and_the_logits_in_memory():
    odd = TrainingConfig(tokens=100_000, device_batch=5)
    plan = BatchPlan.of(odd, OptimizerHyperparameters(1, 2048, ""), 256, 1, vocabulary=2048)
    assert (plan.device_batch, plan.accumulation, plan.sequences_per_step) == (4, 2, 8)
    large = BatchPlan.of(
        TrainingConfig(tokens=10**9),
        OptimizerHyperparameters(1, 80_000, ""),
        2048,
        1,
        vocabulary=150_000,
    )
    assert large.device_batch * 2048 * 150_000 * 4 <= 2 << 30
    assert large.device_batch * large.accumulation == 39


@pytest.mark.parametrize(("batch", "most", "devices", "expected"), [
    (127, 64, 1, (63, 2, 126)),  # a prime number
    (9, 5, 1, (3, 3, 9)),  # as many as asked for, in one pass more
    (7, 2, 1, (1, 7, 7)),
    (127, 64, 2, (63, 1, 126)),
    (127, 64, 6, (21, 1, 126)),
    (40, 8, 4, (5, 2, 40)),
])  # fmt: skip
def test_the_batch_is_the_closest_that_equal_passes_make(batch, most, devices, expected):
    config = TrainingConfig(tokens=10**8, device_batch=most)
    step = OptimizerHyperparameters(1, batch * 256, "")
    plan = BatchPlan.of(config, step, 256, devices, vocabulary=2048)
    assert (plan.device_batch, plan.accumulation, plan.sequences_per_step) == expected


def test_the_batch_does_not_depend_on_the_number_of_devices():
    step = OptimizerHyperparameters(1, 15 * 256, "")
    config = TrainingConfig(tokens=10**8)
    alone = BatchPlan.of(config, step, 256, 1, vocabulary=2048)
    for devices in (3, 5, 15):
        plan = BatchPlan.of(config, step, 256, devices, vocabulary=2048)
        assert (plan.sequences_per_step, plan.steps) == (alone.sequences_per_step, alone.steps)
        assert plan.device_batch * plan.accumulation * devices == 15
    with pytest.raises(ConfigError, match=r"4 processes .* 15 sequences.*batch_tokens: 4096"):
        BatchPlan.of(config, step, 256, 4, vocabulary=2048)


def test_runs_of_several_lengths_share_batch_and_warm_up():
    step = OptimizerHyperparameters(1, 2048, "")
    config = TrainingConfig(tokens=100_000, warmup_share=0.1)
    plans = [
        BatchPlan.of(config, step, 256, 1, vocabulary=2048, checkpoints=lengths)
        for lengths in ([25_000], [25_000, 100_000], [100_000, 400_000], ())
    ]
    assert [plan.checkpoints for plan in plans] == [(12,), (12, 49), (49, 195), (49,)]
    assert {plan.sequences_per_step for plan in plans} == {8}
    assert {plan.warmup for plan in plans} == {5}
