"""A candidate beside the first ones: a mixture between those that are expected to gain most.

Before any run the best ensemble is the best candidate, and it was searched without limits. Runs tell
where ensembles err, so what is expected of the candidates changes, and with it the best mixture. It is
looked for between the best candidate and the others that are good, where runs and ensembles tell most. A
search that may leave them found what the same model, given more runs, took back (`studies/arena`).

Shapes: `n` mixtures, `q` candidates, `d` domains.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.mixture import Array, Mixture
from mixopt.optimization.decision import TIE
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import name_mixture
from mixopt.surrogates.gain_model import GainPosterior

OTHERS = 11  # good candidates between which and the best one mixtures are made; natural is one more
SHARES = (0.25, 0.5)  # of the other candidate
KIND = "candidates"
FILE = "ratios.json"


def search_between(gains: StudyGains, posterior: GainPosterior, candidates: Array) -> Array | None:
    """Return the mixture (`d`) between candidates that is expected to gain most, within all limits.

    Args:
        gains: What is known of gains before any run.
        posterior: Given the runs.
        candidates: Feasible mixtures (`q x d`).

    Returns:
        None where none is above every candidate by more than a tie.
    """
    objective = gains.objective
    combinations = objective.combinations()

    def expected(rows: Array) -> Array:
        asked = gains.mixtures(rows, gains.tokens)
        return np.asarray(posterior.expected(asked, combinations).min(axis=1))

    values = expected(candidates)
    order = np.argsort(-values, kind="stable")
    best, others = candidates[order[0]], candidates[order[1 : 1 + OTHERS]]
    others = np.vstack([gains.kept, others])
    rows = np.vstack([(1 - share) * best + share * others for share in SHARES]).round(12)
    rows = rows[gains.search.space.space.contains(rows, tolerance=1e-6)]
    if not len(rows):
        return None
    reached = expected(rows)
    if reached.max() <= values.max() + TIE * objective.usual_gain:
        return None
    return np.asarray(rows[int(reached.argmax())])


class Refinement:
    """Searches a candidate after each run, and keeps it: what a run was trained on must be found again.

    Args:
        context: The study.
        gains: What is known of gains before any run.
        study: Names what decides of the first candidates, as an artifact's folder does.
    """

    def __init__(self, context: StudyContext, gains: StudyGains, study: str) -> None:
        self._context, self._gains, self._study = context, gains, study

    def search(
        self, posterior: GainPosterior, candidates: Array, observed: Sequence[Observation]
    ) -> Array | None:
        """Return a candidate (`d`) beside those that there are, searched now or read; None for none.

        Args:
            posterior: Given the runs.
            candidates: That there are (`q x d`).
            observed: The runs in the order of training.
        """
        artifact = Artifact(KIND, self._study, {
            "candidates": [self._name(row) for row in candidates],
            "runs": [[self._name(each.ratios), each.seed, each.tokens, each.failed]
                     for each in observed],
        })  # fmt: skip

        def build(folder: Path) -> None:
            found = search_between(self._gains, posterior, candidates)
            plain = None if found is None else found.tolist()
            (folder / FILE).write_text(json.dumps(plain))

        return _read(self._context.store.get_or_build(artifact, build))

    def found_before(self) -> list[Array]:
        """Return the candidates that earlier commands found (`d` each), by any runs."""
        found = [_read(folder) for folder in self._context.store.find_all(KIND, self._study)]
        return [row for row in found if row is not None]

    def _name(self, row: Array) -> str:
        return name_mixture(Mixture.from_vector(self._context.config.domains, row))


def _read(folder: Path) -> Array | None:
    plain = json.loads((folder / FILE).read_text())
    return None if plain is None else np.array(plain)
