"""Which trials a study's surrogate is fitted to, and how far each proxy and benchmark is trusted.

A benchmark that may be noise weighs less, real runs correct the proxy, and a proxy that does not rank
real runs is dropped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.optimization.objective import Objective
from mixopt.optimization.reliability import Reliability
from mixopt.optimization.validation import ENOUGH_TO_JUDGE, Validation
from mixopt.surrogates.base import MIN_TRIALS
from mixopt.surrogates.fit import fit
from mixopt.surrogates.registry import SURROGATES
from mixopt.surrogates.serialization import load_surrogate, save_surrogate
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import (
    AGGREGATES,
    AnyUtility,
    make_utility,
    utilities_by_capability,
)
from mixopt.trial import KINDS, Aggregation, Kind
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.baselines.base import Recommendation
    from mixopt.pipeline.gains import Observation


class SurrogatePolicy:
    """Fits surrogates to a study's trials, each table once.

    Args:
        config: The study's.
        measure: Measures the reliability of each benchmark on the first round of trials.
        validation: Statistics of the proxies against real runs, if any were trained.
        runs: The real runs as trials, one for each mixture, averaged over seeds.
        store: Where fits are kept; nowhere if left out.
        by_seed: The real runs of each seed.
        observations: Further runs, that a budget bought or a method of others trained.
        objective: The unit of gains and the trust of metrics by seeds; None where none was measured.
        recommendation: What a method of others recommends: the only candidate of a decision.
        prior_mean: Expected scores of mixtures before any trial, in any unit.
        online_tokens: Tokens of training that a method of others took beside experts and runs.
    """

    def __init__(
        self,
        config: StudyConfig,
        measure: Callable[[Trials], dict[str, Reliability]],
        validation: Validation | None = None,
        runs: Trials | None = None,
        store: ArtifactStore | None = None,
        by_seed: Sequence[Trials] = (),
        observations: "Sequence[Observation]" = (),
        objective: Objective | None = None,
        recommendation: "Recommendation | None" = None,
        prior_mean: Trials | None = None,
        online_tokens: int = 0,
    ) -> None:
        self._config, self._measure = config, measure
        self._validation, self.runs, self.by_seed = validation, runs, tuple(by_seed)
        self.observations = tuple(observations)
        self._store, self.objective = store, objective
        self.recommendation, self._prior_mean = recommendation, prior_mean
        self.online_tokens = online_tokens
        self._fitted: tuple[Trials, Surrogate] | None = None
        self._reliabilities: dict[str, Reliability] | None = None

    def with_runs(
        self, validation: Validation, runs: Trials, by_seed: Sequence[Trials] = ()
    ) -> "SurrogatePolicy":
        """Return the policy that also uses real runs; this one is not changed."""
        return SurrogatePolicy(
            self._config, self.reliabilities, validation, runs, self._store, by_seed,
            self.observations, self.objective, self.recommendation, self._prior_mean,
            self.online_tokens,
        )  # fmt: skip

    def with_observations(self, observations: "Sequence[Observation]") -> "SurrogatePolicy":
        """Return the policy that also uses what a budget bought; this one is not changed."""
        return SurrogatePolicy(
            self._config, self.reliabilities, self._validation, self.runs, self._store, self.by_seed,
            observations, self.objective, self.recommendation, self._prior_mean,
            self.online_tokens,
        )  # fmt: skip

    def with_recommendation(
        self,
        recommendation: "Recommendation",
        observations: "Sequence[Observation]",
        online_tokens: int = 0,
    ) -> "SurrogatePolicy":
        """Return the policy that knows what a method of others recommends; this one is not changed.

        Args:
            recommendation: The only candidate of a decision.
            observations: The runs that the method trained.
            online_tokens: Tokens of training that it took beside experts and runs.
        """
        return SurrogatePolicy(
            self._config, self.reliabilities, self._validation, self.runs, self._store, self.by_seed,
            observations, self.objective, recommendation, self._prior_mean, online_tokens,
        )  # fmt: skip

    def fit(self, trials: Trials) -> Surrogate:
        """Return the surrogate of the study's utility over `trials` and the real runs."""
        if self._fitted is None or self._fitted[0] is not trials:
            both = trials if self.runs is None else trials + self.runs
            self._fitted = (trials, self.fit_table(both))
        return self._fitted[1]

    def fit_candidates(self, trials: Trials) -> Surrogate:
        """Return the surrogate of all metrics over the study's candidates, without runs beside them.

        They are merges, also where a validation replaced the proxy: ensembles generate no text.
        """
        kind: Kind = "trained" if self._config.proxy == "trained" else "merged"
        return self._fit(trials, trials.where(kind=kind))

    def fit_table(self, table: Trials) -> Surrogate:
        """Return the surrogate of a table of proxy trials and real runs, fitted now or read."""
        return self._fit(table, self._select(table))

    def _fit(self, table: Trials, selected: Trials) -> Surrogate:
        settings = self._settings(table, selected)
        if self._store is None:
            return fit(selected, prior_mean=self._prior_mean, **settings)

        def build(scratch: Path) -> None:
            save_surrogate(fit(selected, prior_mean=self._prior_mean, **settings), scratch)

        # a new fit is read back too, so that a run that resumes does not differ in a bit
        artifact = Artifact("fits", "fit", self._fit_key(settings, selected))
        folder = self._store.get_or_build(artifact, build)
        return load_surrogate(folder, selected)

    def _settings(self, table: Trials, selected: Trials) -> dict[str, Any]:
        search = self._config.search
        models: dict[str, Any] = {}
        if self._config.search_method == "regmix":
            # below, LightGBM as RegMix sets it predicts a constant
            few = len(selected) < SURROGATES["regmix"].min_trials(len(selected.domains))
            models = {"surrogates": "trees" if few else "regmix"}
        return models | {
            # by what they stand for, not by cost: many benchmarks can make a score cost more than a run
            "fidelities": [kind for kind in KINDS if kind in selected.levels],
            # all candidates are scored on the same items: their errors are not independent
            "use_std_errors": False,
            "target": "worst" if search.aggregate == "worst" else "utility",
            "capability_weights": search.capability_weights,
            "trust": self.trust(table),
            "normalise": search.normalise,
            "scales": self.scales,
            "seed": self._config.seed,
        }

    def key(self, trials: Trials) -> dict[str, Any]:
        """Return what determines the surrogate of `trials` and what is measured in its scale."""
        both = trials if self.runs is None else trials + self.runs
        settings = self._settings(both, self._select(both))
        return self._fit_key(settings, both) | {"proxy": self.proxy}

    def _fit_key(self, settings: dict[str, Any], trials: Trials) -> dict[str, Any]:
        key = settings | {"trials": trials.digest}
        # keys of studies without a prior mean do not change
        return key if self._prior_mean is None else key | {"prior_mean": self._prior_mean.digest}

    def reliabilities(self, trials: Trials) -> dict[str, Reliability]:
        """Return the split-half reliability of each benchmark on the first round's candidates."""
        if self._reliabilities is None and len(trials):
            self._reliabilities = self._measure(trials)
        return self._reliabilities or {}

    def utility(
        self, scale: Trials, trials: Trials, aggregate: Aggregation | None = None
    ) -> AnyUtility:
        """Return the utility over the search metrics, in the scale of a table.

        Args:
            scale: The table; metrics without scores there are left out.
            trials: Trials whose first round gives the reliability of benchmarks.
            aggregate: How capabilities are aggregated; as in the search if left out.
        """
        search = self._config.search
        return make_utility(
            scale, scale.search_metrics,
            aggregate=aggregate or self.aggregate, normalise=search.normalise,
            weights=search.capability_weights, trust=self.trust(trials), scales=self.scales,
        )  # fmt: skip

    @property
    def aggregate(self) -> Aggregation:
        """The aggregate that is maximized."""
        return "worst" if self._config.search.aggregate == "worst" else "weighted"

    def aggregates(self, trials: Trials) -> dict[Aggregation, AnyUtility]:
        """Return the utility by each aggregate of capabilities, in the scale of the proxy's trials."""
        table = trials.where(kind=self.proxy)
        return {name: self.utility(table, trials, name) for name in AGGREGATES}

    def by_capability(self, trials: Trials) -> dict[str, AnyUtility]:
        """Return the utility of each capability alone, in the scale of the proxy's trials."""
        table = trials.where(kind=self.proxy)
        return dict(
            utilities_by_capability(
                table,
                table.search_metrics,
                self.trust(trials),
                self._config.search.normalise,
                self.scales,
            )
        )

    @property
    def proxy(self) -> Kind:
        """The proxy that measures candidates: the study's, or the other where only that one ranks."""
        return self._usable or self._config.proxy

    @property
    def check(self) -> Kind:
        """The proxy that verifies proposals: merges, but where they were dropped for ensembles."""
        return "merged" if self._config.proxy != "merged" else self.proxy

    @property
    def doubt(self) -> str | None:
        """A warning where the study's proxy is not shown to rank real runs; None otherwise."""
        proxy = self._config.proxy
        row = None if self._validation is None else self._validation.overall(proxy)
        if row is None or row.earned:
            return None
        if not row.failed:
            return (
                f"{row.mixtures} trained mixtures are too few to tell whether the {proxy} proxy "
                f"ranks better than chance (rank {row.spearman:+.2f}); validate with {ENOUGH_TO_JUDGE}."
            )
        failed = (
            f"The {proxy} proxy is not used: over {row.mixtures} trained mixtures its ranking is no "
            f"better than chance (rank {row.spearman:+.2f}). "
        )
        if self._usable is not None:
            return f"{failed}The {self._usable} proxy replaces it."
        if self.runs is not None and len(self.runs) >= MIN_TRIALS:
            return f"{failed}The other proxy fails too; the proposal uses real runs alone."
        return (
            f"{failed}The other proxy fails too, and there are too few real runs to use alone: treat "
            "the proposal as a guess, or validate with more mixtures."
        )

    @property
    def _usable(self) -> Kind | None:
        """The study's proxy unless it failed; then the other if it ranks real runs, or None."""
        proxy = self._config.proxy
        if self._validation is None:
            return proxy
        row = self._validation.overall(proxy)
        if row is None or not row.failed:
            return proxy
        other: Kind = "ensembled" if proxy == "merged" else "merged"
        instead = self._validation.overall(other)
        return other if instead is not None and instead.earned else None

    def _select(self, table: Trials) -> Trials:
        runs = table.where(kind="trained")
        if self.proxy == "trained" or (self._usable is None and len(runs) >= MIN_TRIALS):
            return runs
        beside = table.where(kind="ensembled")
        if self.proxy == "ensembled" or not self._config.search.ensembles:
            beside = beside[:0]
        return beside + table.where(kind=self.proxy) + runs

    def trust(self, trials: Trials) -> dict[str, float]:
        """Return the weight of each benchmark inside its capability: by its items, and by seeds."""
        trust = {name: found.trust for name, found in self.reliabilities(trials).items()}
        if self.objective is not None:
            pairs = zip(self.objective.metrics, self.objective.trust.tolist(), strict=True)
            for metric, by_seeds in pairs:
                trust[metric.name] = trust.get(metric.name, 1.0) * by_seeds
        return trust

    @property
    def scales(self) -> dict[str, float]:
        """The spread of each metric that ensembles score, which gains are told in."""
        if self.objective is None:
            return {}
        pairs = zip(self.objective.metrics, self.objective.spreads.tolist(), strict=True)
        return {metric.name: spread for metric, spread in pairs}
