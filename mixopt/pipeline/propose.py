"""Recommending: from trials to proposals that are verified by really merging and scoring them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.optimization.optimize import propose
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.pipeline.verify import Verifier
from mixopt.proposal import Proposal
from mixopt.trials import Trials

KIND, NAME, FILE = "proposals", "proposals", "proposals.json"


@dataclass(frozen=True, eq=False)
class Recommender:
    """Makes a study's proposals, or finds them.

    Attributes:
        foundation: What the study stands on.
        learner: Says what the trials teach.
    """

    foundation: StudyContext
    learner: SurrogatePolicy

    def recommend(self, trials: Trials) -> list[Proposal]:
        """Proposals fitted to `trials`, best first, each verified."""

        def build(scratch: Path) -> None:
            made = [proposal.to_json() for proposal in self._make(trials)]
            (scratch / FILE).write_text(f"[{','.join(made)}]")

        # also what was made now is read back: a run that goes on must not differ in a bit
        folder = self.foundation.laboratory.store.make(*self.unit(trials), build)
        return [Proposal.from_dict(plain) for plain in json.loads((folder / FILE).read_text())]

    def unit(self, trials: Trials) -> tuple[str, str, Mapping[str, Any]]:
        """Kind, name and key of the unit that they are."""
        ground = self.foundation
        lab, recipe = ground.laboratory, ground.recipe
        return (
            KIND,
            NAME,
            {
                "fit": self.learner.key(trials),
                "search": recipe.search.model_dump(mode="json"),
                "target": recipe.target.model_dump(mode="json"),
                "compositions": {name: dict(row) for name, row in ground.compositions.items()},
                "set aside": ground.failures,
                "scores": ground.swarm.book.shared_key,
                "natural": dict(lab.natural),
                "available": lab.available_tokens,
                "documents": {n: [c.tokens, c.documents] for n, c in lab.corpora.items()},
                "seed": recipe.seed,
            },
        )

    def _make(self, trials: Trials) -> list[Proposal]:
        ground = self.foundation
        proposals = propose(
            self.learner.fit(trials),
            ground.space,
            q=ground.recipe.search.proposals,
            seed=np.random.default_rng([ground.recipe.seed, 1_000_001]),
            compositions=ground.compositions,
        )
        verifier = Verifier(
            ground.recipe, ground.laboratory, ground.searcher, self.learner, ground.failures
        )
        return [verifier.verify(proposal, trials) for proposal in proposals]
