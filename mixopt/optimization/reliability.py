"""Reliability of benchmarks: whether the items of a benchmark rank candidates better than noise.

The items are halved at random many times. Kendall's tau between the rankings by the two halves is
the statistic of BOSE (arXiv:2503.00812) and MaP (arXiv:2510.09295), used here over candidates
instead of checkpoints. See docs/methods.md, section 2.6.

Shapes: `n` candidates, `i` items.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, norm

from mixopt.mixture import Array

HALVINGS = 25
CHANCE = 0.05  # one-sided level above which a tau may be chance
FEWEST_CANDIDATES = 6
LEAST_TRUST = 0.02  # trust of a benchmark that ranks nothing; above 0 in case there is no other
LEAST_SIGNAL = 0.05  # smallest real variance of differences, as a share of their noise variance
POWER = 0.8  # power with which `items_needed` detects the usual difference


@dataclass(frozen=True)
class Reliability:
    """Agreement of the halves of a benchmark on the candidates.

    Attributes:
        name: The benchmark.
        items: Number of its items.
        tau: Mean of Kendall's tau over halvings.
        whole: Tau between two benchmarks of the full length (Spearman-Brown).
        chance: Tau that two independent rankings exceed in 5% of cases.
        items_needed: Items that would show the usual difference of candidates; 0 if none differ.
    """

    name: str
    items: int
    tau: float
    whole: float
    chance: float
    items_needed: int

    @property
    def is_reliable(self) -> bool:
        """Whether the halves agree better than chance."""
        return self.tau > self.chance

    @property
    def trust(self) -> float:
        """Weight of the benchmark: 1, or `whole` if it may be noise, at least `LEAST_TRUST`."""
        return 1.0 if self.is_reliable else max(self.whole, LEAST_TRUST)

    @property
    def sentence(self) -> str:
        """Warning about a benchmark that may be noise."""
        remedy = f"About {self.items_needed:,} items would make usual differences visible."
        if not self.items_needed:
            remedy = "No two candidates differ on any item; give harder or easier ones."
        elif self.items_needed <= self.items:
            # the mean difference is large, of few pairs
            remedy = "Its items show what sets a few candidates apart; the others are alike on it."
        return (
            f"Benchmark {self.name!r} cannot be told from noise: halves of its {self.items} items "
            f"rank the candidates with a Kendall tau of {self.tau:+.2f} (chance reaches "
            f"{self.chance:+.2f}); it counts {self.trust:.2f} of a benchmark that does. {remedy}"
        )


def measure_reliability(name: str, values: Array, sizes: Array, seed: int = 0) -> Reliability:
    """Measure whether the items of a benchmark rank the candidates.

    The threshold `chance` is for one halving, with the variance 2(2n + 5) / 9n(n − 1) of tau under
    independence. The mean over halvings varies less, so fewer than 5% of noise benchmarks pass.

    Args:
        name: Name of the benchmark.
        values: Item values of the candidates (`n x i`); a score is Σ values ÷ Σ sizes.
        sizes: Sizes of the items (`i`).
        seed: Seed of the halvings.
    """
    n, items = values.shape
    rng = np.random.default_rng(seed)
    taus = []
    for _ in range(HALVINGS):
        order = rng.permutation(items)
        halves = order[: items // 2], order[items // 2 :]
        first, second = (values[:, half].sum(axis=1) / sizes[half].sum() for half in halves)
        # a half on which all candidates are equal ranks none
        equal = np.ptp(first) == 0 or np.ptp(second) == 0
        taus.append(0.0 if equal else float(kendalltau(first, second).statistic))
    tau = float(np.mean(taus))
    chance = float(norm.isf(CHANCE) * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
    whole = 2 * tau / (1 + tau) if tau > -1 else -1.0
    return Reliability(name, items, tau, whole, chance, _items_needed(values, sizes))


def _items_needed(values: Array, sizes: Array) -> int:
    """Items that show the root mean square difference of two candidates.

    Two-sided 95% test with a power of 80%, by the paired standard error over items; 0 if no two
    candidates differ on any item.
    """
    n, items = values.shape
    scores = values.sum(axis=1) / sizes.sum()
    first, second = np.triu_indices(n, 1)
    apart = scores[first] - scores[second]
    gaps = values[first] - values[second] - apart[:, None] * sizes
    errors = items / (items - 1) * np.square(gaps).sum(axis=1) / sizes.sum() ** 2
    noise = float(errors.mean())
    if noise == 0:
        return 0
    # the variance of the differences without that of their noise
    real = max(float(np.square(apart).mean()) - noise, LEAST_SIGNAL * noise)
    wanted = norm.isf(0.025) + norm.ppf(POWER)
    return max(2, int(np.ceil(float(items * noise * wanted**2 / real))))
