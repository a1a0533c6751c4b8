"""What a study knows of the gain of real training: its objective, its ensembles and its runs.

Shapes: `n` mixtures, `k` experts, `d` domains, `m` metrics that choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mixopt.config.benchmarks import native_unit
from mixopt.decision import FARTHEST
from mixopt.mixture import Array
from mixopt.optimization.ensemble_search import EnsembleSearch
from mixopt.optimization.nearest_allowed import nearest_allowed
from mixopt.optimization.objective import DRAWS, LEAST_SPREAD, Objective, draw_around
from mixopt.pipeline.confirmation import trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.ensemble_scores import ensemble_losses, ensemble_scores
from mixopt.pipeline.objective import SEEDS
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.pipeline.seed_noise import USUAL_NOISE, measure_noise
from mixopt.surrogates.ensemble import response_weights
from mixopt.surrogates.gain_model import (
    SAME,
    GainModel,
    GainPosterior,
    GainPrior,
    Mixtures,
    Runs,
    usual_spreads,
)
from mixopt.trial import Metric
from mixopt.trials import Trials

BOOTSTRAPS = 8  # searches on resampled items, whose mean is a candidate


@dataclass(frozen=True, eq=False)
class Observation:
    """A trained run at one of its lengths.

    Attributes:
        ratios: Of the tokens that it read (`d`).
        seed: Runs with one seed read the same text of a domain.
        tokens: Length.
        scores: Scores of the metrics that choose (`m`), NaN where missing.
    """

    ratios: Array
    seed: int
    tokens: int
    scores: Array

    @property
    def failed(self) -> bool:
        """Whether the run has no score at all: it diverged, or could not be trained."""
        return not np.isfinite(self.scores).any()


class StudyGains:
    """Estimates the gain of real training over natural.

    Args:
        context: The study.
        search: The experts.
        policy: Has the objective, and the surrogate of what ensembles cannot score.
        trials: Of all rounds.

    Attributes:
        metrics: All that choose (`m`).
        natural: The natural mixture (`d`).
        kept: What is trained on if nothing is better (`d`): natural, or the mixture nearest to it that
            the bounds allow. Gains are stated over it.
        tokens: Tokens of training at which gains are stated: the target's, if runs reach near it.
        growth: Real gain at `tokens` ÷ ensemble's gain, before any run.
        objective: The study's, with the metrics that ensembles cannot score in the spread of what the
            surrogate of merges predicts and may miss, and gains in the unit at `tokens`.
    """

    def __init__(
        self,
        context: StudyContext,
        search: CandidateSearch,
        policy: SurrogatePolicy,
        trials: Trials,
    ) -> None:
        assert policy.objective is not None
        self.search = search
        self.metrics = metrics_that_choose(search)
        self.natural = context.corpora.natural.vector(context.config.domains)
        self.kept = nearest_allowed(search.space, self.natural)
        self.expert_tokens = context.config.training.expert_length
        longest = FARTHEST * trainable_lengths(context)[-1]
        self.tokens = min(context.config.target.tokens, longest)
        self.growth = GainPrior().growth_to(self.tokens / self.expert_tokens)
        measured = policy.objective
        self._scored = np.array([metric in measured.metrics for metric in self.metrics])
        # of candidates alone: the runs of a validation are observations of the gain model
        self._surrogate = None if self._scored.all() else policy.fit_candidates(trials)
        rng = np.random.default_rng([context.config.seed, SEEDS])
        self._around = draw_around(self.natural, DRAWS, rng)
        spreads, trust = np.ones((2, len(self.metrics)))
        places = [measured.metrics.index(m) for m in self.metrics if m in measured.metrics]
        spreads[self._scored] = measured.spreads[places]
        if self._surrogate is not None:
            predicted, unknown = self._predict(self._around)
            low, high = np.percentile(predicted, [16, 84], axis=0)
            varying = high - low > 2 * LEAST_SPREAD
            # a surrogate of few items predicts less than mixtures differ: its errors tell the rest
            whole = np.hypot((high - low) / 2, np.sqrt(np.square(unknown).mean(axis=0)))
            spreads[~self._scored] = np.where(varying, whole, 1.0)
            trust[~self._scored] = varying
        known = policy.trust(trials)
        trust *= np.array([known.get(metric.name, 1.0) for metric in self.metrics])
        loss_trust = np.zeros(len(self.metrics))
        if measured.loss_trust is not None:
            loss_trust[self._scored] = measured.loss_trust[places]
        seed_differences = np.full(len(self.metrics), np.nan)
        if measured.seed_differences is not None:
            seed_differences[self._scored] = measured.seed_differences[places]
        self.objective = replace(
            measured, metrics=self.metrics, spreads=spreads, trust=trust, growth=self.growth,
            loss_trust=loss_trust, seed_differences=seed_differences,
        )  # fmt: skip
        units = {each.name: native_unit(each) for each in context.config.benchmarks}
        self._usual_spreads = usual_spreads(
            spreads, [units[metric.name] for metric in self.metrics], self.objective.trust > 0
        )
        self._reference = self.proxy_scores(self.natural[None])[0][0]

    @property
    def proxies(self) -> str:
        """What gains are known from beside runs, in words."""
        if self._scored.all():
            return "ensembles of the experts"
        return (
            "ensembles and merges of the experts" if self._scored.any() else "merges of the experts"
        )

    @property
    def keeps_natural(self) -> bool:
        """Whether the bounds allow natural itself."""
        return bool(np.abs(self.kept - self.natural).max() < SAME)

    def mixtures(self, ratios: Array, tokens: float) -> Mixtures:
        """Return mixtures (`n x d`) trained for some tokens, with the gains of their proxies."""
        scores, errors = self.proxy_scores(ratios)
        gains = self.objective.gains(scores, self._reference)
        return Mixtures(
            ratios, np.full(len(ratios), float(tokens)), gains,
            proxy_errors=errors / self.objective.spreads,
        )  # fmt: skip

    def observe(self, observations: Sequence[Observation]) -> Runs | None:
        """Return runs as gains over the natural run with the same seed and length.

        A run without such a natural run tells nothing about a gain and is left out.

        Args:
            observations: Runs, natural ones among them.

        Returns:
            The runs of other mixtures; None if there are none.
        """
        paired = self.pair(observations)
        if not paired:
            return None
        runs = [run for run, _ in paired]
        known = self.mixtures(np.stack([each.ratios for each in runs]), 1.0)
        scores = np.stack([each.scores for each in runs])
        references = np.stack([natural.scores for _, natural in paired])
        return Runs(
            known.ratios, np.array([float(each.tokens) for each in runs]), known.proxy_gains,
            self.objective.gains(scores, references), np.array([each.seed for each in runs]),
            proxy_errors=known.proxy_errors,
        )  # fmt: skip

    def pair(self, observations: Sequence[Observation]) -> list[tuple[Observation, Observation]]:
        """Return runs of other mixtures, each with the natural run of the same seed and length.

        Args:
            observations: Runs, natural ones among them; those that failed or have no pair are left out.
        """
        naturals, others = {}, []
        for each in observations:
            if each.failed:
                continue
            if np.abs(each.ratios - self.natural).max() < SAME:
                naturals[each.seed, each.tokens] = each
            else:
                others.append(each)
        return [
            (each, naturals[each.seed, each.tokens])
            for each in others
            if (each.seed, each.tokens) in naturals
        ]

    def condition(self, runs: Runs | None) -> GainPosterior:
        """Return the posterior of gains given runs, over `kept`."""
        names = [metric.capability for metric in self.metrics]
        distinct = list(dict.fromkeys(names))
        model = GainModel(
            GainPrior(), self.natural, float(self.expert_tokens), self.objective.spreads,
            np.array([distinct.index(name) for name in names]),
            measure_noise(runs, self.objective.seed_gains, USUAL_NOISE), self._usual_spreads,
        )  # fmt: skip
        kept = None if self.keeps_natural else self.mixtures(self.kept[None], self.tokens)
        return model.condition(runs, kept)

    def search_ensembles(self, seed: int) -> Array:
        """Return the ratios of the best ensemble, and of the mean over resampled items (`2 x d`).

        Scores with jumps (accuracies) are searched by the loss of their right answers, and those that
        are mostly noise have the trust of that loss in the search. There is none (`0 x d`) where a
        metric that chooses needs merges.

        Args:
            seed: Of the resampled items.
        """
        return self.search_resampled(seed, BOOTSTRAPS)[0]

    def search_resampled(self, seed: int, draws: int) -> tuple[Array, Array]:
        """Return what `search_ensembles` does, and the best ensembles of resampled items (`draws x d`).

        Args:
            seed: Of the resampled items; the first samples do not depend on their number.
            draws: Number of samples, of which the mean over the first `BOOTSTRAPS` is a candidate.
        """
        if not self._scored.all():
            return np.empty((0, len(self.natural))), np.empty((0, len(self.natural)))
        model, space = ensemble_losses(self.search, self.metrics), self.search.space
        gamma = self.search.ensemble_response
        around = response_weights(self._weights(self._around), gamma)
        smooth = Objective.measure(
            tuple(replace(metric, better="lower") for metric in self.metrics),
            np.stack([model.losses(weights) for weights in around]), np.zeros(model.m),
            trust=self.objective.search_trust, unit=self.objective.unit, growth=self.growth,
            weights=self.objective.weights, worst=self.objective.worst,
        )  # fmt: skip
        start = self._weights(self.natural[None])[0]
        utility = smooth.utility(model.losses(response_weights(start, gamma)))
        found = EnsembleSearch(model, utility, space, gamma)
        leader = found.maximize([start])
        rng = np.random.default_rng([seed, SEEDS, 1])
        resampled = found.bootstrap(leader, draws, rng)
        mean = resampled[:BOOTSTRAPS].mean(axis=0)
        leaders = np.stack([leader, space.pull(mean[None])[0]])
        return space.ratios(leaders), space.ratios(resampled)

    def proxy_scores(self, ratios: Array) -> tuple[Array, Array]:
        """Return what the proxies say of mixtures (`n x d`), and its errors (`n x m` each).

        Ensembles score what needs token probabilities alone; their errors are 0 here, and the gain
        model has a bias for them. The surrogate of merges predicts the other metrics, as differences
        from natural.
        """
        means, errors = np.zeros((2, len(ratios), len(self.metrics)))
        scored = tuple(m for m, own in zip(self.metrics, self._scored, strict=True) if own)
        means[:, self._scored] = ensemble_scores(self.search, scored, ratios)
        if self._surrogate is not None:
            means[:, ~self._scored], errors[:, ~self._scored] = self._predict(ratios)
        return means, errors

    def _predict(self, ratios: Array) -> tuple[Array, Array]:
        """Return differences from natural by the surrogate of merges, and their errors."""
        assert self._surrogate is not None
        names = [fitted.metric.name for fitted in self._surrogate.metrics]
        means, errors = self._surrogate.differences(ratios, self.natural)
        places = [
            names.index(metric.name)
            for metric, own in zip(self.metrics, self._scored, strict=True)
            if not own
        ]
        return means[:, places], errors[:, places]

    def _weights(self, ratios: Array) -> Array:
        return np.stack([self.search.space.weights_for(row)[0] for row in ratios])


def tabulate(
    observations: Sequence[Observation], domains: Sequence[str], metrics: Sequence[Metric]
) -> pd.DataFrame:
    """Return a table of runs with columns `seed`, `tokens`, `ratio/DOMAIN` and one for each metric.

    Args:
        observations: The runs (`n` rows).
        domains: Names of the `d` ratios.
        metrics: The `m` metrics that choose.
    """
    rows = [
        {"seed": each.seed, "tokens": each.tokens}
        | {f"ratio/{name}": ratio for name, ratio in zip(domains, each.ratios, strict=True)}
        | {metric.name: score for metric, score in zip(metrics, each.scores, strict=True)}
        for each in observations
    ]
    return pd.DataFrame(rows)


def metrics_that_choose(search: CandidateSearch) -> tuple[Metric, ...]:
    """Return the metrics of role `search` (`m`)."""
    return tuple(m for m in search.evaluator.scorer.metrics if m.role == "search")


def reaches_natural(context: StudyContext, search: CandidateSearch) -> bool:
    """Return whether the experts can make the natural mixture; not if one of them diverged."""
    natural = context.corpora.natural.vector(context.config.domains)
    return search.space.weights_for(natural)[1] <= UNREACHED
