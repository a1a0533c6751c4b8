"""Ask one method within a study: those of `mixopt.baselines`, mixopt, and three that are here alone.

Here alone are RegMix (LightGBM on random runs, mean of the best simulated mixtures), MergeMix (the same
on 40 merges) and mixopt's surrogate on random runs. All see the same problem: the metrics that choose, a
trainer with a seed, an evaluator of the experts, a budget.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from mixopt import Metric, Mixture, Trials, fit
from mixopt.baselines.base import Need, OnlineTraining, Problem, Recommendation
from mixopt.baselines.registry import open_method, recommend
from mixopt.baselines.swarm import drop_failed, train_swarm
from mixopt.errors import ConfigError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.gains import metrics_that_choose
from mixopt.pipeline.method_problem import StudyEvaluator, StudyTrainer
from mixopt.pipeline.method_search import benchmark_weights, metric_weights
from mixopt.pipeline.online_runs import most_validation_tokens
from mixopt.pipeline.text_samples import collect_samples
from mixopt.study import Study

DRAWS, TOP = 100_000, 100
"""RegMix averages the best mixtures among so many."""
MERGES = 40
LEAST_RUNS = 6
Result = TypeVar("Result")


def predict(
    ratios: np.ndarray, losses: np.ndarray, models: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a surrogate of losses (`n x m`) of mixtures (`n x k`), which predicts `n x m`."""
    places = [f"x{place}" for place in range(ratios.shape[1])]
    metrics = [Metric(f"u{column}", "lower") for column in range(losses.shape[1])]
    trials = Trials.from_arrays(ratios, losses, domains=places, metrics=metrics)
    if models == "regmix" and len(ratios) < 41:  # with fewer its defaults give a constant
        models = "trees"
    fitted = fit(trials, target="average", surrogates=models, seed=0)
    return lambda rows: fitted.predict(rows)[0]


def simulate(
    space: WeightSpace, loss: Callable[[np.ndarray], np.ndarray], seed: np.random.Generator
) -> np.ndarray:
    """Return the mean of the weights with the lowest predicted loss among many draws."""
    drawn = space.sample(DRAWS, seed)
    return drawn[np.argsort(loss(drawn), kind="stable")[:TOP]].mean(axis=0)


@dataclass(frozen=True)
class Swarm:
    """A surrogate of random runs.

    Attributes:
        models: The surrogate models.
    """

    models: str
    need: ClassVar[Need] = "runs"
    source: ClassVar[str] = "RegMix, arXiv:2407.01492"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        return LEAST_RUNS * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        drawn = problem.mixtures.sample(problem.affordable_runs - 1, problem.rng(1))
        ratios, scores = train_swarm(problem, np.vstack([problem.natural[None], drawn]))
        ratios, losses = drop_failed(ratios, problem.losses(scores))
        surrogate = predict(ratios, losses, self.models)
        found = simulate(
            problem.mixtures, lambda rows: surrogate(rows) @ problem.weights, problem.rng(2)
        )
        return problem.recommend(found, surrogate(found[None])[0])


@dataclass(frozen=True)
class Merges:
    """LightGBM on merges of the experts at weights = ratios."""

    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "MergeMix, arXiv:2601.17858"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        return experts_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        space = problem.combinations
        weights = space.sample(MERGES, problem.rng(1))
        weights, losses = drop_failed(weights, problem.losses(problem.merges(weights)))
        surrogate = predict(weights, losses, "regmix")
        found = simulate(space, lambda rows: surrogate(rows) @ problem.weights, problem.rng(2))
        return problem.recommend(space.ratios(found[None])[0])


HERE_ALONE = {"regmix": Swarm("regmix"), "runs": Swarm("auto"), "mergemix": Merges()}


