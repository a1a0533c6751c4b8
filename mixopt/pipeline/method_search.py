"""Runs a method of others inside a study: what it trains and scores are the study's artifacts.

What it recommends is the study's only candidate, judged by the same posterior as any other, and the runs
that it trained are observations of real training.

Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.baselines.base import Method, OnlineTraining, Problem, Recommendation
from mixopt.baselines.merge_to_mix import MergeToMix
from mixopt.baselines.registry import open_method, recommend, require_budget
from mixopt.baselines.scalebio import ScaleBio
from mixopt.config.study import StudyConfig
from mixopt.errors import UserError, one_line
from mixopt.mixture import Array, Mixture
from mixopt.optimization.objective import Objective
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation, metrics_that_choose
from mixopt.pipeline.mixture_runs import (
    RunSpec,
    ScoredRun,
    first_checkpoints,
    name_mixture,
    order_natural,
    train_runs,
)
from mixopt.pipeline.online_runs import require_layers, run_online
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.text_samples import collect_samples
from mixopt.trial import Metric

if TYPE_CHECKING:
    from mixopt.evaluation.score_cache import Results

FILE = "recommendation.json"


@dataclass(frozen=True)
class MethodResult:
    """What a method found, and what it trained.

    Attributes:
        recommendation: The mixture, with its cost.
        observations: The runs that it trained; one that failed has no scores.
        online_tokens: Tokens of training beside experts and runs.
    """

    recommendation: Recommendation
    observations: tuple[Observation, ...]
    online_tokens: int


def expert_tokens(context: StudyContext) -> int:
    """Return the tokens of training that the study's experts cost."""
    trained = [name for name in context.compositions if name not in context.given_experts]
    return len(trained) * context.config.training.expert_length


def method_budget(context: StudyContext) -> int:
    """Return the tokens of training that the study's method may spend.

    Those of the experts are among them if the method combines experts.
    """
    name = context.config.published_method
    assert name is not None
    experts = expert_tokens(context) if open_method(name).need == "experts" else 0
    return experts + context.config.method_tokens


def require_method_budget(context: StudyContext) -> None:
    """Check that the study's method can work with its budget and base, before anything is trained.

    Raises:
        ConfigError: The budget is below the method's least.
        UserError: The base has fewer layers than are to be trained at a time, or there are too many
            experts for every subset of them.
    """
    name = context.config.published_method
    if name is None:
        return
    method = open_method(name)
    experts = expert_tokens(context)
    require_budget(
        name, method, d=len(context.config.domains), expert_tokens=experts,
        run_tokens=context.config.training.tokens, budget_tokens=method_budget(context),
    )  # fmt: skip
    if isinstance(method, MergeToMix):
        method.require_few(len(context.compositions))
    if (layers := context.config.search.lisa_layers) is not None:
        require_layers(context, layers)


def run_method(
    context: StudyContext, search: CandidateSearch, objective: Objective
) -> MethodResult:
    """Return what the study's method recommends, found now or read.

    Args:
        context: The study.
        search: The experts.
        objective: Weighs the metrics.

    Raises:
        RunError: Too little of what was trained can be used.
    """
    name = context.config.published_method
    assert name is not None
    metrics, weights = metrics_that_choose(search), metric_weights(objective)
    shares = benchmark_weights(objective)

    def build(folder: Path) -> None:
        trainer = StudyTrainer(context, search, metrics, shares)
        problem = Problem(
            context.space, metrics, weights, trainer, method_budget(context),
            evaluator=StudyEvaluator(context, search, metrics),
            epochs=_epochs(context.config, context.corpora.available_tokens),
            target_tokens=context.config.target.tokens,
            open_samples=lambda: collect_samples(context, _by_name(metrics, shares), name=name),
            seed=context.config.seed,
        )  # fmt: skip
        found = recommend(name, problem, method=_with_settings(name, context.config))
        runs = [
            {"ratios": each.ratios.tolist(), "seed": each.seed, "tokens": each.tokens,
             "scores": None if each.failed else each.scores.tolist()}
            for each in trainer.observations
        ]  # fmt: skip
        plain = {**found.to_dict(), "runs": runs, "online_tokens": trainer.online_tokens}
        (folder / FILE).write_text(json.dumps(plain))

    artifact = _artifact(context, search, name, weights)
    folder = context.store.get_or_build(artifact, build)
    plain = json.loads((folder / FILE).read_text())
    missing = [float("nan")] * len(metrics)
    observations = tuple(
        Observation(np.array(run["ratios"]), run["seed"], run["tokens"],
                    np.array(run["scores"] or missing, dtype=np.float64))
        for run in plain["runs"]
    )  # fmt: skip
    return MethodResult(Recommendation.from_dict(plain), observations, plain["online_tokens"])


