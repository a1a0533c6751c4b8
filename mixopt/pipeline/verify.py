"""Verifying: a proposal's own merge, really scored beside those of the mixtures it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.config.study import StudyConfig
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.proposal import Estimate, Proposal
from mixopt.surrogates.utility import AnyUtility, measure_gain
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.evaluation.score_cache import Results
    from mixopt.pipeline.laboratory import Laboratory


@dataclass(frozen=True, eq=False)
class Verifier:
    """Scores proposals.

    Attributes:
        recipe: The study's.
        laboratory: Knows how much text there is.
        searcher: Scores merges.
        learner: Says which proxy measures, and in which scale.
        failures: Experts that were set aside, and why.
    """

    recipe: StudyConfig
    laboratory: "Laboratory"
    searcher: CandidateSearch
    learner: SurrogatePolicy
    failures: Mapping[str, str]

    def verify(self, proposal: Proposal, trials: Trials) -> Proposal:
        """The proposal with what was measured of it, its repetition, and what a reader should know."""
        assert proposal.weights is not None
        own = self._score(list(proposal.weights.values()))
        utilities = self.learner.aggregates(trials)
        capabilities = self.learner.by_capability(trials)
        notes = [*proposal.notes, *self._notes()]
        comparisons = []
        for comparison in proposal.comparisons:
            weights, miss = self.searcher.space.weights_for(
                comparison.ratios.vector(self.recipe.domains)
            )
            if miss > UNREACHED:
                notes.append(
                    f"The experts cannot make the {comparison.name} mixture; the nearest one stands "
                    f"for it, {miss:.3f} off in the worst ratio."
                )
            other = self._score(weights.tolist())
            measured = replace(
                comparison,
                aggregates=_measure(utilities, own, other),
                capabilities=_measure(capabilities, own, other),
                differences={m: Estimate(*own[m].minus(other[m])) for m in own},
            )
            best = measured.aggregates[self.learner.aggregate]
            comparisons.append(replace(measured, measured_gain=best))
        corpora = self.laboratory.corpora
        return replace(
            proposal,
            comparisons=tuple(comparisons),
            measured={m: Estimate(r.score, r.std_error) for m, r in own.items()},
            budget=self.recipe.budget(self.laboratory.available_tokens),
            tokens_per_document={n: c.tokens_per_document for n, c in corpora.items()},
            notes=tuple(notes),
        )

    def _score(self, weights: list[float]) -> "Results":
        return self.searcher.swarm.score(weights)[self.learner.proxy]

    def _notes(self) -> list[str]:
        notes = []
        if self.learner.runs is not None:
            notes.append(
                f"What the proxies say is corrected by {len(self.learner.runs)} mixtures that were "
                "really trained; the validation is of the proposal before."
            )
        return notes + [
            f"Expert {name!r} was set aside: {why}" for name, why in self.failures.items()
        ]


def _measure(
    utilities: Mapping[Any, AnyUtility], own: "Results", other: "Results"
) -> dict[str, Estimate]:
    """Gains of each utility, both sides really scored on the same items, in the proxy's own scale."""
    gains = {}
    for name, utility in utilities.items():
        told = [metric.name for metric in utility.metrics]
        here, there = (
            np.array([side[metric].score if metric in side else np.nan for metric in told])
            for side in (own, other)
        )
        errors = np.array([
            own[metric].minus(other[metric])[1] if metric in own else np.nan for metric in told
        ])  # fmt: skip
        gains[name] = Estimate(*measure_gain(utility, here, there, errors))
    return gains