class TimedTrainer:
    """A study's trainer that counts the seconds of training.

    Args:
        trainer: The study's.

    Attributes:
        seconds: Spent in it.
    """

    def __init__(self, trainer: StudyTrainer) -> None:
        self._trainer, self.seconds = trainer, 0.0
        self.run_tokens = trainer.run_tokens

    @property
    def refused(self) -> int:
        return self._trainer.refused

    def train(self, ratios: np.ndarray) -> np.ndarray:
        return self._timed(lambda: self._trainer.train(ratios))

    def train_lengths(self, ratios: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
        return self._timed(lambda: self._trainer.train_lengths(ratios))

    def train_online(self, training: OnlineTraining) -> np.ndarray:
        return self._timed(lambda: self._trainer.train_online(training))

    def count_validation_tokens(self, training: OnlineTraining) -> int:
        return self._trainer.count_validation_tokens(training)

    def _timed(self, call: Callable[[], Result]) -> Result:
        start = time.monotonic()
        try:
            return call()
        finally:
            self.seconds += time.monotonic() - start


def ask(study: Study, name: str, budget_tokens: int, seed: int) -> tuple[Mixture, int, float]:
    """Return what a method recommends, the tokens that it trained on, and the seconds of that.

    Args:
        study: Without a method of its own.
        name: Of the method.
        budget_tokens: That it may train on, experts included.
        seed: Of its draws and runs.

    Raises:
        MixoptError: It cannot work with the budget, or lacks what it needs.
    """
    search = study.open_search()
    objective = study.open_policy(with_runs=False).objective
    assert objective is not None
    context, metrics, weights = (
        study.context,
        metrics_that_choose(search),
        metric_weights(objective),
    )
    shares = benchmark_weights(objective)
    by_name = {metric.name: float(w) for metric, w in zip(metrics, shares, strict=True)}
    trainer = TimedTrainer(StudyTrainer(context, search, metrics, shares, seed))
    available, target = context.corpora.available_tokens, context.config.target.tokens
    problem = Problem(
        context.space, metrics, weights, trainer, budget_tokens,
        evaluator=StudyEvaluator(context, search, metrics),
        epochs=np.array([target / available[domain] for domain in context.config.domains]),
        target_tokens=target,
        open_samples=lambda: collect_samples(context, by_name, name=name),
        seed=seed,
    )  # fmt: skip
    method = HERE_ALONE[name] if name in HERE_ALONE else open_method(name)
    found = recommend(name, problem, method=method)
    return found.ratios, found.tokens, trainer.seconds


def fit_length(study: Study, name: str, budget_tokens: int) -> int:
    """Return the longest training of a method whose weights change that a budget pays for, in tokens.

    Args:
        study: With the benchmarks and weights of capabilities that it is asked for, and no method.
        name: Of the method.
        budget_tokens: That it may train on, text of benchmarks included.

    Raises:
        ConfigError: It pays for no step.
    """
    study.prepare()

    def cost(tokens: int) -> int:
        trained = open_method(name).least_tokens(len(study.config.domains), 0, tokens)
        return trained + most_validation_tokens(study.context, name, tokens)

    # text of benchmarks is read at whole steps, so the cost has jumps
    lengths = range(1, budget_tokens + 1)
    found = bisect_right(lengths, budget_tokens, key=cost)
    if not found:
        raise ConfigError(
            f"Method {name!r} needs {cost(1):,} tokens for one step and its budget is "
            f"{budget_tokens:,}; raise it to that or more."
        )
    return lengths[found - 1]


def ask_mixopt(study: Study) -> tuple[Mixture, int, float]:
    """Return mixopt's decision within the study's budget, its tokens, and the seconds of training."""
    trials = study.search()
    study.propose(trials)  # built before the clock starts
    start = time.monotonic()
    bought = study.spend(trials=trials)
    seconds = time.monotonic() - start
    decision = study.propose(trials)[0].decision
    assert decision is not None
    lengths: dict[tuple[bytes, int], int] = {}
    for each in bought:
        key = each.ratios.tobytes(), each.seed
        lengths[key] = max(lengths.get(key, 0), each.tokens)
    experts = len(study.context.compositions) * study.config.training.expert_length
    mixture = decision.candidate if decision.moves else decision.kept
    return mixture, experts + sum(lengths.values()), seconds