def _with_settings(name: str, config: StudyConfig) -> Method:
    """Return a method with the study's own settings."""
    method = open_method(name)
    if isinstance(method, ScaleBio):
        return replace(method, layers=config.search.lisa_layers)
    return method


def metric_weights(objective: Objective) -> Array:
    """Return the weights of the metrics' native losses in the mean that a method minimizes (`m`)."""
    weights = objective.combinations()[0] / objective.spreads
    return np.asarray(weights / weights.sum())


def benchmark_weights(objective: Objective) -> Array:
    """Return the weights of the benchmarks where no score is read, but their text or its loss (`m`).

    They are those of standardized gains: dividing by a spread undoes the unit of a score, and what is
    weighed here has one unit for all benchmarks.
    """
    weights = objective.combinations()[0]
    if objective.unit == "raw":
        weights = weights / objective.spreads
    return np.asarray(weights / weights.sum())


def _by_name(metrics: Sequence[Metric], weights: Array) -> dict[str, float]:
    return dict(zip((metric.name for metric in metrics), weights.tolist(), strict=True))


def describe_recommendation(config: StudyConfig, found: Recommendation) -> str:
    """Return a recommendation in words."""
    ratios = ", ".join(f"{ratio:.1%} {name}" for name, ratio in found.ratios.items())
    name, cost = config.published_method, f"{found.tokens:,} tokens of training"
    return f"Method {name} recommends {ratios}, for {cost}."


def _artifact(
    context: StudyContext, search: CandidateSearch, name: str, weights: Array
) -> Artifact:
    config, evaluator = context.config, search.evaluator
    key = {
        "method": name,
        "budget": method_budget(context),
        "weights": weights.tolist(),
        "search": config.search.model_dump(mode="json"),
        "target": config.target.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
        "natural": dict(context.corpora.natural),
        "available": context.corpora.available_tokens,
        "experts": [evaluator.expert_artifact(index).key for index in range(evaluator.k)],
        "compositions": {n: dict(row) for n, row in search.experts.compositions.items()},
        "seed": config.seed,
    }
    if config.own_repetition:
        key["repetition"] = config.own_repetition
    return Artifact("recommendations", name, key)


def _epochs(config: StudyConfig, available: Mapping[str, int]) -> Array:
    # of a domain without text nothing is known, and methods that read epochs need text
    return np.array([
        config.target.tokens / available[name] if name in available else 0.0
        for name in config.domains
    ])  # fmt: skip


class StudyEvaluator:
    """Scores merges and ensembles of a study's experts for a method.

    Args:
        context: The study.
        search: The experts.
        metrics: The metrics that choose (`m`).
    """

    def __init__(
        self, context: StudyContext, search: CandidateSearch, metrics: Sequence[Metric]
    ) -> None:
        self.composition = search.space.composition
        self.tokens = expert_tokens(context)
        self._evaluator = search.evaluator
        self._names = [metric.name for metric in metrics]

    def merges(self, weights: Array) -> Array:
        """Return scores (`n x m`) of merges; NaN for one that was set aside."""
        scored = self._evaluator.evaluate(weights.tolist())
        return self._table([results.get("merged", {}) for results in scored])

    def ensembles(self, weights: Array) -> Array:
        """Return scores (`n x m`) of probability ensembles."""
        return self._table(self._evaluator.score_ensembles(weights))

    def _table(self, rows: "Sequence[Results]") -> Array:
        values = [
            [row[name].score if name in row else float("nan") for name in self._names]
            for row in rows
        ]
        return np.array(values, dtype=np.float64).reshape(len(rows), len(self._names))


