"""Searching: the rounds of candidates, from weights to trials.

Shapes: `n` candidates, `k` experts, `m` metrics.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.config.search import FEWEST_FIRST, PROXIES, SearchConfig, SearchMethod
from mixopt.errors import RunError
from mixopt.io.progress import track
from mixopt.mixture import Array, Mixture
from mixopt.optimization.design import design_first_round, design_next_round
from mixopt.optimization.multistart import ascend, choose_starts, divide
from mixopt.optimization.reliability import FEWEST_CANDIDATES, Reliability, measure_reliability
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.experts import Experts, train_experts
from mixopt.surrogates.ensemble import GAMMA
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import make_utility
from mixopt.trial import Kind, Score, Slope, Trial
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.evaluation.evaluator import MergeEvaluator
    from mixopt.evaluation.score_cache import Results
    from mixopt.evaluation.scored_items import Items
    from mixopt.evaluation.tasks.base import ModelTask, Task

UNREACHED = 0.01
"""A mixture that the experts miss by more than this in a ratio is reported as missed."""


@dataclass(frozen=True, eq=False)
class Round:
    """Candidates to be scored.

    Attributes:
        number: From 1.
        rows: Their weights (`n x k`).
        items: What they are scored on: all items, or a sample.
        ensembles: Weights (`e x k`) that are scored by ensembles alone.
        climbed: Whether gradient ascent asked for them, which has measured slopes already.
    """

    number: int
    rows: Array
    items: "Items"
    ensembles: Array
    climbed: bool = False


@dataclass(frozen=True, eq=False)
class CandidateSearch:
    """Chooses candidates and has them scored.

    Attributes:
        evaluator: Scores any weights.
        space: The weights that may be proposed.
        experts: The study's experts.
        domains: Of every mixture.
        config: Rounds and their settings.
        method: What candidates are scored by, with `auto` resolved.
        seed: Of everything random here.
        train: Trains and scores mixtures (`n x d`) of a round, for the method `regmix`.
    """

    evaluator: "MergeEvaluator"
    space: WeightSpace
    experts: Experts
    domains: tuple[str, ...]
    config: SearchConfig
    method: SearchMethod
    seed: int
    train: "Callable[[CandidateSearch, Array, int], list[Trial]]"

    @property
    def proxy(self) -> Kind:
        """The kind of the trials that candidates become."""
        return PROXIES[self.method]

    @property
    def ensemble_response(self) -> float:
        """γ of the ensembles by which gains are expected: `search.response` where these are searched."""
        chosen = self.config.response if self.method == "ensemble" else None
        return GAMMA if chosen is None else chosen

    @property
    def no_trials(self) -> Trials:
        """The table before the first round."""
        return Trials([], self.evaluator.scorer.metrics, self.domains)

    def choose(
        self,
        number: int,
        count: int,
        before: Trials,
        surrogate: Callable[[], Surrogate],
        trust: Mapping[str, float],
    ) -> "Round":
        """Choose the candidates of a round.

        Args:
            number: Of the round, from 1.
            count: Candidates to score; gradient ascent may use fewer.
            before: Trials of earlier rounds.
            surrogate: Fits a surrogate to these trials.
            trust: Weight of each benchmark inside its capability.
        """
        rng = np.random.default_rng([self.seed, number])
        if self.method == "regmix":
            rows = self.draw_runs(number, count)
            return Round(number, rows, self.evaluator.items, rows[:0])
        if number == 1:
            rows = design_first_round(self.space, count, rng)
            n_ensembles = self.config.ensembles
            ensembles = self.space.sample(n_ensembles, rng) if n_ensembles else rows[:0]
            return Round(1, rows, self.evaluator.items, ensembles)
        climbed = self.method == "gradient"
        if climbed:
            rows = self._ascend(count, before, trust)
        else:
            seen = np.array(_weights_of(before.where(kind=self.proxy)))
            rows = design_next_round(self.space, surrogate(), seen, count, rng)
        sampled = self.config.item_share < 1
        items = self._sampled_items(before) if sampled else self.evaluator.items
        return Round(number, rows, items, rows[:0], climbed=climbed)

    def draw_runs(self, number: int, count: int) -> Array:
        """Return the mixtures (`n x d`) that a round of `regmix` trains; they depend on no trial.

        Args:
            number: Of the round, from 1.
            count: Mixtures to draw.
        """
        rng = np.random.default_rng([self.seed, number])
        # a mixture that is trained needs no experts that can make it
        return WeightSpace.of_domains(self.space.space).sample(count, rng)

    def list_artifacts(self, chosen: "Round") -> list[Artifact]:
        """Return the artifacts that scoring a round needs; none where runs are trained for it."""
        from mixopt.evaluation.score_cache import as_row

        if self.method == "regmix":
            return []
        if self.method == "ensemble":
            return [self.evaluator.expert_artifact(index) for index in range(self.evaluator.k)]
        rows = [as_row(self.evaluator.respond(row)) for row in chosen.rows.tolist()]
        return [chosen.items.cache.artifact(row) for row in rows]

    def score(self, chosen: "Round") -> Trials:
        """Score a round and return its trials: merges and ensembles, ensembles alone, or runs."""
        number, rows, items = chosen.number, chosen.rows, chosen.items
        if self.method == "regmix":
            trials = self.train(self, rows, number)
            if number == 1:
                self._require_enough(trials, len(rows))
            return Trials(trials, self.evaluator.scorer.metrics, self.domains)
        if self.method == "ensemble":
            scored = zip(rows, self.evaluator.score_ensembles(rows), strict=True)
            trials = [
                self.to_trial(f"r{number}-{index:03d}", "ensembled", row, results, number)
                for index, (row, results) in enumerate(scored)
            ]
            return Trials(trials, self.evaluator.scorer.metrics, self.domains)
        trials = self._score_ensembles(chosen.ensembles)
        merges = track(
            self.evaluator.evaluate(rows.tolist(), items), f"round {number}: scoring",
            total=len(rows), unit="candidate",
        )  # fmt: skip
        if self.config.slopes and not chosen.climbed:
            self.evaluator.prepare_slopes(rows.tolist())
        for index, (row, results) in enumerate(zip(rows, merges, strict=True)):
            name = f"r{number}-{index:03d}"
            for kind in results:
                flops = items.flops_per_score
                trial = self.to_trial(name, kind, row, results[kind], number, flops)
                with_slopes = kind == "merged" and (chosen.climbed or self.config.slopes)
                trials.append(self._with_slopes(trial, row) if with_slopes else trial)
        if number == 1:
            self._require_enough(trials, len(rows))
        return Trials(trials, self.evaluator.scorer.metrics, self.domains)

    def _require_enough(self, trials: Sequence[Trial], n_candidates: int) -> None:
        scored = sum(trial.kind == self.proxy and trial.round == 1 for trial in trials)
        if scored < FEWEST_FIRST <= n_candidates:
            raise RunError(
                f"{scored} of {n_candidates} candidates of the first round could be scored and at least "
                f"{FEWEST_FIRST} are needed; the warnings before name what each failed with: fix it and "
                "run again (what is scored is kept)."
            )

    def score_experts(self) -> dict[str, dict[str, float]]:
        """Return the scores by metric of each expert alone, by name, and of the `base`."""
        return {
            name: {m: score.value for m, score in self.score_alone(name).items()}
            for name in ("base", *self.evaluator.names)
        }

    def score_alone(self, name: str) -> dict[str, Score]:
        """Return the scores by metric of one expert alone, or of the `base`.

        Raises:
            RunError: A benchmark failed.
        """
        evaluator = self.evaluator
        if name in evaluator.names:
            weights = np.eye(evaluator.k)[evaluator.names.index(name)]
            results = evaluator.score(weights.tolist())["merged"]
        else:
            results = evaluator.score_base()
        rows = {metric.name: results[metric.name] for metric in evaluator.scorer.metrics}
        return {metric: Score(row.score, row.std_error) for metric, row in rows.items()}

    def measure_reliability(self, trials: Trials) -> dict[str, Reliability]:
        """Return the split-half reliability of each benchmark on the first round's candidates.

        Empty where there are too few candidates.
        """
        first = [trial for trial in trials.where(kind=self.proxy) if trial.round == 1]
        rows = [
            list((trial.weights or {}).values())
            or self.space.weights_for(trial.ratios.vector(self.domains))[0].tolist()
            for trial in first
        ]
        if len(rows) < FEWEST_CANDIDATES:
            return {}
        if self.proxy == "merged":
            scored = [each.get("merged", {}) for each in self.evaluator.evaluate(rows)]
        else:  # the items of a benchmark are as noisy for ensembles as for trained models
            scored = self.evaluator.score_ensembles(np.array(rows))
        reliabilities = {}
        for metric in self.evaluator.scorer.metrics:
            # a candidate without a score of this benchmark counts for the others
            name = metric.name
            results = [each[name] for each in scored if name in each]
            if len(results) >= FEWEST_CANDIDATES:
                values = np.stack([result.values for result in results])
                reliabilities[name] = measure_reliability(name, values, results[0].sizes, self.seed)
        return reliabilities

    def _sampled_items(self, before: Trials) -> "Items":
        from mixopt.evaluation.item_sampling import SampledItems

        # control variates are fitted to the first round
        first = [trial for trial in before.where(kind="merged") if trial.round == 1]
        whole = {metric.name for metric in self.evaluator.scorer.metrics}
        fitted_on = _weights_of(trial for trial in first if whole <= trial.scores.keys())
        return SampledItems(self.evaluator, fitted_on, self.config.item_share, self.seed)

    def _score_ensembles(self, rows: Array) -> list[Trial]:
        if not len(rows):
            return []
        scored = self.evaluator.score_ensembles(rows)
        return [
            self.to_trial(f"ensemble-{index:03d}", "ensembled", row, results, 1)
            for index, (row, results) in enumerate(zip(rows, scored, strict=True))
        ]

    def _with_slopes(self, trial: Trial, row: Array) -> Trial:
        try:
            measured = self.evaluator.slopes(row.tolist())
        except RunError as error:
            self.evaluator.on_lost(f"Candidate {trial.id} continues without slopes: {error}")
            return trial
        metrics = self.evaluator.scorer.metrics
        slopes = []
        for index, composition in enumerate(self.experts.compositions.values()):
            # along (1 − h)·α + h·e_k
            directions = measured.by_weight[:, index] - measured.by_weight @ row
            changes = {
                m.name: float(slope)
                for m, slope in zip(metrics, directions, strict=True)
                if m.better == "lower"  # there the loss is the score itself
            }
            slopes.append(Slope(composition, changes))
        flops = trial.flops + measured.passes * self.evaluator.flops_per_score
        return replace(trial, slopes=tuple(slopes), flops=flops)

    def _ascend(self, count: int, before: Trials, trust: Mapping[str, float]) -> Array:
        """Return the weights (`n x k`) that gradient ascents of the merges' own losses evaluated."""
        table = before.where(kind="merged")
        weights = np.array(_weights_of(table))
        losses = np.stack([self.evaluator.losses(row) for row in weights.tolist()])
        metrics = [replace(metric, better="lower") for metric in self.evaluator.scorer.metrics]
        searched = [index for index, metric in enumerate(metrics) if metric.role == "search"]
        rows = [
            replace(
                trial, scores={m.name: Score(float(v)) for m, v in zip(metrics, row, strict=True)}
            )
            for trial, row in zip(table, losses, strict=True)
        ]
        # a utility of losses, because ranks have no useful gradient
        utility = make_utility(
            Trials(rows, metrics, table.domains),
            [metrics[index] for index in searched],
            aggregate="worst" if self.config.aggregate == "worst" else "weighted",
            weights=self.config.capability_weights,
            trust=trust,
        )
        evaluated: list[Array] = []

        def value_and_gradient(row: Array) -> tuple[float, Array]:
            evaluated.append(row)
            measured = self.evaluator.slopes(row.tolist())
            here = measured.losses[searched][None]
            value = utility.of(here)[0]
            return float(value), utility.gradient(here)[0] @ measured.by_weight[searched]

        allowed = self.space.space.contains(self.space.ratios(weights), tolerance=1e-6)
        utilities = np.where(allowed, utility.of(losses[:, searched]), -np.inf)
        budgets = divide(count)
        starts = choose_starts(self.space, weights, utilities, len(budgets))
        for start, budget in zip(starts, budgets[: len(starts)], strict=True):
            try:
                ascend(value_and_gradient, self.space, start, evaluations=budget)
            except RunError as error:
                self.evaluator.on_lost(f"A gradient ascent ends early: {error}")
        return np.stack(evaluated)

    def to_trial(
        self,
        name: str,
        kind: Kind,
        row: Array,
        results: "Results",
        number: int,
        flops: float | None = None,
    ) -> Trial:
        """Return the trial of weights (`k`); without `flops` it costs a pass over all items."""
        cost = self.evaluator.flops_per_score if flops is None else flops
        return Trial(
            id=name,
            ratios=self.to_mixture(row),
            scores={m: Score(r.score, r.std_error) for m, r in results.items()},
            kind=kind,
            weights=dict(zip(self.space.experts, row.tolist(), strict=True)),
            round=number,
            flops=cost if kind == "merged" else 0.0,
        )

    def to_mixture(self, weights: Array) -> Mixture:
        """Return the mixture whose model the merge at weights (`k`) approximates."""
        return Mixture.from_vector(self.domains, self.space.ratios(weights[None])[0])


