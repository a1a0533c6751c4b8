"""A world where everything is known: a domain is a distribution over tokens, a model its best mixture.

A model trained on p has the token probabilities Σ p_i q_i, so an ensemble is exact and a merge is not.
"""

import json
from dataclasses import replace

import numpy as np

from mixopt.baselines.base import OnlineTraining, Problem
from mixopt.baselines.online import open_weights
from mixopt.baselines.transport import TextSamples
from mixopt.search_limits import Group
from mixopt.search_space import SearchSpace
from mixopt.trial import Metric

DOMAINS = ("web:a", "web:b", "code", "books")
NATURAL = {"web:a": 0.5, "web:b": 0.3, "code": 0.15, "books": 0.05}
METRICS = (
    Metric("code_loss", "lower", own_domain="code"),
    Metric("books_loss", "lower", own_domain="books"),
    Metric("right", "higher"),
)
RUN_TOKENS = 1000
ONLINE_STEPS = 50
READ_EACH_STEP = 37
"""Tokens of benchmarks that scalebio reads at a step."""
EXPERT_TOKENS = 500


class World:
    """Trainer and evaluator in one; `log` holds what was paid for, `memory` what a store would keep."""

    def __init__(self, seed=0, noise=0.0, vocabulary=12):
        rng = np.random.default_rng(seed)
        self.tokens_by_domain = rng.dirichlet(np.full(vocabulary, 0.4), len(DOMAINS)) + 1e-3
        self.tokens_by_domain /= self.tokens_by_domain.sum(axis=1, keepdims=True)
        self.noise, self.run_tokens, self.tokens = noise, RUN_TOKENS, EXPERT_TOKENS * len(DOMAINS)
        self.composition = np.eye(len(DOMAINS))
        self.trained, self.scored, self.memory, self.fail, self.stop_after = [], 0, {}, set(), None
        self.online_tokens, self.stop_online_at = 0, None
        self.refuse, self.refused = lambda row: False, 0

    def measure(self, probabilities):
        code, books = (self.tokens_by_domain[DOMAINS.index(name)] for name in ("code", "books"))
        logs = np.log(probabilities)
        losses = [-(logs @ code), -(logs @ books)]
        return np.stack([*losses, 0.2 + 0.5 * probabilities[:, 3]], axis=1)

    def ensembles(self, weights):
        self.scored += len(weights)
        return self.measure(np.asarray(weights) @ self.tokens_by_domain)

    def merges(self, weights):
        self.scored += len(weights)
        logs = np.asarray(weights) @ np.log(self.tokens_by_domain)
        merged = np.exp(logs)
        return self.measure(merged / merged.sum(axis=1, keepdims=True))

    def train(self, ratios):
        rows = []
        for row in np.asarray(ratios):
            key = row.round(9).tobytes()
            if self.refuse(row):
                self.refused += 1
                rows.append(np.full(len(METRICS), np.nan))
                continue
            if key not in self.memory:
                if self.stop_after is not None and len(self.trained) >= self.stop_after:
                    raise KeyboardInterrupt
                self.trained.append(row)
                rng = np.random.default_rng(len(self.trained))
                found = self.measure((row @ self.tokens_by_domain)[None])[0]
                found = found + self.noise * rng.standard_normal(len(METRICS))
                failed = len(self.trained) in self.fail
                self.memory[key] = np.full(len(METRICS), np.nan) if failed else found
            rows.append(self.memory[key])
        return np.array(rows).reshape(-1, len(METRICS))

    def train_lengths(self, ratios):
        whole = self.train(ratios)
        # half of a run is a little worse, the more the less it has of code
        return (RUN_TOKENS // 2, RUN_TOKENS), np.stack(
            [self.earlier(np.asarray(ratios), whole), whole]
        )

    def earlier(self, ratios, scores):
        return scores + np.array([1, 1, -1]) * 0.02 * (1.5 - ratios[:, 2:3])

    def samples(self):
        """Documents of 40 tokens: of each domain, and of the text that the losses are measured on."""
        rng = np.random.default_rng(7)
        counts = {name: rng.multinomial(40, p, 24) for name, p in
                  zip(DOMAINS, self.tokens_by_domain, strict=True)}  # fmt: skip
        target = [rng.multinomial(40, self.tokens_by_domain[i], 16) for i in (2, 3)]
        features = {name: np.sqrt(rows / 40) for name, rows in counts.items()}
        masses = np.repeat([0.5 / 16, 0.3 / 16], 16)
        return TextSamples(features, np.sqrt(np.vstack(target) / 40), masses)

    def count_validation_tokens(self, training: OnlineTraining):
        return ONLINE_STEPS * READ_EACH_STEP if training.method == "scalebio" else 0

    def train_online(self, training: OnlineTraining):
        """Domains are learnt the more the more they were read; the third is the hardest.

        The state after each step is kept, as a training's checkpoints are.
        """
        weights = open_weights(training, len(DOMAINS), ONLINE_STEPS)
        read, path = np.full(len(DOMAINS), 0.1), []
        key = repr(training)
        if key in self.memory:
            read, path, state = self.memory[key]
            weights.restore(json.loads(state))
        else:
            self.online_tokens += training.tokens
        for step in range(len(path), ONLINE_STEPS):
            if step == self.stop_online_at:
                raise KeyboardInterrupt
            losses = np.array([1.0, 1.0, 3.0, 1.0]) / (1 + read)
            if getattr(weights, "learn_first", False):  # not of scalebio
                weights.update(losses, weights.shares)
            path = [*path, weights.weights]
            if training.method == "scalebio":
                self.online_tokens += training.tokens // ONLINE_STEPS + READ_EACH_STEP
                weights.descend(losses - np.array([0.0, 0.0, 0.1, 0.0]), losses, 1.0)
            else:
                read = read + weights.shares * weights.loss_weights
                if not weights.learn_first:
                    weights.update(losses, weights.shares)
            self.memory[key] = read, path, json.dumps(weights.state())
        return np.array(path)


def limited_space() -> SearchSpace:
    """A bound of every kind: lower, upper, frozen group, divergence."""
    return SearchSpace(
        DOMAINS, prior=NATURAL, lower={"books": 0.02}, upper={"code": 0.6},
        groups={"web": Group(0.2, 0.7)}, max_kl=0.8,
    )  # fmt: skip


def make_problem(world, budget=None, space=None, **options) -> Problem:
    if budget is None:
        budget = world.tokens + 16 * RUN_TOKENS
    space = space or SearchSpace(DOMAINS, prior=NATURAL)
    weights = options.pop("weights", np.array([0.5, 0.3, 0.2]))
    options.setdefault("open_samples", world.samples)
    return Problem(space, METRICS, weights, world, budget, evaluator=world, **options)


def quick(method):
    """The method with fewer starts of a fit and a smaller pool, which take most of the time."""
    small = {"restarts": 3, "pool": 64, "steps": 5}
    fields = getattr(method, "__dataclass_fields__", {})
    return replace(method, **{name: value for name, value in small.items() if name in fields})
