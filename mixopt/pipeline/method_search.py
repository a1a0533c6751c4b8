"""Runs a method of others inside a study: what it trains and scores are the study's artifacts.

What it recommends is the study's only candidate, judged by the same posterior as any other, and the runs
that it trained are observations of real training.

Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.baselines.base import Method, Problem, Recommendation
from mixopt.baselines.doremi import DoReMi
from mixopt.baselines.merge_to_mix import MergeToMix
from mixopt.baselines.projektor import Projektor
from mixopt.baselines.registry import open_method, recommend, require_budget
from mixopt.baselines.scalebio import ScaleBio
from mixopt.config.cross_checks import describe_small_budget
from mixopt.config.study import StudyConfig
from mixopt.data.corpus import check_epochs
from mixopt.errors import ConfigError, RunError
from mixopt.mixture import Array, Mixture
from mixopt.optimization.objective import Objective
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation, metrics_that_choose
from mixopt.pipeline.method_problem import (
    StudyEvaluator,
    StudyTrainer,
    expert_tokens,
    name_weights,
)
from mixopt.pipeline.mixture_runs import order_natural
from mixopt.pipeline.online_runs import most_validation_tokens, require_layers
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.text_samples import collect_samples

FILE = "recommendation.json"
SHOWN = 3
"""Failed runs or merges that a message names."""


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


class IncompleteError(RunError):
    """A recommendation without some of what the method asked for, which is not kept.

    Args:
        method: Name of the method.
        lost: What failed for a cause that may pass.
        plain: The recommendation and its runs as plain values.
    """

    def __init__(self, method: str, lost: Sequence[str], plain: Mapping[str, Any]) -> None:
        shown = ", ".join(lost[:SHOWN]) + ", ..." * (len(lost) > SHOWN)
        super().__init__(
            f"Method {method!r} recommends without {shown} ({len(lost)} failed), and what it recommends "
            "is not kept; run again to try them once more."
        )
        self.plain = plain


def method_budget(context: StudyContext) -> int:
    """Return the tokens of training that the study's method may spend.

    Those of the experts are among them if the method combines experts.
    """
    name = context.config.published_method
    assert name is not None
    experts = expert_tokens(context) if open_method(name).need == "experts" else 0
    return experts + context.config.method_limit


def require_method_budget(context: StudyContext) -> None:
    """Check that the study's method can work with its budget, text and base, before it trains.

    Raises:
        ConfigError: The budget is below the method's least, or half of a run is no other length.
        DataError: The method would read a domain more often than `training.max_epochs` allows.
        UserError: The base has fewer layers than are to be trained at a time, or there are too many
            experts for every subset of them.
    """
    name = context.config.published_method
    if name is None:
        return
    method, config = open_method(name), context.config
    beside = most_validation_tokens(context, name, config.training.tokens)
    require_budget(
        name, method, d=len(config.domains), expert_tokens=expert_tokens(context),
        run_tokens=config.training.tokens, budget_tokens=method_budget(context),
        validation_tokens=beside,
    )  # fmt: skip
    # of a budget the config alone has checked the rest
    if config.budget is not None and (too_small := describe_small_budget(config, beside)):
        raise ConfigError(f"{too_small}.")
    if isinstance(method, MergeToMix):
        method.require_few(len(context.compositions))
    if (layers := config.search.lisa_layers) is not None:
        require_layers(context, layers)
    if isinstance(method, DoReMi | ScaleBio):
        _require_even_text(context, name, method)
    if isinstance(method, Projektor):
        _require_two_lengths(context)


def _require_even_text(context: StudyContext, name: str, method: Method) -> None:
    """Check that there is text for what reads every domain alike, and for DoReMi's run on natural."""
    config, tokens = context.config, context.config.training.tokens
    wanted = {
        f"a training of {name}, which reads every domain alike": Mixture.uniform(config.domains)
    }
    if isinstance(method, DoReMi):
        wanted["the reference of doremi, a run on natural"] = order_natural(context)
    for what, ratios in wanted.items():
        check_epochs(
            context.corpora.counts, ratios, tokens=tokens, max_epochs=config.training.max_epochs,
            what=f"the {tokens:,} tokens of {what},",
        )  # fmt: skip


def _require_two_lengths(context: StudyContext) -> None:
    """Check that half of a run has fewer steps than a run."""
    from mixopt.training.batch_plan import BatchPlan
    from mixopt.training.step_law import resolve_hyperparameters

    config, tokens = context.config.training, context.config.training.tokens
    step = resolve_hyperparameters(config, context.base_parameters)
    plan = BatchPlan.of(
        config, step, context.config.base.context, 1, vocabulary=len(context.corpora.tokenizer),
        checkpoints=(tokens // 2, tokens),
    )  # fmt: skip
    if len(plan.checkpoints) == 1:
        raise ConfigError(
            f"projektor needs runs of two lengths, and a run of training.tokens: {tokens:,} is "
            f"{plan.steps} step and half of it too; train longer runs, or lower training.batch_tokens."
        )


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
        evaluator = StudyEvaluator(context, search, metrics)
        problem = Problem(
            context.space, metrics, weights, trainer, method_budget(context), evaluator=evaluator,
            epochs=_epochs(context.config, context.corpora.available_tokens),
            target_tokens=context.config.target.tokens,
            open_samples=lambda: collect_samples(context, name_weights(metrics, shares), name=name),
            seed=context.config.seed,
        )  # fmt: skip
        found = recommend(name, problem, method=_with_settings(name, context.config))
        runs = [
            {"ratios": each.ratios.tolist(), "seed": each.seed, "tokens": each.tokens,
             "scores": None if each.failed else each.scores.tolist()}
            for each in trainer.observations
        ]  # fmt: skip
        plain = {**found.to_dict(), "runs": runs, "online_tokens": trainer.online_tokens}
        if lost := trainer.lost + evaluator.lost:
            raise IncompleteError(name, lost, plain)
        (folder / FILE).write_text(json.dumps(plain))

    artifact = _artifact(context, search, name, weights)
    try:
        folder = context.store.get_or_build(artifact, build)
        plain = json.loads((folder / FILE).read_text())
    except IncompleteError as incomplete:
        context.callbacks.warning(str(incomplete), "ratios")
        plain = incomplete.plain
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
    if config.method_trains:
        # experts that were given do not tell which text runs read
        counts = context.corpora.counts
        key["corpora"] = {
            name: counts[name].folder.name for name in config.domains if name in counts
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
