"""Learning: from a study's trials to its surrogate; whom it learns from, and how far each is trusted.

Benchmarks that may be noise weigh less, real runs correct the proxy, and a proxy that does not rank
what was really trained is no longer learnt from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.optimization.reliability import Reliability
from mixopt.surrogates.fit import fit
from mixopt.surrogates.registry import FEWEST_TRIALS
from mixopt.surrogates.serialization import load_surrogate, save_surrogate
from mixopt.surrogates.surrogate import Surrogate
from mixopt.surrogates.utility import AGGREGATES, AnyUtility, WorstCapability, make_utility
from mixopt.trials import KINDS, Aggregation, Kind, Trials
from mixopt.validation import ENOUGH_TO_JUDGE, Validation

FIT = "fit"
"""What the units of fits are called: of as many tables as a study fits."""


class SurrogatePolicy:
    """Fits surrogates to a study's trials, each table once.

    Args:
        recipe: The study's.
        measure: Measures how reliable benchmarks are on the first round of trials.
        validation: What real runs said of the proxies, where there were any.
        runs: The mixtures that were really trained.
        store: Where fits are kept; nowhere if left out.
    """

    def __init__(
        self,
        recipe: StudyConfig,
        measure: Callable[[Trials], dict[str, Reliability]],
        validation: Validation | None = None,
        runs: Trials | None = None,
        store: ArtifactStore | None = None,
    ) -> None:
        self._recipe, self._measure = recipe, measure
        self._validation, self.runs = validation, runs
        self._store = store
        self._fitted: tuple[Trials, Surrogate] | None = None
        self._reliabilities: dict[str, Reliability] | None = None

    def hear(self, validation: Validation, runs: Trials) -> "SurrogatePolicy":
        """A learner that knows what real runs say; this one goes on without."""
        return SurrogatePolicy(self._recipe, self.reliabilities, validation, runs, self._store)

    def fit(self, trials: Trials) -> Surrogate:
        """The surrogate of the recipe's utility over `trials`, corrected by the real runs."""
        if self._fitted is None or self._fitted[0] is not trials:
            both = trials if self.runs is None else trials + self.runs
            self._fitted = (trials, self.fit_table(both))
        return self._fitted[1]

    def fit_table(self, table: Trials) -> Surrogate:
        """The surrogate of a table of proxies' trials and real runs, found or fitted now."""
        learnt = self._learnt_from(table)
        asked = self._settings(table, learnt)
        if self._store is None:
            return fit(learnt, **asked)

        def build(scratch: Path) -> None:
            save_surrogate(fit(learnt, **asked), scratch)

        # also what was fitted now is read back: a run that goes on must not differ in a bit
        folder = self._store.make("fits", FIT, asked | {"trials": learnt.digest}, build)
        return load_surrogate(folder, learnt)

    def _settings(self, table: Trials, learnt: Trials) -> dict[str, Any]:
        search = self._recipe.search
        return {
            # by what they stand for: many benchmarks may make a score dearer than a short run
            "fidelities": [kind for kind in KINDS if kind in learnt.levels],
            # all candidates are scored on the same items: their errors are not independent
            "use_std_errors": False,
            "target": "worst" if search.aggregate == "worst" else "utility",
            "capability_weights": search.capability_weights,
            "trust": self.trust(table),
            "normalise": search.normalise,
            "seed": self._recipe.seed,
        }

    def key(self, trials: Trials) -> dict[str, Any]:
        """What determines the surrogate of `trials` and what is measured in its scale."""
        both = trials if self.runs is None else trials + self.runs
        asked = self._settings(both, self._learnt_from(both))
        return asked | {"trials": both.digest, "proxy": self.proxy}

    def reliabilities(self, trials: Trials) -> dict[str, Reliability]:
        """How well each benchmark's halves agree on the first round's candidates."""
        if self._reliabilities is None and len(trials):
            self._reliabilities = self._measure(trials)
        return self._reliabilities or {}

    def utility(
        self, scale: Trials, trials: Trials, aggregate: Aggregation | None = None
    ) -> AnyUtility:
        """One number of search metrics, in the scale of a table.

        Args:
            scale: The table; metrics that it lacks count for nothing.
            trials: Whose first round says which benchmarks to trust.
            aggregate: How capabilities become one; as in the search if left out.
        """
        search = self._recipe.search
        return make_utility(
            scale, scale.search_metrics,
            aggregate=aggregate or self.aggregate, normalise=search.normalise,
            weights=search.capability_weights, trust=self.trust(trials),
        )  # fmt: skip

    @property
    def aggregate(self) -> Aggregation:
        """The aggregate that is maximised."""
        return "worst" if self._recipe.search.aggregate == "worst" else "weighted"

    def aggregates(self, trials: Trials) -> dict[Aggregation, AnyUtility]:
        """Each way of making one number of the capabilities, in the scale of the proxy's trials."""
        table = trials.where(kind=self.proxy)
        return {name: self.utility(table, trials, name) for name in AGGREGATES}

    def by_capability(self, trials: Trials) -> dict[str, AnyUtility]:
        """The utility of each capability alone, in the scale of the proxy's trials."""
        table = trials.where(kind=self.proxy)
        parts = WorstCapability.of_capabilities(
            table, table.search_metrics, self.trust(trials), self._recipe.search.normalise
        ).parts
        return dict(parts)

    @property
    def proxy(self) -> Kind:
        """What measures candidates: the recipe's proxy, or the other where only that one ranks."""
        return self._usable or self._recipe.search.proxy

    @property
    def doubt(self) -> str | None:
        """What a reader should know where the recipe's proxy has not earned trust."""
        asked = self._recipe.search.proxy
        row = None if self._validation is None else self._validation.overall(asked)
        if row is None or row.earned:
            return None
        if not row.failed:
            return (
                f"{row.mixtures} trained mixtures are too few to tell whether the {asked} proxy ranks "
                f"better than chance (rank {row.spearman:+.2f}); validate with {ENOUGH_TO_JUDGE}."
            )
        lost = (
            f"The {asked} proxy has not earned trust: over {row.mixtures} trained mixtures chance would "
            f"explain its ranking (rank {row.spearman:+.2f}). "
        )
        if self._usable is not None:
            return f"{lost}The {self._usable} proxy has, and takes its place."
        if self.runs is not None and len(self.runs) >= FEWEST_TRIALS:
            return f"{lost}Nor has the other; the proposal stands on the real runs alone."
        return (
            f"{lost}Nor has the other, and so few real runs cannot stand alone: take the proposal for a "
            "guess, or validate with more mixtures."
        )

    @property
    def _usable(self) -> Kind | None:
        """The recipe's proxy unless it failed; then the other where that has earned trust, or none."""
        asked = self._recipe.search.proxy
        if self._validation is None:
            return asked
        row = self._validation.overall(asked)
        if row is None or not row.failed:
            return asked
        other: Kind = "ensembled" if asked == "merged" else "merged"
        instead = self._validation.overall(other)
        return other if instead is not None and instead.earned else None

    def _learnt_from(self, table: Trials) -> Trials:
        """A proxy's trials, ensembles beside merges where they are asked for, and the real runs."""
        runs = table.where(kind="trained")
        if self._usable is None and len(runs) >= FEWEST_TRIALS:
            return runs
        beside = table.where(kind="ensembled")
        if self.proxy == "ensembled" or not self._recipe.search.ensembles:
            beside = beside[:0]
        return beside + table.where(kind=self.proxy) + runs

    def trust(self, trials: Trials) -> dict[str, float]:
        """Weight of each benchmark inside its capability."""
        return {name: found.trust for name, found in self.reliabilities(trials).items()}
