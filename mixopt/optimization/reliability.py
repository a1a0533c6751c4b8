"""Reliability: whether a benchmark ranks candidates, or only noise.

Its items are halved at random many times; Kendall's tau between the rankings of the candidates by
one half and by the other says how much of the ranking is the candidates' own (BOSE,
arXiv:2503.00812, and MaP, arXiv:2510.09295, use the same statistic over checkpoints).

Shapes: `n` candidates, `i` items.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, norm

from mixopt.mixture import Array

HALVINGS = 25
CHANCE = 0.05
"""One-sided level above which a tau may be chance."""
FEWEST_CANDIDATES = 6
LEAST_TRUST = 0.02
"""Of a benchmark that ranks nothing: where there is no other, something has to be maximised."""
LEAST_SIGNAL = 0.05
"""Share of their noise to which differences are taken for real at least; less cannot be told."""
POWER = 0.8
"""Chance of seeing a usual difference that enough items should give."""


@dataclass(frozen=True)
class Reliability:
    """How well a benchmark's halves agree on the candidates.

    Attributes:
        name: The benchmark.
        items: How many it has.
        tau: Mean of Kendall's tau over halvings.
        whole: What tau would be between two benchmarks of its full length (Spearman-Brown).
        chance: The tau that two rankings without anything in common reach in 5% of cases.
        items_needed: Items with which a usual difference between candidates would be visible; 0 where
            none differ.
    """

    name: str
    items: int
    tau: float
    whole: float
    chance: float
    items_needed: int

    @property
    def tells(self) -> bool:
        """Whether the halves agree better than chance."""
        return self.tau > self.chance

    @property
    def trust(self) -> float:
        """Weight of the benchmark: 1, or less where it may be noise, and never quite 0."""
        return 1.0 if self.tells else max(self.whole, LEAST_TRUST)

    @property
    def sentence(self) -> str:
        """What a reader should know of a benchmark that may be noise."""
        return (
            f"Benchmark {self.name!r} cannot be told from noise: halves of its {self.items} items "
            f"rank the candidates with a Kendall tau of {self.tau:+.2f} (chance reaches "
            f"{self.chance:+.2f}); it counts {self.trust:.2f} of a benchmark that does. {self._remedy}"
        )

    @property
    def _remedy(self) -> str:
        if not self.items_needed:
            return "No two candidates differ on any item; give harder or easier ones."
        return f"About {self.items_needed:,} items would make usual differences visible."


def measure_reliability(name: str, values: Array, sizes: Array, seed: int = 0) -> Reliability:
    """Whether a benchmark's items rank the candidates.

    The threshold is that of one halving (tau's variance 2(2n + 5) / 9n(n − 1) under chance); the
    mean over halvings varies less, so that fewer benchmarks than `CHANCE` pass by chance.

    Args:
        name: The benchmark's.
        values: Item values of the candidates (`n x i`); a score is Σ values ÷ Σ sizes.
        sizes: Of the items (`i`).
        seed: Of the halvings.
    """
    n, items = values.shape
    rng = np.random.default_rng(seed)
    taus = []
    for _ in range(HALVINGS):
        order = rng.permutation(items)
        halves = order[: items // 2], order[items // 2 :]
        first, second = (values[:, half].sum(axis=1) / sizes[half].sum() for half in halves)
        if np.ptp(first) == 0 or np.ptp(second) == 0:
            taus.append(0.0)  # a half that tells no candidate apart ranks none
        else:
            taus.append(float(kendalltau(first, second).statistic))
    tau = float(np.mean(taus))
    chance = float(norm.isf(CHANCE) * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
    whole = 2 * tau / (1 + tau) if tau > -1 else -1.0
    return Reliability(name, items, tau, whole, chance, _items_needed(values, sizes))


def _items_needed(values: Array, sizes: Array) -> int:
    """Items with which the usual (root mean square) difference of two candidates would be visible.

    Visible: two-sided 95% with a power of 80%, by the paired standard error over items. 0 where no two
    candidates differ on any item, which says nothing of how many would be needed.
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
    # what the differences would be without the noise that is in them
    real = max(float(np.square(apart).mean()) - noise, LEAST_SIGNAL * noise)
    wanted = norm.isf(0.025) + norm.ppf(POWER)
    return max(2, int(np.ceil(float(items * noise * wanted**2 / real))))