class StudyTrainer:
    """Trains runs of a study for a method, as its jobs; what is finished is kept.

    Args:
        context: The study.
        search: Reads the scores.
        metrics: The metrics that choose (`m`).
        shares: Weights of the metrics' benchmarks in a loss of their text (`m`).
        seed: Of the runs; those with one seed read the same text of a domain.

    Attributes:
        observations: The runs, in the order in which they were asked for.
        online_tokens: Tokens of training with weights that change.
    """

    def __init__(
        self,
        context: StudyContext,
        search: CandidateSearch,
        metrics: Sequence[Metric],
        shares: Array,
        seed: int = 0,
    ) -> None:
        self._seed = seed
        self.run_tokens = context.config.training.tokens
        self.observations: list[Observation] = []
        self.online_tokens = 0
        self._context, self._search = context, search
        self._names = [metric.name for metric in metrics]
        self._shares = _by_name(metrics, shares)

    def train(self, ratios: Array) -> Array:
        """Train a run on each mixture (`n x d`); return scores, NaN for one that failed."""
        marks = first_checkpoints(self._context.config)
        _, scores = self._train(ratios, marks[-1:])
        return np.asarray(scores[-1])

    def train_lengths(self, ratios: Array) -> tuple[tuple[int, int], Array]:
        """Train a run on each mixture (`n x d`), and score it at half of its length too.

        Returns:
            Both lengths in tokens, in whole steps, and the scores (`2 x n x m`).

        Raises:
            UserError: The rate decays, so that a checkpoint is no run of its length.
        """
        if self._context.config.training.decays:
            raise UserError(
                "The method needs runs of two lengths, and with training.schedule "
                f"{self._context.config.training.schedule}, a decaying learning rate, a half-way "
                "checkpoint is not a finished run; set it to constant."
            )
        lengths, scores = self._train(ratios, (self.run_tokens // 2, self.run_tokens))
        return (lengths[0], lengths[-1]), scores[[0, -1]]

    def _train(self, ratios: Array, marks: tuple[int, ...]) -> tuple[list[int], Array]:
        """Return lengths near `marks` (`l`) and the scores of runs at them (`l x n x m`)."""
        context, natural = self._context, order_natural(self._context)
        specs, places = {}, []
        for row in ratios:
            mixture = Mixture.from_vector(context.config.domains, row)
            # natural's run is the one that a budget begins with
            if np.abs(row - natural.vector(context.config.domains)).max() < 1e-9:
                mixture = natural
            name = name_mixture(mixture)
            places.append(name)
            own = first_checkpoints(context.config) if mixture == natural else marks
            specs[name] = RunSpec(f"{name}-{self._seed}", mixture, self._seed, own)
        lengths, missing = list(marks), np.full((len(marks), len(self._names)), np.nan)
        scores = dict.fromkeys(specs, missing)
        for spec, scored in train_runs(context, list(specs.values())):
            name = name_mixture(spec.ratios)
            if isinstance(scored, ScoredRun):
                # lengths are whole steps
                lengths = [_nearest(scored.logprobs, mark) for mark in marks]
                scores[name] = np.stack([self._read(scored, tokens) for tokens in lengths])
                continue
            cause = one_line(scored, limit=None)
            context.callbacks.warning(f"The run {spec.name} is left out: {cause}")
        for name, spec in specs.items():
            row = spec.ratios.vector(context.config.domains)
            last = scores[name][-1]
            tokens = self.run_tokens if np.isnan(last).all() else lengths[-1]
            self.observations.append(Observation(row, self._seed, tokens, last))
        return lengths, np.stack([scores[name] for name in places], axis=1)

    def _read(self, scored: ScoredRun, tokens: int) -> Array:
        results = self._search.evaluator.scorer.read(scored.logprobs[tokens])
        return np.array([results[metric].score for metric in self._names])

    def train_online(self, training: OnlineTraining) -> Array:
        """Train with weights that change, as a job; return them at each step (`t x d`)."""
        self.online_tokens += training.tokens * (2 if training.method == "scalebio" else 1)
        return run_online(self._context, replace(training, seed=self._seed), self._shares)


def _nearest(lengths: Iterable[int], mark: int) -> int:
    return min(lengths, key=lambda tokens: abs(tokens - mark))
