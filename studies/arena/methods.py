"""Methods that recommend a mixture of a pool within a budget, the new and those it is compared with.

Each buys runs of the pool, pays for training and scoring in units (a run of length 1), and recommends a
mixture, natural for "stay". Gains are in the utility's standard deviations at four units.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pooled import SCORING, TARGET, Pooled, cost
from worlds import LENGTHS, OWNER, UNIT, Utility

from mixopt import Metric, Mixture, Score, Trial, Trials, fit
from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.optimization.acquisition import value_of_runs
from mixopt.optimization.decision import TIE, decide
from mixopt.pipeline.budget import ENOUGH_MISSES
from mixopt.surrogates.gain_model import GainModel, GainPosterior, GainPrior, Mixtures, Runs

ONE = LENGTHS[3]
CONSIDERED = 12


@dataclass(frozen=True)
class Advice:
    """What a method says.

    Attributes:
        name: Mixture of the pool; `natural` to stay.
        mean: Expected gain at four units, or NaN where the method says none.
        sd: Its standard deviation.
        spent: Units.
    """

    name: str
    mean: float = np.nan
    sd: float = np.nan
    spent: float = 0.0


@dataclass(frozen=True)
class Rule:
    """How a budget is spent.

    Attributes:
        least: Value of a run in standard deviations that is too little to go on.
        misses: Choices in turn that promise less, after which nothing more is bought. They are bought
            themselves; with 0 the first one is not.
        natural_seeds: Runs of natural before anything is bought.
        confirmation: Seeds of two mixtures for which units are kept, at most half of the budget beside
            experts. What they would measure is not replayed: a pool has few seeds.
    """

    least: float = 1e-3
    misses: int = 0
    natural_seeds: int = 0
    confirmation: int = 0

    def keep(self, left: float) -> float:
        """Return the units kept for the confirmation, of those that are left beside experts."""
        for length in (LENGTHS[5], LENGTHS[3]):
            units = 2 * self.confirmation * cost(length)
            if units <= left / 2:
                return units
        return 0.0


PLAIN = Rule()
SHIPPED = Rule(TIE, ENOUGH_MISSES, NATURAL_SEEDS)
"""The rule of `mixopt/pipeline/budget.py`, without its confirmation."""
CONFIRMED = Rule(TIE, ENOUGH_MISSES, NATURAL_SEEDS, 3)
"""The same with its default confirmation."""
Method = Callable[[Pooled, Utility, float, np.random.Generator], Advice]


def stay(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
    return Advice("natural")


def uniform(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
    return Advice("uniform")


def heuristic(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
    """Half natural, half what resembles the target: the mixture of the pool nearest to it."""
    aim = np.zeros(len(pool.natural))
    for name, weight in utility.weights.items():
        domain = OWNER[name]
        if domain in pool.world.natural:
            aim[pool.world.domains.index(domain)] += weight
    aim = pool.natural if not aim.sum() else (aim / aim.sum() + pool.natural) / 2
    return Advice(nearest(pool, aim))


def nearest(pool: Pooled, aim: np.ndarray) -> str:
    return pool.names[int(np.linalg.norm(np.sqrt(pool.ratios) - np.sqrt(aim), axis=1).argmin())]


def buy_random(pool: Pooled, budget: float, rng: np.random.Generator) -> list[str]:
    """Natural and random other runs of one unit, as many as the budget pays for."""
    count = int(budget // cost(ONE))
    others = rng.permutation(pool.names[1:])[: max(0, count - 1)]
    return ["natural", *others.tolist()]


def surrogate(kind: str) -> Method:
    """Return the method that fits a surrogate to real runs of one unit and takes its best mixture."""

    def advise(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
        bought = buy_random(pool, budget, rng)
        spent = len(bought) * cost(ONE)
        gains = np.stack([pool.gains[name, 0, ONE] for name in bought])
        if len(bought) < 6:
            best = int(pool.value(utility, gains).argmax())
            return Advice(bought[best], spent=spent)
        rows = pool.combinations(utility)
        domains = pool.world.domains
        trials = Trials(
            [Trial(str(i), Mixture.from_vector(domains, pool.world.compositions[name]),
                   {f"u{c}": Score(float(v)) for c, v in enumerate(rows @ g)})
             for i, (name, g) in enumerate(zip(bought, gains, strict=True))],
            [Metric(f"u{c}", "higher") for c in range(len(rows))], domains,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = fit(trials, surrogates=kind, target="average", seed=0)
        predicted = fitted.predict(pool.ratios)[0].min(axis=1)
        return Advice(pool.names[int(predicted.argmax())], spent=spent)

    return advise


def best_observed(
    pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator
) -> Advice:
    """The best of random real runs of one unit."""
    bought = buy_random(pool, budget, rng)
    gains = np.stack([pool.gains[name, 0, ONE] for name in bought])
    return Advice(bought[int(pool.value(utility, gains).argmax())], spent=len(bought) * cost(ONE))


def ensemble(tokens: int, gamma: float = 0.6) -> Method:
    """Return the method that takes the best ensemble of pure experts of some tokens."""

    def advise(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
        values = pool.value(utility, pool.ensemble_gains(tokens, gamma))
        spent = len(pool.natural) * cost(tokens)
        return Advice(pool.names[int(values.argmax())], spent=spent)

    return advise


def merges(tokens: int, gamma: float) -> Method:
    """Return the method that merges pure experts at every mixture of the pool and takes the best merge.

    MergeMix scores as many merges and fits LightGBM to them; here the surrogate makes no error.
    """

    def advise(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
        values = pool.value(utility, pool.merge_gains(tokens, gamma))
        spent = len(pool.natural) * tokens / UNIT + len(pool.names) * SCORING
        return Advice(pool.names[int(values.argmax())], spent=spent)

    return advise


def gain_model(pool: Pooled, prior: GainPrior, tokens: int) -> GainModel:
    return GainModel(
        prior, pool.natural, float(tokens), pool.spreads, pool.capability, pool.noise_sd
    )


def observe(pool: Pooled, bought: list[tuple[str, int, int]], gains: np.ndarray) -> Runs:
    """Return runs (name, seed, tokens) as observations."""
    index = [pool.names.index(name) for name, _, _ in bought]
    return Runs(
        pool.ratios[index], np.array([tokens for _, _, tokens in bought], float), gains[index],
        np.stack([pool.gains[run] for run in bought]), np.array([seed for _, seed, _ in bought]),
    )  # fmt: skip


def posterior(prior: GainPrior, tokens: int, gamma: float = 0.6, rule: Rule = PLAIN) -> Method:
    """Return the method of mixopt: ensembles, then runs where they are worth most, then a decision."""

    def advise(pool: Pooled, utility: Utility, budget: float, rng: np.random.Generator) -> Advice:
        model = gain_model(pool, prior, tokens)
        gains = pool.ensemble_gains(tokens, gamma)
        spent = len(pool.natural) * cost(tokens)
        asked = Mixtures(pool.ratios, np.full(len(pool.names), float(TARGET)), gains)
        rows = pool.combinations(utility)
        bought: list[tuple[str, int, int]] = []
        # a budget below natural's first runs is spent on the experts alone
        first = range(rule.natural_seeds if spent + rule.natural_seeds * cost(ONE) <= budget else 0)
        naturals = dict.fromkeys(first, ONE)
        kept, misses = rule.keep(budget - spent), 0
        spent += kept + len(naturals) * cost(ONE)
        while True:
            known = model.condition(observe(pool, bought, gains) if bought else None)
            if misses and misses >= rule.misses:
                break
            options = affordable(pool, known, asked, rows, bought, naturals, budget - spent)
            if not options:
                break
            places = [pool.names.index(name) for name, *_ in options]
            lengths = np.array([float(option[2]) for option in options])
            at = Mixtures(asked.ratios[places], lengths, gains[places])
            values = value_of_runs(known, asked, at, rows)
            worth = values / np.array([option[3] for option in options])
            name, seed, length, price = options[int(worth.argmax())]
            least = values[int(worth.argmax())] if rule is PLAIN else values.max()
            misses = 0 if least > rule.least else misses + 1
            if misses and not rule.misses:
                break
            naturals[seed] = max(naturals.get(seed, 0), length)
            bought.append((name, seed, length))
            spent += price
        draws = known.draw(asked, rows, 2000, rng).min(axis=2)
        trained = np.stack([pool.natural, *(pool.world.compositions[n] for n, _, _ in bought)])
        roots = np.sqrt(pool.ratios)[:, None] - np.sqrt(trained)[None]
        choice = decide(draws[:, 1:], np.linalg.norm(roots, axis=2).min(axis=1)[1:])
        place = choice.candidate + 1
        mean, sd = float(draws[:, place].mean()), float(draws[:, place].std())
        if not choice.moves:
            return Advice("natural", spent=spent)
        return Advice(pool.names[place], mean, sd, spent)

    return advise


def affordable(
    pool: Pooled,
    known: GainPosterior,
    asked: Mixtures,
    rows: np.ndarray,
    bought: list[tuple[str, int, int]],
    naturals: dict[int, int],
    left: float,
) -> list[tuple[str, int, int, float]]:
    """Return the runs that can be paid for: name, seed, tokens and price."""
    mean, covariance = known.gains(asked, rows)
    expected = mean.min(axis=1)
    sd = np.sqrt(np.maximum(np.einsum("iaia->ia", covariance), 0.0)).max(axis=1)
    plausible = np.argsort(-(expected + sd), kind="stable")[:CONSIDERED]
    options = []
    for place in plausible:
        name = pool.names[place]
        if name == "natural":
            continue
        for length in (LENGTHS[3], LENGTHS[5]):
            done = [seed for n, seed, tokens in bought if n == name and tokens >= length]
            seeds = [seed for seed in pool.seeds(name) if seed not in done]
            if not seeds:
                continue
            seed = seeds[0]
            price = cost(length)
            paid = naturals.get(seed, 0)
            if length > paid:
                price += (length - paid) / UNIT + SCORING
            if price <= left:
                options.append((name, seed, length, price))
    return options
