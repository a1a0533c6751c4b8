import pytest

from mixopt.io.run_metadata import is_run_metadata


@pytest.mark.parametrize(
    "name",
    ["eval_runtime", "eval/runtime", "eval_web_runtime", "train_runtime", "samples_per_second",
     "eval_web_samples_per_second", "eval/steps_per_second", "train/learning_rate", "learning_rate",
     "train/grad_norm", "total_flos", "epoch", "train/epoch", "n_params", "train/global_step",
     "system/gpu_0_utilization_percentage", "system.gpu.0.temp", "_step", "_runtime", "_timestamp",
     "eval/loss__MIN", "eval/loss__MAX", "Runtime", "lr",
     # Megatron, nanotron, OLMo, Composer, torchtitan, TRL, Lightning, Ray Tune
     "iteration-time", "grad-norm", "learning-rate", "params-norm", "batch-size", "consumed-tokens",
     "tokens_per_sec_per_gpu", "model_tflops_per_gpu", "elapsed_time_per_iteration_ms",
     "optim/learning_rate_group0", "optim/total_grad_norm", "throughput/device/tokens_per_second",
     "time/batch", "wall_clock/train", "lr-DecoupledAdamW/group0", "memory/max_active(GiB)",
     "throughput(tps)", "mfu(%)", "time_metrics/end_to_end(s)", "train/num_tokens", "eval/num_tokens",
     "lr-AdamW", "time_this_iter_s", "training_iteration", "pid"],
)  # fmt: skip
def test_what_trainers_and_trackers_write_about_a_run(name):
    assert is_run_metadata(name)


@pytest.mark.parametrize(
    "name",
    ["eval/loss", "train/loss", "loss", "acc", "step_game_acc", "web", "seeds", "epochal", "lrs",
     "multistep_arithmetic", "timeqa/acc", "memory", "lm loss validation", "mfu_acc", "times/loss",
     "ratio/web", "system", "runtime_errors_acc"],
)  # fmt: skip
def test_metrics_and_domains_are_not(name):
    assert not is_run_metadata(name)
