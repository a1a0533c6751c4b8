import numpy as np
import pytest

from mixopt.config.benchmarks import HarnessConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.lm_eval_metrics import choose_metric

pytest.importorskip("lm_eval", reason="mixopt[eval] is not installed")
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the harness and what it loads


class HarnessTask:
    """Has metrics with the functions that the harness sums items up with."""

    def __init__(self, metrics, k=None):
        from lm_eval.api.registry import get_aggregation

        self._functions = {name: get_aggregation(each) for name, each in metrics.items()}
        self._metric_fn_kwargs = {} if k is None else {"pass_at_k": {"k": k}}

    def aggregation(self):
        return self._functions

    def higher_is_better(self):
        return {name: name != "perplexity" for name in self._functions}


def choose(task, metric=None):
    return choose_metric(task, HarnessConfig(name="h", kind="harness", task="t", metric=metric))


def test_means_are_read_as_they_are_and_log_likelihoods_as_losses():
    task = HarnessTask(
        {"acc": "mean", "perplexity": "perplexity", "bits_per_byte": "bits_per_byte"}
    )
    assert choose(task).key == "acc"
    assert choose(task).read([True, 0, 0.5, np.float64(1)]).values.tolist() == [1, 0, 0.5, 1]
    perplexity = choose(task, "perplexity")
    assert not perplexity.higher_is_better
    values = [-1.0, -3.0]
    assert perplexity.read(values).score == np.log(task.aggregation()["perplexity"](values))
    pairs = [(-8.0, 4), (-2.0, 6)]
    bits = choose(task, "bits_per_byte").read(pairs)
    assert bits.score == pytest.approx(task.aggregation()["bits_per_byte"](pairs))


@pytest.mark.parametrize(("metric", "values"), [
    ("acc", [None, 1.0]), ("acc", [(1, 2), (3, 4)]),
    ("bits_per_byte", [1.0, 2.0]), ("perplexity", [None]),
])  # fmt: skip
def test_values_that_are_none_of_an_item(metric, values):
    task = HarnessTask(
        {"acc": "mean", "perplexity": "perplexity", "bits_per_byte": "bits_per_byte"}
    )
    assert choose(task, metric).read(values) is None


@pytest.mark.parametrize("aggregation", ["median", "nanmean", "f1", "bleu", "weighted_perplexity"])
def test_other_ways_to_sum_up_are_refused(aggregation):
    task = HarnessTask({"one": aggregation, "acc": "mean", "acc_norm": "mean"})
    with pytest.raises(DataError, match="'one' of task 't' .* name another, 'acc', 'acc_norm'"):
        choose(task)
    with pytest.raises(DataError, match="choose another task"):
        choose(HarnessTask({"one": aggregation}))
    with pytest.raises(DataError, match="Did you mean 'acc_norm'"):
        choose(task, "acc_nrom")


@pytest.mark.parametrize(
    ("k", "named", "key"),
    [([1], None, "pass@1"), ([1, 10], "pass@10", "pass@10"), (4, "pass_at_k", "pass@4"),
     (None, None, "pass_at_k")],
)  # fmt: skip
def test_pass_at_k_is_found_under_the_keys_of_its_samples(k, named, key):
    assert choose(HarnessTask({"pass_at_k": "mean"}, k), named).key == key
