"""Tables of runs whose true losses are known: sparse ones, ones with a rare domain, noisy ones."""

from dataclasses import dataclass

import numpy as np

from mixopt import Mixture, SearchSpace, Trials


@dataclass(eq=False)
class KnownTable:
    """Runs of mixtures (`n x d`) with noisy losses of a known law.

    The law of a loss is (Σ_j worth_j ratio_j^0.7 + 0.02)^−0.35. The noise is given as a share of the
    standard deviation of the true losses over the runs.
    """

    ratios: np.ndarray
    worth: np.ndarray
    natural: np.ndarray
    noise: float
    seed: int

    def __post_init__(self):
        clean = self.truth(self.ratios)
        self.sd = self.noise * clean.std(axis=0)
        rng = np.random.default_rng([self.seed, 7])
        self.scores = clean + self.sd * rng.normal(size=clean.shape)
        self.domains = tuple(f"d{i}" for i in range(self.ratios.shape[1]))

    def truth(self, ratios):
        return (ratios**0.7 @ self.worth.T + 0.02) ** -0.35

    @property
    def trials(self):
        metrics = {f"loss{i}": "lower" for i in range(len(self.worth))}
        return Trials.from_arrays(self.ratios, self.scores, domains=self.domains, metrics=metrics)

    @property
    def space(self):
        return SearchSpace(self.domains, prior=self.natural)

    def gain(self, mixture: Mixture):
        """The true gain over natural, in the unit of the utility."""
        both = np.stack([self.natural, mixture.vector(self.domains)])
        losses = self.truth(both) / self.scores.std(axis=0)
        return float((losses[0] - losses[1]).mean())

    @property
    def std_error(self):
        """The standard error of a gain that three paired runs of both mixtures would measure."""
        own = self.sd / self.scores.std(axis=0)
        return float(np.sqrt(np.square(own).sum()) / len(own) * np.sqrt(2 / 3))


def sparse(d, n, noise, seed, m=2):
    """Each run has a quarter of the domains."""
    rng = np.random.default_rng([seed, 1])
    worth = np.exp(rng.normal(size=(m, d))) / d
    natural = rng.dirichlet(np.full(d, 0.5))
    draws = rng.gamma(1.0, size=(n, d)) * natural**0.5 * (rng.uniform(size=(n, d)) < 0.25)
    draws[draws.sum(axis=1) == 0] = natural
    return KnownTable(draws / draws.sum(axis=1, keepdims=True), worth, natural, noise, seed)


def rare(n, noise, seed):
    """The last of four domains has at most 0.12%, as identity data in instruction mixtures."""
    rng = np.random.default_rng([seed, 2])
    worth = np.array([[1, 0.3, 0.4, 2.0], [0.2, 1, 0.4, 0.1], [0.3, 0.5, 1, 0.1]])
    share = rng.uniform(0, 0.0012, size=(n, 1))
    ratios = np.hstack([rng.dirichlet([4, 3.5, 2], n) * (1 - share), share])
    return KnownTable(ratios, worth, np.array([0.55, 0.2, 0.2494, 0.0006]), noise, seed)


def weak(n, noise, seed, d=6, m=3):
    """Domains are worth nearly the same; with a noise of several, runs show no difference."""
    rng = np.random.default_rng([seed, 3])
    worth = np.exp(0.6 * rng.normal(size=(m, d)))
    ratios = rng.dirichlet(np.full(d, 1.5), n)
    return KnownTable(ratios, worth, rng.dirichlet(np.full(d, 3.0)), noise, seed)
