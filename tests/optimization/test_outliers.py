import numpy as np

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.optimization.outliers import describe_outliers, describe_outlying_trials


def losses(n=12):
    return 2.5 + 0.1 * np.random.default_rng(0).standard_normal(n)


def test_a_run_with_tripled_losses_is_named():
    values = losses()
    values[4] *= 3
    (sentence,) = describe_outliers({"loss": values}, [f"r{i}" for i in range(12)])
    assert sentence.startswith("1 of 12 runs lie far from all others (r4: loss ")
    assert "leave them out" in sentence


def test_ordinary_runs_are_not():
    assert describe_outliers({"loss": losses()}, [f"r{i}" for i in range(12)]) == []
    few = [2.0, 2.1, 9.0, np.nan]
    assert describe_outliers({"loss": few}, "abcd") == []
    assert describe_outliers({"equal": [1.0] * 9 + [2.0]}, [str(i) for i in range(10)]) == []


def test_fidelities_are_compared_each_with_itself():
    def trials(level, shift, spoiled=()):
        return [
            Trial(f"{level}{i}", Mixture({"a": 1.0}),
                  {"loss": Score(float((value + shift) * (3 if i in spoiled else 1)))}, fidelity=level)
            for i, value in enumerate(losses())
        ]  # fmt: skip

    both = [*trials("1M", 3.0), *trials("1B", 0.0)]
    assert describe_outlying_trials(Trials(both, [Metric("loss")], ["a"])) == []
    both = [*trials("1M", 3.0), *trials("1B", 0.0, spoiled=(2,))]
    (sentence,) = describe_outlying_trials(Trials(both, [Metric("loss")], ["a"]))
    assert "(1B2: loss" in sentence