def _weights_of(trials: Iterable[Trial]) -> list[list[float]]:
    return [list((trial.weights or {}).values()) for trial in trials]


def open_search(context: StudyContext) -> CandidateSearch:
    """Train what is missing of base and experts, and return the search over their merges.

    Raises:
        DivergedError: Fewer than two experts were trained.
        InfeasibleError: No merge of the experts meets every bound.
    """
    from mixopt.merging.rounding import describe_rounding
    from mixopt.pipeline.evaluators import open_evaluator
    from mixopt.pipeline.trained_candidates import train_candidates

    experts = train_experts(context)
    evaluator = open_evaluator(context, list(experts.results), context.dispatcher)
    facts = evaluator.measure_facts()
    sizes = sorted(zip(facts.step_sizes, experts.results, strict=True))
    (least, first), (most, last) = sizes[0], sizes[-1]
    context.callbacks.message(
        f"experts stepped δ = {100 * least:.2g}% ({first}) to {100 * most:.2g}% ({last}) away from the "
        "base (sound below 10%)"
    )
    config = context.config
    # the candidates beside a method's own are ensembles, which cost nothing
    method = "ensemble" if config.published_method is not None else config.search_method
    by_expert = dict(zip(experts.results, facts.step_sizes, strict=True))
    rounding = describe_rounding(by_expert, context.device.dtype) if method != "ensemble" else None
    if rounding:
        context.callbacks.warning(rounding)
    tasks: list[Task | ModelTask] = [*evaluator.scorer.tasks, *evaluator.scorer.model_tasks]
    for task in tasks:
        if task.truncated:
            context.callbacks.warning(
                f"Benchmark {task.metric.name!r}: {task.truncated} items were longer than the "
                "context and were cut from the left."
            )
    space = WeightSpace.of_rows(context.space, experts.compositions)
    _ = space.centre  # raises where the experts cannot meet the bounds
    return CandidateSearch(
        evaluator, space, experts, config.domains, config.search, method, config.seed,
        partial(train_candidates, context),
    )  # fmt: skip
