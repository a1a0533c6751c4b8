"""Validation: models really trained on mixtures, and how well the proxies rank them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixopt.errors import DivergedError, one_line
from mixopt.executors.job import Job
from mixopt.io.progress import track
from mixopt.mixture import Array, Mixture
from mixopt.optimization.design import spread
from mixopt.optimization.proxy_validation import (
    mean_over_seeds,
    validate_trials,
    weigh_purchases,
)
from mixopt.optimization.validation import Cost, Purchase, Validation
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import has_text
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.pipeline.sections import require_validation
from mixopt.proposal import Proposal
from mixopt.surrogates.base import MIN_TRIALS
from mixopt.surrogates.gain_model import SAME
from mixopt.trial import Kind, Score, Trial
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.training.training_run import TrainingRun

MIN_MIXTURES = 4


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found.

    Attributes:
        validation: Statistics of the proxies against the runs.
        means: The runs as trials, one for each mixture, averaged over seeds.
        runs: The same, one for each mixture and seed.
        by_seed: The same as trials, by seed.
    """

    validation: Validation
    means: Trials
    runs: pd.DataFrame
    by_seed: tuple[Trials, ...]


@dataclass(frozen=True, eq=False)
class ProxyRun:
    """A model trained on a mixture to validate the proxies.

    Attributes:
        mixture: Name of its mixture.
        seed: Index of the repetition, from 0.
        run: The training run.
    """

    mixture: str
    seed: int
    run: "TrainingRun"

    @property
    def job(self) -> Job:
        """The job that trains and scores it."""
        name = self.run.artifact.name
        arguments = (name, dict(self.run.ratios), self.seed)
        artifacts = (self.run.artifact,)
        return Job("train_validation_run", arguments, f"proxy run {name}", artifacts, trains=True)


def list_runs(context: StudyContext, search: CandidateSearch, proposal: Proposal) -> list[ProxyRun]:
    """Return the runs of a validation, seed by seed.

    Args:
        context: The study.
        search: Gives mixtures far from each other that the experts can make.
        proposal: One of the mixtures.

    Raises:
        ConfigError: The study asks for no validation.
    """
    return _list_runs(context, _choose_mixtures(context, search, proposal)[0])


def _list_runs(context: StudyContext, mixtures: Mapping[str, Mixture]) -> list[ProxyRun]:
    from mixopt.pipeline.training_runs import validation_run

    return [
        ProxyRun(name, seed, validation_run(context, f"{name}-{seed}", mixture, seed))
        for seed in range(require_validation(context.config).seeds)
        for name, mixture in mixtures.items()
    ]


def _choose_mixtures(
    context: StudyContext, search: CandidateSearch, proposal: Proposal
) -> tuple[dict[str, Mixture], list[str]]:
    """Return the mixtures by name: natural, uniform, the proposal, and others far from these.

    Of those with a name of their own, the ones that would read a domain too often are returned apart.
    """
    domains, seed = context.config.domains, context.config.seed
    named = {
        "natural": context.corpora.natural,
        "uniform": Mixture.uniform(domains),
        # where the advice is to stay, the candidate is what a run tells most about
        "proposal": proposal.decision.candidate if proposal.decision else proposal.ratios,
    }
    rows = {name: mixture.vector(domains) for name, mixture in named.items()}
    # gains are read from the runs called proposal and natural; uniform may be either of them
    if any(np.abs(rows["uniform"] - rows[name]).max() < SAME for name in ("natural", "proposal")):
        del named["uniform"], rows["uniform"]
    tokens = context.config.training.tokens

    def is_trainable(row: Array) -> bool:
        return has_text(context, Mixture.from_vector(domains, row), tokens)

    untrained = [name for name, row in rows.items() if not is_trainable(row)]
    for name in untrained:
        del named[name], rows[name]
    start = np.stack([*rows.values()])
    rng = np.random.default_rng([seed, 1_000_002])
    others = spread(
        search.space, start, require_validation(context.config).mixtures - len(named), rng,
        is_trainable,
    )  # fmt: skip
    spread_out = {f"spread-{i:02d}": search.to_mixture(row) for i, row in enumerate(others)}
    return named | spread_out, untrained


def validate(
    context: StudyContext,
    search: CandidateSearch,
    proposal: Proposal,
    trials: Trials,
    policy: SurrogatePolicy,
) -> ValidationResult:
    """Train models on mixtures and compare the proxies' ranking with theirs.

    Args:
        context: The study.
        search: Scores the proxies of the mixtures.
        proposal: One of the mixtures.
        trials: Of the search.
        policy: Gives the utility and the surrogate.

    Returns:
        Statistics over the `n` mixtures that all seeds were trained on, and the runs as tables.

    Raises:
        ConfigError: The study asks for no validation.
        DivergedError: Too few runs were trained without diverging.
    """
    mixtures, untrained = _choose_mixtures(context, search, proposal)
    training = context.config.training
    for name in untrained:
        context.callbacks.message(
            f"Mixture {name!r} is left out of the validation: {training.tokens:,} tokens of it would "
            f"read a domain more than {training.max_epochs:g} times (training.max_epochs)."
        )
    tables = _train(context, mixtures, _list_runs(context, mixtures))
    proxies = _score_proxies(context, search, mixtures)
    _require_enough(mixtures)
    metrics, domains = search.evaluator.scorer.metrics, context.config.domains
    by_seed = [Trials([t[name] for name in mixtures], metrics, domains) for t in tables.values()]
    frames = [table.to_frame() for table in by_seed]
    for seed, frame in enumerate(frames):
        # the table of runs has a row for each seed of a mixture
        frame["id"] = frame["id"] + f"-{seed}"
    run_tokens, run_flops = by_seed[0][0].tokens, by_seed[0][0].flops
    validation = validate_trials(
        proxies,
        by_seed,
        utility=lambda scale: policy.utility(scale, trials),
        cost=_count_cost(search, trials.where(kind=policy.proxy), run_tokens, run_flops),
        result=require_validation(context.config).result,
    )
    means = mean_over_seeds(by_seed)
    purchases = _weigh_purchases(context, search, validation, trials, means, policy, run_flops)
    found = replace(validation, purchases=purchases)
    return ValidationResult(found, means, pd.concat(frames), tuple(by_seed))


