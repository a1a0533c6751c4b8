"""The pool of a world as arrays: real gains by mixture, seed and tokens, and the experts' ensembles."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from worlds import CAPABILITIES, LENGTHS, UNIT, Utility, World

POOL = Path(__file__).parent / "pool"
TARGET = LENGTHS[-1]
SCORING = 0.13
"""Units that scoring a model costs: 92,000 tokens forward, where a unit is 230,400 trained."""
DRAWS = 64
GROWTH = 3.58
"""Spread of real gains at four units ÷ that of ensembles of 19 steps, as the prior had it when worlds A
and B were trained (4.0 is the median over benchmarks in A). It fixes the unit of all results."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """What is known of a world.

    Attributes:
        world: The world.
        part: Metrics that count: of whole `item`s or of the `answer` alone.
    """

    world: World
    part: str = "item"

    @cached_property
    def frame(self) -> pd.DataFrame:
        return pd.read_csv(POOL / self.world.name / "runs.csv").set_index(["run", "seed", "tokens"])

    @cached_property
    def metrics(self) -> list[str]:
        return [f"{name}.{self.part}" for names in CAPABILITIES.values() for name in names]

    @cached_property
    def capability(self) -> np.ndarray:
        """Number of each metric's capability (`m`)."""
        return np.repeat(np.arange(len(CAPABILITIES)), [len(n) for n in CAPABILITIES.values()])

    @cached_property
    def names(self) -> list[str]:
        """Mixtures that were trained with seed 0, natural first."""
        trained = {run for run, seed, tokens in self.frame.index if seed == 0 and tokens == TARGET}
        return [name for name in self.world.compositions if name in trained]

    @cached_property
    def ratios(self) -> np.ndarray:
        """Ratios of the mixtures (`q x d`)."""
        return np.stack([self.world.compositions[name] for name in self.names])

    @property
    def natural(self) -> np.ndarray:
        return self.ratios[0]

    def seeds(self, name: str) -> list[int]:
        return [seed for run, seed, tokens in self.frame.index if run == name and tokens == TARGET]

    def gain(self, name: str, seed: int, tokens: int) -> np.ndarray:
        """Return the gain over natural with the same seed, in units of the spread (`m`)."""
        table = self.frame[self.metrics]
        lost = table.loc["natural", seed, tokens] - table.loc[name, seed, tokens]
        return lost.to_numpy() / self.spreads

    @cached_property
    def gains(self) -> dict[tuple[str, int, int], np.ndarray]:
        return {
            (name, seed, tokens): self.gain(name, seed, tokens)
            for name in self.names
            for seed in self.seeds(name)
            for tokens in LENGTHS
        }

    def truth(self, seeds: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
        """Return the mean gain at the target over the given seeds, where trained (`q x m`)."""
        rows = []
        for name in self.names:
            mine = [s for s in self.seeds(name) if s in seeds] or self.seeds(name)
            rows.append(np.mean([self.gains[name, seed, TARGET] for seed in mine], axis=0))
        return np.stack(rows)

    @cached_property
    def noise_sd(self) -> np.ndarray:
        """Standard deviation of the paired difference of one seed at the target (`m`)."""
        squares, count = np.zeros(len(self.metrics)), 0
        for name in self.names[1:]:
            seeds = self.seeds(name)
            if len(seeds) > 1:
                rows = np.stack([self.gains[name, seed, TARGET] for seed in seeds])
                squares += rows.var(axis=0, ddof=1) * (len(seeds) - 1)
                count += len(seeds) - 1
        if not count:
            # seeds of natural alone: an upper limit, since pairing removes a part
            own = self.frame[self.metrics].loc["natural"].xs(TARGET, level="tokens")
            squares, count = (
                2 * own.var(ddof=1).to_numpy() / self.spreads**2 * (len(own) - 1),
                len(own) - 1,
            )
        pooled = squares / count
        # shrunk towards the mean over metrics: there are few seeds
        weight = count / (count + 10)
        return np.sqrt(weight * pooled + (1 - weight) * pooled.mean())

    def error(self, utility: Utility, name: str) -> float:
        """Return the standard error of a mixture's true utility, from the noise of its seeds."""
        rows = self.combinations(utility)
        variances = np.square(rows * self.noise_sd).sum(axis=1)
        return float(np.sqrt(variances.max() / max(1, len(self.seeds(name)))))

    # --- ensembles -----------------------------------------------------------------------------

    @cached_property
    def _ensembles(self) -> pd.DataFrame:
        table = pd.read_csv(POOL / self.world.name / "ensembles.csv")
        return table.set_index(["tokens", "gamma", "mixture"])[self.metrics].sort_index()

    def ensemble_gains(self, tokens: int, gamma: float) -> np.ndarray:
        """Return the ensemble's gain over natural, in units of the spread (`q x m`)."""
        return self._raw_gains(tokens, gamma, self.names) / self.spreads

    def _raw_gains(self, tokens: int, gamma: float, names: list[str]) -> np.ndarray:
        table = self._ensembles.loc[tokens, gamma]
        return table.loc["natural"].to_numpy() - table.loc[names].to_numpy()

    def merge_gains(self, tokens: int, gamma: float) -> np.ndarray:
        """Return the gain of merges of the pure runs over natural (`q x m`), in units of the spread."""
        whole = pd.read_csv(POOL / self.world.name / "merges.csv")
        table = whole.set_index(["tokens", "gamma", "mixture"])[self.metrics].loc[tokens, gamma]
        gains = table.loc["natural"].to_numpy() - table.loc[self.names].to_numpy()
        return np.asarray(gains / self.spreads)

    @cached_property
    def spreads(self) -> np.ndarray:
        """Half the distance of the 16th and 84th percentiles over ensembles around natural (`m`)."""
        draws = [f"draw-{number:02d}" for number in range(DRAWS)]
        low, high = np.percentile(self._raw_gains(LENGTHS[0], 0.6, draws), [16, 84], axis=0)
        return (high - low) / 2

    # --- utilities -----------------------------------------------------------------------------

    def combinations(self, utility: Utility) -> np.ndarray:
        """Return the weights of metrics (`c x m`): one row, or one a capability for the worst.

        Their unit is the spread at four units.
        """
        rows = []
        for number, name in enumerate(CAPABILITIES):
            if name in utility.weights:
                mine = (self.capability == number).astype(float)
                rows.append(mine / mine.sum() * (1 if utility.worst else utility.weights[name]))
        whole = np.stack(rows) if utility.worst else np.sum(rows, axis=0)[None]
        return whole / GROWTH

    def value(self, utility: Utility, gains: np.ndarray) -> np.ndarray:
        """Return the utility of gains (`... x m`), in units of the metrics' spread."""
        return (gains @ self.combinations(utility).T).min(axis=-1)


def cost(tokens: int, scored: int = 1) -> float:
    """Return the units that a run of `tokens` costs, scored at some checkpoints."""
    return tokens / UNIT + SCORING * scored
