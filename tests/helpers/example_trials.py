"""Tables of runs whose truth is known, shared by the tests of the number wing."""

import numpy as np

from mixopt import Metric, Mixture, Score, Trial, Trials

DOMAINS = ("a", "b", "c", "d")


def true_scores(ratios):
    """Two losses and an accuracy; a helps the first, b the second, c the third."""
    own = -np.log(np.abs(ratios[:, :2]) + 0.05)
    accuracy = 0.3 + 0.4 * np.sqrt(np.abs(ratios[:, 2])) - 0.1 * ratios[:, 3]
    return np.column_stack([own + 2.0, accuracy])


METRICS = (
    Metric("loss_a", "lower", "one"),
    Metric("loss_b", "lower", "one"),
    Metric("acc_c", "higher", "two"),
)


def make_trials(n, *, noise=0.02, seed=0, bias=0.0, std_error=float("nan"), **fields):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(4), size=n)
    scores = true_scores(ratios) * (1 + bias) + bias + noise * rng.normal(size=(n, 3))
    trials = [
        Trial(
            f"t{i}", Mixture.from_vector(DOMAINS, row),
            {m.name: Score(float(v), std_error) for m, v in zip(METRICS, values, strict=True)},
            **fields,
        )
        for i, (row, values) in enumerate(zip(ratios, scores, strict=True))
    ]  # fmt: skip
    return Trials(trials, METRICS, DOMAINS)