def _train(
    context: StudyContext, mixtures: dict[str, Mixture], runs: Sequence[ProxyRun]
) -> dict[int, dict[str, Trial]]:
    """Return the trials of the runs by seed and mixture; drop a mixture with a failed run."""
    from mixopt.pipeline.training_runs import read_run, read_scores

    seeds = range(require_validation(context.config).seeds)
    trained: dict[int, dict[str, Trial]] = {seed: {} for seed in seeds}
    by_name = {each.run.artifact.name: each for each in runs}
    # another seed of a mixture may have failed before its turn
    jobs = (each.job for each in runs if each.mixture in mixtures)
    done = context.dispatcher.run(jobs)
    for job, error in track(done, "proxy runs", total=len(runs), unit="run"):
        each = by_name[job.arguments[0]]
        if error is not None:
            context.callbacks.message(
                f"Mixture {each.mixture!r} is left out of the validation: {one_line(error, limit=None)}"
            )
            mixtures.pop(each.mixture, None)
        if each.mixture not in mixtures:
            continue
        result, ratios = read_run(context, each.run), mixtures[each.mixture]
        scores = {m: Score(r.score, r.std_error) for m, r in read_scores(result).items()}
        context.callbacks.on_model_trained(
            "proxy run", job.arguments[0], result, ratios,
            role="natural" if each.mixture == "natural" else "candidate", seed=each.seed,
            scores={result.outcome.tokens: scores},
        )  # fmt: skip
        trained[each.seed][each.mixture] = Trial(
            each.mixture, ratios, scores, seed=each.seed, tokens=result.outcome.tokens,
            flops=result.outcome.flops,
        )  # fmt: skip
    _require_enough(mixtures)
    return trained


def _require_enough(mixtures: Mapping[str, Mixture]) -> None:
    if len(mixtures) < MIN_MIXTURES:
        raise DivergedError(
            f"{len(mixtures)} mixtures were trained and scored and at least {MIN_MIXTURES} are "
            "needed to rank; lower training.learning_rate, or fix what failed, and run again."
        )


def _score_proxies(
    context: StudyContext, search: CandidateSearch, mixtures: dict[str, Mixture]
) -> dict[Kind, Trials]:
    """Return the proxies' trials; drop a mixture whose merge could not be scored on all benchmarks."""
    rows: dict[Kind, list[Trial]] = {"merged": [], "ensembled": []}
    found = {}
    for name, mixture in mixtures.items():
        found[name], miss = search.space.weights_for(mixture.vector(context.config.domains))
        if miss > UNREACHED:
            context.callbacks.message(
                f"The experts cannot make the {name} mixture; the nearest one stands for it in "
                f"the proxies, {miss:.3f} off in the worst ratio."
            )
    scored = track(
        search.evaluator.evaluate([weights.tolist() for weights in found.values()]),
        "scoring proxies", total=len(found), unit="mixture",
    )  # fmt: skip
    names = {metric.name for metric in search.evaluator.scorer.metrics}
    for (name, weights), results in zip(found.items(), scored, strict=True):
        if results.get("merged", {}).keys() < names:
            why = "its merge failed"
            context.callbacks.message(f"Mixture {name!r} is left out of the validation: {why}.")
            del mixtures[name]
            continue
        for kind, table in rows.items():
            table.append(search.to_trial(name, kind, weights, results[kind], 0))
    metrics = search.evaluator.scorer.metrics
    return {kind: Trials(table, metrics, context.config.domains) for kind, table in rows.items()}


def _weigh_purchases(
    context: StudyContext,
    search: CandidateSearch,
    validation: Validation,
    trials: Trials,
    runs: Trials,
    policy: SurrogatePolicy,
    run_flops: float,
) -> tuple[Purchase, ...]:
    proxy = context.config.proxy
    overall = validation.overall(proxy)
    assert overall is not None
    run_tokens = runs[0].tokens / validation.seeds
    count = len(trials.where(kind=proxy))
    enough = len(runs) >= MIN_TRIALS
    return weigh_purchases(
        overall,
        surrogate=policy.fit(trials),
        corrected=policy.fit_table(trials + runs) if enough else None,
        truth=np.array(validation.utilities),
        trials=count,
        runs=len(runs) * validation.seeds,
        expert_tokens=sum(expert.outcome.tokens for expert in search.experts.results.values()),
        merge_tokens=search.evaluator.flops_per_score / run_flops * run_tokens
        if run_flops and proxy != "ensembled"
        else 0.0,
        run_tokens=run_tokens,
    )


def _count_cost(search: CandidateSearch, scored: Trials, run_tokens: int, run_flops: float) -> Cost:
    score = search.evaluator.flops_per_score
    outcomes = [expert.outcome for expert in search.experts.results.values()]
    return Cost(
        search_tokens=sum(outcome.tokens for outcome in outcomes),
        search_flops=sum(outcome.flops for outcome in outcomes)
        + sum(trial.flops for trial in scored),
        trained_tokens=len(scored) * run_tokens,
        trained_flops=len(scored) * (run_flops + score),
    )
