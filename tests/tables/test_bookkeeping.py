import pytest

from mixopt.tables.bookkeeping import is_bookkeeping


@pytest.mark.parametrize(
    "name",
    ["eval_runtime", "eval/runtime", "eval_web_runtime", "train_runtime", "samples_per_second",
     "eval_web_samples_per_second", "eval/steps_per_second", "train/learning_rate", "learning_rate",
     "train/grad_norm", "total_flos", "epoch", "train/epoch", "n_params", "train/global_step",
     "system/gpu_0_utilization_percentage", "system.gpu.0.temp", "_step", "_runtime", "_timestamp",
     "eval/loss__MIN", "eval/loss__MAX", "Runtime", "lr"],
)  # fmt: skip
def test_what_trainers_and_trackers_write_about_a_run(name):
    assert is_bookkeeping(name)


@pytest.mark.parametrize(
    "name",
    ["eval/loss", "train/loss", "loss", "acc", "step_game_acc", "web", "seeds", "epochal", "lrs",
     "multistep_arithmetic", "ratio/web", "system", "runtime_errors_acc"],
)  # fmt: skip
def test_metrics_and_domains_are_not(name):
    assert not is_bookkeeping(name)
