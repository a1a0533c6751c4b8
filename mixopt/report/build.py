"""Reporting: gathers what a report shows, from a study's surrogate and trials or from a table's.

Shapes: `n` mixtures, `d` domains, `m` metrics, `c` capabilities.
"""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt import __version__
from mixopt.mixture import Array, Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.proposal import Proposal
from mixopt.report.data import Answer, Points, ReportData, Round, WhatIf, distance_from
from mixopt.report.emulator import Emulator
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import AnyUtility, WorstCapability
from mixopt.trials import Normalisation, Trials
from mixopt.validation import Validation

if TYPE_CHECKING:
    from mixopt.evaluation.evaluator import MergeEvaluator

NODES = 480
"""Mixtures at which the surrogate is asked for the page."""
MOST_NUMBERS = 80_000
"""Nodes x answers: what a page of two megabytes has room for."""
FEWEST_NODES = 160
TESTED = 200
"""Mixtures between them at which the page's formula is held against the surrogate."""
SHOWN_FEASIBLE = 300
SEED = 1_000_003
NEAR, ASIDE = 1e-4, 0.03
"""Squared distance from the reference at which a variance is taken a little aside, and how far."""
LEAST = 1e-18
"""Least variance: a metric that is the same everywhere has none."""
PACKAGES = ("numpy", "scipy", "scikit-learn", "lightgbm", "torch", "transformers", "peft", "mlflow")


