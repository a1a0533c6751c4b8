"""A table of runs over three domains whose scores are known functions of the ratios."""

import numpy as np

from mixopt import Metric, Mixture, Score, Trial, Trials

METRICS = [Metric("loss", "lower", "x"), Metric("acc", "higher", "y")]
DOMAINS = ("a", "b", "c")


def truth(ratios):
    loss = -np.log(ratios[:, 0] + 0.05) - 0.5 * np.log(ratios[:, 1] + 0.05)
    return np.stack([loss, np.sqrt(ratios[:, 2])], axis=1)


def table(n, kind, noise=0.0, seed=0, prefix="t"):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(3), n)
    values = truth(ratios) + noise * np.random.default_rng(seed + 100).normal(size=(n, 2))
    return Trials(
        [
            Trial(f"{prefix}{i}", Mixture(dict(zip(DOMAINS, row.tolist(), strict=True))),
                  {m.name: Score(float(v)) for m, v in zip(METRICS, scores, strict=True)},
                  kind=kind, tokens=1000, flops=1.0)
            for i, (row, scores) in enumerate(zip(ratios, values, strict=True))
        ],
        METRICS,
        DOMAINS,
    )  # fmt: skip
