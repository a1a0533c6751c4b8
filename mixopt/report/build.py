"""Collect what a report shows, from the results of a study or from a table of runs."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np

from mixopt import __version__
from mixopt.callbacks.base import DomainCount, StudyWarning
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.optimization.learning_curve import Expectation
from mixopt.optimization.validation import Validation
from mixopt.optimization.weight_space import WeightSpace
from mixopt.proposal import Proposal
from mixopt.report.data import (
    LEARNED_FROM,
    UNITS,
    PredictedScores,
    ReportData,
    RoundSummary,
    TrainedRun,
)
from mixopt.report.what_if import build_what_if
from mixopt.search_space import SearchSpace
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trial import KINDS, Kind
from mixopt.trials import Trials

ADVISE = "`mixopt propose --advise` estimates what more runs would improve; "
PACKAGES = ("numpy", "scipy", "scikit-learn", "lightgbm", "torch", "transformers", "peft", "mlflow")


def study_report_data(
    config: StudyConfig,
    trials: Trials,
    proposals: Sequence[Proposal],
    validation: Validation | None,
    *,
    surrogate: Surrogate,
    proxy_surrogate: Surrogate,
    weights: WeightSpace,
    check: Kind,
    real_runs: Trials | None,
    round_ranks: Mapping[int, tuple[int, float]],
    domains: Sequence[DomainCount],
    expert_scores: Mapping[str, Mapping[str, float]],
    expert_costs: Sequence[tuple[int, float]],
    warnings: Sequence[StudyWarning],
    trained: Sequence[TrainedRun] = (),
    device: str,
    elapsed_s: float,
) -> ReportData:
    """Return what a report shows of a study.

    Args:
        config: The study's config.
        trials: All scored candidates, by both proxies.
        proposals: Best first.
        validation: Result of the proxy runs, if any were trained.
        surrogate: Fitted to the trials, and to the real runs if there are any.
        proxy_surrogate: Fitted to the proxy's trials alone.
        weights: The feasible mixtures.
        check: What measures the proposals.
        real_runs: The proxy runs, one trial per mixture; the proposal's has the id `proposal`.
        round_ranks: By round: candidates so far, and the utility's rank correlation then.
        domains: Amount of text by domain.
        expert_scores: Score by metric of each expert, and of `base`.
        expert_costs: Tokens and FLOPs of each expert's training.
        warnings: What a reader needs to know before trusting the numbers.
        trained: Runs that were really trained.
        device: Name and dtype of the device.
        elapsed_s: Seconds since the command started.
    """
    if not np.isfinite(surrogate.cv_utilities).any():  # too few real runs for cross-validation
        surrogate = proxy_surrogate
    highest = max((trial.kind for trial in surrogate.trials), key=KINDS.index)
    search = config.search
    validated = [run.ratios for run in real_runs or () if run.id == "proposal"]
    what_if = build_what_if(surrogate, weights, proposals)
    time = f"{elapsed_s:,.0f} s in this command, up to this page"
    return ReportData(
        config.name, f"the {check} proxy", tuple(proposals), trials.metrics, what_if,
        cross_validated_scores(surrogate), domains, expert_scores,
        rounds=_summarize_rounds(proxy_surrogate, trials.where(kind=config.proxy), round_ranks),
        validation=validation,
        validated=validated[0] if validated else None,
        warnings=tuple(warnings),
        trained=tuple(trained),
        costs=_describe_costs(config, expert_costs, trials, proposals[0], validation),
        facts=_reproduction_facts(
            seed=str(config.seed), device=device, base=config.base.kind, time=time
        ),
        unit=UNITS[search.normalise],
        aggregate="worst capability" if search.aggregate == "worst" else "weighted mean",
        learned_from=LEARNED_FROM[highest],
    )  # fmt: skip


def table_report_data(
    name: str,
    surrogate: Surrogate,
    proposals: Sequence[Proposal],
    space: SearchSpace,
    *,
    repetition: Repetition | None = None,
    expectations: Sequence[Expectation] = (),
    **facts: str,
) -> ReportData:
    """Return what a report shows of proposals from a table of runs.

    Args:
        name: Of the table.
        surrogate: Fitted to the table.
        proposals: Best first.
        space: The feasible mixtures.
        repetition: How the target's budget repeats domains; the proposals' gains count it, if given.
        expectations: As `advise` returns them, for a learning curve.
        facts: What is needed to reproduce the report, by name.
    """
    trials = surrogate.trials
    asked = surrogate if repetition is None else surrogate.with_repetition(repetition)
    return ReportData(
        name, "the surrogate", tuple(proposals), trials.metrics,
        build_what_if(asked, WeightSpace.of_domains(space), proposals),
        cross_validated_scores(surrogate),
        costs={"runs": f"{len(trials)}"},
        unit=UNITS[surrogate.utility.normalise],
        facts=_reproduction_facts(**facts),
        advice=f"{ADVISE if not expectations else ''}`mixopt design -n N` proposes N more runs.",
        expectations=expectations,
    )  # fmt: skip


def cross_validated_scores(surrogate: Surrogate) -> dict[str, PredictedScores]:
    """Return measured and cross-validated scores.

    Args:
        surrogate: A fitted surrogate.

    Returns:
        Scores of the trials (`n`) for `utility`, which comes first as pictures leave out the last ones,
        and by metric.
    """
    table, scores = surrogate.trials, {}
    for f in surrogate.metrics:
        measured, rank = table.values([f.metric])[:, 0], f.rank_correlation
        scores[f.metric.name] = PredictedScores(measured, f.cv_predictions, rank, f.chosen)
    measured = surrogate.utility.of(table.values(surrogate.utility.metrics))
    rank = spearman(surrogate.cv_utilities, measured)
    utility = PredictedScores(measured, surrogate.cv_utilities, rank, "all of them")
    return {"utility": utility} | {n: each for n, each in scores.items() if n != "utility"}


def _summarize_rounds(
    surrogate: Surrogate, trials: Trials, round_ranks: Mapping[int, tuple[int, float]]
) -> list[RoundSummary]:
    utilities = surrogate.observed_utilities(trials)
    return [
        RoundSummary(number, count, float(np.nanmax(utilities[:count])), rank)
        for number, (count, rank) in round_ranks.items()
    ]


def _describe_costs(
    config: StudyConfig,
    expert_costs: Sequence[tuple[int, float]],
    trials: Trials,
    best: Proposal,
    validation: Validation | None,
) -> dict[str, str]:
    tokens, flops = sum(cost[0] for cost in expert_costs), sum(cost[1] for cost in expert_costs)
    costs = {}
    if isinstance(config.base, BuiltBaseConfig):
        costs["base"] = f"{config.base.training.tokens:,} tokens"
    costs["experts"] = f"{len(expert_costs)}; {tokens:,} tokens, {flops:.2e} FLOPs"
    steps = best.decision.learning if best.decision else ()
    if steps and (more := steps[-1].tokens - steps[0].tokens):
        # experts that were trained elsewhere tell nothing of the FLOPs of a token
        took = f", {more * flops / tokens:.2e} FLOPs" if tokens else ""
        costs["trained runs"] = f"{more:,} tokens{took}"
    kinds: dict[Kind, str] = {"ensembled": "ensembles", "merged": "merges"}
    for kind, name in kinds.items():
        if len(scored := trials.where(kind=kind)):
            spent_on = sum(trial.flops for trial in scored)
            costs[f"{name} scored"] = f"{len(scored)}; {spent_on:.2e} FLOPs"
    if validation is not None:
        cost = validation.cost
        saved = f"{cost.trained_tokens:,} tokens, {cost.trained_flops:.2e} FLOPs"
        costs["training every candidate instead"] = saved
    return costs


def _reproduction_facts(**more: str) -> dict[str, str]:
    versions = []
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    commit = _find_commit()
    return {
        **more,
        "mixopt": f"{__version__}{f', commit {commit}' if commit else ''}",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
    }


def _find_commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