def gather_what_if(
    surrogate: Surrogate,
    weights: WeightSpace,
    proposals: Sequence[Proposal],
    *,
    trust: Mapping[str, float] | None = None,
    normalise: Normalisation = "z",
) -> WhatIf:
    """The surrogate as a page can ask it: gains over the first comparison's mixture, with bands.

    Args:
        surrogate: Whose answers they are.
        weights: The mixtures that may be proposed.
        proposals: Best first; their comparisons are mixtures to start from.
        trust: By metric, its weight inside its capability.
        normalise: How benchmarks were made comparable.
    """
    rng = np.random.default_rng(SEED)
    starts = {
        f"proposal {i}" if i > 1 else "proposal": p.ratios for i, p in enumerate(proposals, 1)
    }
    starts |= {c.name: c.ratios for c in proposals[0].comparisons}
    reference = proposals[0].comparisons[0].name if proposals[0].comparisons else "proposal"
    asker = _Asker(surrogate, starts[reference], trust or {}, normalise)
    nodes = _choose_nodes(surrogate, weights, list(starts.values()), asker.columns, rng)
    emulator = Emulator.through(nodes, asker.columns_at(nodes))
    tested = np.vstack([
        weights.ratios(weights.sample(TESTED // 2, rng)),
        rng.dirichlet(np.ones(len(surrogate.domains)), TESTED // 2),
    ])  # fmt: skip
    lower, upper = weights.space.bounds()
    asked = WhatIf(
        domains=surrogate.domains,
        emulator=emulator,
        answers=asker.answers,
        reference=reference,
        anchor=asker.anchor,
        starts=starts,
        feasible=weights.ratios(weights.sample(SHOWN_FEASIBLE, rng)),
        lower=lower,
        upper=upper,
        rules=_tell_rules(weights),
        miss=0.0,
        spread=0.0,
        band_miss=0.0,
    )
    truth = asker.answer(tested)
    _, change, std = asked.read(asker.answers[0], tested)
    width = np.sqrt(np.maximum(truth[:, 1], 1e-300))
    return replace(
        asked,
        miss=float(np.quantile(np.abs(change - truth[:, 0]), 0.95)),
        spread=float(truth[:, 0].std()),
        band_miss=float(np.quantile(np.abs(std / width - 1), 0.95)),
    )


def gather_table(
    name: str,
    surrogate: Surrogate,
    proposals: Sequence[Proposal],
    space: SearchSpace,
    **facts: str,
) -> ReportData:
    """What a report shows of proposals from a table of runs."""
    trials = surrogate.trials
    return ReportData(
        name=name,
        measured_by="the surrogate",
        proposals=tuple(proposals),
        metrics=trials.metrics,
        what_if=gather_what_if(surrogate, WeightSpace.of_domains(space), proposals),
        trials=gather_trials(surrogate, trials),
        points=gather_points(surrogate),
        costs={"runs": f"{len(trials)}"},
        facts=gather_facts(**facts),
        advice="`mixopt design --advise` says what more runs would buy, `mixopt design -n N` which.",
    )


class _Asker:
    """Asks a surrogate for every number that the page shows, `n x k` at `n x d` mixtures."""

    def __init__(
        self,
        surrogate: Surrogate,
        reference: Mixture,
        trust: Mapping[str, float],
        normalise: Normalisation,
    ) -> None:
        self._surrogate = surrogate
        self._reference = reference.vector(surrogate.domains)
        metrics = surrogate.utility.metrics
        parts = WorstCapability.of_capabilities(surrogate.trials, metrics, trust, normalise).parts
        self._parts: dict[str, AnyUtility] = dict(parts) if len(parts) > 1 else {}
        self.answers = [Answer("gain", "utility", "higher", 0, 0, 1)]
        for name in self._parts:
            self._add(name, "capability", "higher", columns=2)
        for fitted in surrogate.metrics:
            self._add(fitted.metric.name, "metric", fitted.metric.better, columns=3)

    def _add(self, name: str, kind: str, better: str, *, columns: int) -> None:
        start = self.columns
        change = start + columns - 2
        self.answers.append(Answer(name, kind, better, start, change, start + columns - 1))

    @property
    def columns(self) -> int:
        """How many numbers an answer has (`k`)."""
        return self.answers[-1].spread + 1

    @property
    def anchor(self) -> Array:
        """√ratios of the reference mixture (`d`)."""
        return np.asarray(np.sqrt(self._reference))

    def columns_at(self, ratios: Array) -> Array:
        """What the emulator interpolates: as `answer`, each variance as in `Answer.spread`."""
        found = self.answer(ratios)
        spreads = [answer.spread for answer in self.answers]
        # nothing can be divided at the reference; a little way off it the quotient is that of the limit
        near = distance_from(self.anchor, ratios) < NEAR
        corners = np.eye(ratios.shape[1])[ratios.argmin(axis=1)]
        moved = np.where(near[:, None], (1 - ASIDE) * ratios + ASIDE * corners, ratios)
        variances = found[:, spreads]
        if near.any():
            variances[near] = self.answer(moved[near])[:, spreads]
        square = np.maximum(distance_from(self.anchor, moved), NEAR / 100)
        found[:, spreads] = np.log(np.maximum(variances, LEAST) / square[:, None])
        return found

    def answer(self, ratios: Array) -> Array:
        """Gain and its variance, then those of each capability, then score, change and variance."""
        surrogate = self._surrogate
        mean, _ = surrogate.predict(ratios)
        there, _ = surrogate.predict(self._reference[None])
        change, errors = surrogate.differences(ratios, self._reference)
        gain, std = surrogate.utility_difference(ratios, self._reference)
        columns = [gain, np.square(std)]
        order = [f.metric.name for f in surrogate.metrics]
        places = [order.index(metric.name) for metric in surrogate.utility.metrics]
        for part in self._parts.values():
            here = mean[:, places]
            columns.append(part.of(here) - part.of(there[:, places]))
            columns.append(np.square(part.std(errors[:, places], here)))
        for m in range(len(surrogate.metrics)):
            columns += [mean[:, m], change[:, m], np.square(errors[:, m])]
        return np.stack(columns, axis=1)


def _choose_nodes(
    surrogate: Surrogate,
    weights: WeightSpace,
    starts: Sequence[Mixture],
    columns: int,
    rng: np.random.Generator,
) -> Array:
    """Mixtures (`n x d`) that cover the simplex, more of them where mixtures may be proposed."""
    domains = surrogate.domains
    d = len(domains)
    n = int(np.clip(MOST_NUMBERS // columns, FEWEST_NODES, NODES))
    given = np.stack([mixture.vector(domains) for mixture in starts])
    corners = np.eye(d)
    # towards each corner from where a reader starts: the slices of the page
    shares = np.array([0.1, 0.3, 0.5, 0.75])
    rays = np.concatenate([
        (1 - shares[:, None]) * given[0] + shares[:, None] * corner for corner in corners
    ])  # fmt: skip
    seen = surrogate.trials.ratios()[: n // 4]
    fixed = np.vstack([given, corners, rays[: n // 3], seen])
    rest = max(0, n - len(fixed))
    inside = weights.ratios(weights.sample(rest // 2, rng)) if rest > 1 else np.empty((0, d))
    around = rng.dirichlet(np.full(d, 0.7), rest - len(inside))
    return _distinct(np.vstack([fixed, inside, around]))


def _distinct(rows: Array, apart: float = 1e-3) -> Array:
    """Rows without those that lie nearly on an earlier one: an interpolant needs them apart."""
    kept: list[Array] = []
    for row in np.maximum(rows, 0.0):
        if all(np.abs(np.sqrt(row) - np.sqrt(other)).max() > apart for other in kept):
            kept.append(row / row.sum())
    return np.stack(kept)


def _tell_rules(weights: WeightSpace) -> list[str]:
    space = weights.space
    # bounds of single domains stand at their sliders
    rules = [f"{row.text}." for row in space.rows if np.count_nonzero(row.normal) > 1]
    if space.max_kl is not None:
        rules.append(f"No further than {space.max_kl:g} nats from the natural mixture.")
    return rules


def gather_points(surrogate: Surrogate) -> dict[str, Points]:
    """Predicted against measured by metric, and of the utility."""
    table = surrogate.trials
    points = {
        f.metric.name: Points(
            table.values([f.metric])[:, 0], f.cv_predictions, f.rank_correlation, f.chosen
        )
        for f in surrogate.metrics
    }
    measured = surrogate.utility.of(table.values(surrogate.utility.metrics))
    points["utility"] = Points(
        measured, surrogate.cv_utilities, rank_unseen(surrogate), "all of them"
    )
    return points


def rank_unseen(surrogate: Surrogate) -> float:
    """Spearman of the cross-validated utility with the measured one; NaN where it cannot be told."""
    from mixopt.surrogates.rank_correlation import spearman

    table = surrogate.trials
    measured = surrogate.utility.of(table.values(surrogate.utility.metrics))
    known = np.isfinite(measured) & np.isfinite(surrogate.cv_utilities)
    if known.sum() < 3 or np.ptp(measured[known]) == 0:
        return float("nan")
    return spearman(surrogate.cv_utilities[known], measured[known])


def gather_trials(surrogate: Surrogate, trials: Trials) -> list[tuple[Mixture, float]]:
    """Mixtures that were scored, with their utility."""
    utilities = surrogate.seen_utilities(trials)
    return [(trial.ratios, float(u)) for trial, u in zip(trials, utilities, strict=True)]


def gather_rounds(
    surrogate: Surrogate, table: Trials, ranks: Mapping[int, tuple[int, float]]
) -> list[Round]:
    """What each round taught: by number, candidates so far and how unseen ones were ranked then."""
    utilities = surrogate.seen_utilities(table)
    return [
        Round(number, count, float(np.nanmax(utilities[:count])), rank)
        for number, (count, rank) in ranks.items()
    ]


def gather_expert_scores(swarm: "MergeEvaluator") -> dict[str, dict[str, float]]:
    """Scores by metric of the base and of each expert alone, by name."""
    base = swarm.score_base()
    scores = {"base": {metric.name: base[metric.name].score for metric in swarm.scorer.metrics}}
    for name, corner in zip(swarm.names, np.eye(swarm.k).tolist(), strict=True):
        results = swarm.score(corner)["merged"]
        scores[name] = {metric.name: results[metric.name].score for metric in swarm.scorer.metrics}
    return scores


def tell_costs(
    experts: Sequence[tuple[int, float]], scored: Trials, validation: Validation | None
) -> dict[str, str]:
    """What was spent, in words: on experts (tokens and FLOPs of each), on candidates, and saved."""
    tokens, flops = sum(e[0] for e in experts), sum(e[1] for e in experts)
    costs = {
        "experts": f"{len(experts)}; {tokens:,} tokens, {flops:.2e} FLOPs",
        "candidates": f"{len(scored)}; {sum(trial.flops for trial in scored):.2e} FLOPs",
    }
    if validation is not None:
        cost = validation.cost
        costs["training every candidate instead"] = (
            f"{cost.trained_tokens:,} tokens, {cost.trained_flops:.2e} FLOPs"
        )
    return costs


def gather_facts(**more: str) -> dict[str, str]:
    """What it takes to make a report again: versions and commit, and what the caller adds."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    commit = _find_commit()
    return {
        **more,
        "mixopt": f"{__version__}{f', commit {commit}' if commit else ''}",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
    }


def _find_commit() -> str | None:
    """The commit that mixopt runs from, where that is a checkout of it."""
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
